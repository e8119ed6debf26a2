"""A run on this machine before it has started; tests/e2e has one from start to end."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.cli.parameters import assigned
from pipelines.console.local_run import introduce, shorter_budgets, show_outcome, show_what_is_left
from pipelines.console.terminal import open_console
from pipelines.local.run import LocalRun, StepState
from pipelines.parameters import Parameters, full_budgets, quick_budgets


def test_a_run_that_is_stopped_before_its_worker_starts_just_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")

    LocalRun(tmp_path, "early", Parameters()).stop()


def made(folder: Path, name: str) -> LocalRun:
    """A run with a step that ended and one that was at work."""
    run = LocalRun(folder / "runs", name, Parameters())
    for step, status in (("judge", "done"), ("train-vae-2", "running")):
        outputs = folder / "outputs" / step
        (outputs / "model").mkdir(parents=True, exist_ok=True)
        (outputs / "model" / "model.json").write_text("{}")
        run.steps[step] = StepState(step, status, folder=outputs)
    return run


def test_of_a_run_that_is_stopped_the_finished_steps_are_laid_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)
    run = made(tmp_path, "early")

    run.collect()

    assert (run.folder / "judge" / "model" / "model.json").is_file()
    assert not (run.folder / "train-vae-2").exists()
    show_what_is_left(run)
    told, how, _ = capsys.readouterr().err.splitlines()
    assert told == "Stopped. 1 step had finished; its output is in runs/early."
    assert how == "To go on: genpipe run --resume runs/early"
    del run.steps["judge"]
    show_what_is_left(run)
    told, *_ = capsys.readouterr().err.splitlines()
    assert told == "Stopped. No step had finished. Logs: runs/early/logs"


def test_what_a_failed_step_says_of_its_end_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)
    run = LocalRun(tmp_path / "runs", "failed", Parameters())
    run.steps["ingest"] = StepState("ingest", "failed", error="no images at x")
    log = run.logs / "ingest.log"
    log.write_text("error: no images at x\ningest: failed after 1 s\n")

    show_outcome(run, succeeded=False)

    printed = capsys.readouterr().out
    assert printed.count("no images at x") == 1
    assert "log: runs/failed/logs/ingest.log" in printed
    assert "No step finished. Logs: runs/failed/logs" in printed
    log.write_text("looking at x\n" + log.read_text())
    show_outcome(run, succeeded=False)
    assert "    looking at x\n" in capsys.readouterr().out


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


def test_a_run_says_once_which_settings_differ_from_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    given = {"families": ["vae"], "vae.beta": 4, "image_size": "32"}
    parameters = Parameters.checked(given, quick_budgets())

    introduce(open_console(), LocalRun(tmp_path, "beta", parameters), quick=True)

    printed = " ".join(capsys.readouterr().out.split())
    assert "VAE at latent size 2 on mnist: 1 cell settings" in printed
    assert (
        "settings that differ from the defaults: image_size 32, vae.epochs 2 instead of 11, "
        "vae.beta 4.0 instead of 1.0, judge_epochs 1 instead of 3, samples 500 instead of 10000 "
        "--quick" in printed
    )
    assert printed.count("beta") == 3  # the run's name, its folder, the setting
    assert Parameters().changed() == {}


def test_a_run_says_which_budgets_are_shorter_than_the_models_sources() -> None:
    told = shorter_budgets(Parameters.checked({"families": ["vae", "dcgan"], "vae.epochs": 40}))

    assert told == ["DCGAN 1,100 of 4,000 steps"]
    assert shorter_budgets(Parameters.checked({}, full_budgets())) == []
