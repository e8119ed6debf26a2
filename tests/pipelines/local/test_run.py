"""A run on this machine before it has started; tests/e2e has one from start to end."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.cli.options import assigned
from pipelines.console.local_run import shorter_budgets
from pipelines.local.run import LocalRun
from pipelines.parameters import Parameters, full_budgets


def test_a_run_that_is_stopped_before_its_worker_starts_just_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")

    LocalRun(tmp_path, "early", Parameters()).stop()


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("publish_to=123", "123"),
        ("source=1,2", "1,2"),
        ("latent_sizes=2,5", [2, 5]),
        ("vae.beta=4", 4),
    ],
)
def test_what_is_text_is_taken_as_text_whatever_it_looks_like(
    assignment: str, value: object
) -> None:
    assert [*assigned([assignment]).values()] == [value]


def test_a_run_says_which_budgets_are_shorter_than_the_models_sources() -> None:
    told = shorter_budgets(Parameters.checked({"families": ["vae", "dcgan"], "vae.epochs": 40}))

    assert told == ["DCGAN 1,100 of 4,000 steps"]
    assert shorter_budgets(Parameters.checked({}, full_budgets())) == []
