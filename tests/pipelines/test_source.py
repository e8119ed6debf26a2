"""What the name of a step's image digests: the code that the step runs."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from pipelines import source
from pipelines.environments import local_environment
from pipelines.settings import STEPS


def names(step: str) -> set[str]:
    return {path.relative_to(source.ROOT).as_posix() for path in source.source_files(step)}


def test_a_step_is_its_folder_and_all_that_it_imports_at_any_time() -> None:
    assert names("train") >= {
        *("components/train/component.py", "components/train/train.py"),
        *("genpipe/__init__.py", "genpipe/surroundings.py", "genpipe/families/vae/model.py"),
        *("genpipe/training/loop.py", "genpipe/tracking/wandb.py"),
    }
    assert not any(name.startswith("genpipe/metrics/") for name in names("train"))


def test_a_brought_family_counts_for_the_steps_that_see_models(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    digest = source.source_digest.__wrapped__  # without the cache
    without = {step: digest(step) for step in STEPS}
    entry = EntryPoint("brought", "tests.brought_family.genpipe_denoising", "genpipe.families")
    monkeypatch.setattr(source, "family_entry_points", lambda: [entry])

    changed = {step for step in STEPS if digest(step) != without[step]}

    assert changed == {"train", "evaluate", "sample", "compare", "publish"}


def test_pages_and_scripts_count_where_they_are_used() -> None:
    users = {
        name: {step for step in STEPS if name in names(step)}
        for name in (
            "genpipe/reporting/explorer/explorer.js",
            "genpipe/reporting/report.html.j2",
            "genpipe/reporting/champions.html.j2",
        )
    }
    assert [*users.values()] == [{"evaluate", "compare"}, {"compare"}, {"publish"}]


def test_every_file_of_the_library_is_of_some_step_or_of_a_command() -> None:
    """Of commands: what reads the runs that steps logged."""
    used = {name for step in STEPS for name in names(step)}
    there = {
        path.relative_to(source.ROOT).as_posix()
        for package in source.PACKAGES
        for path in (source.ROOT / package).rglob("*.*")
        if path.suffix != ".pyc"
    }
    assert there - used == {"genpipe/tracking/run_log.py"}


def test_a_change_is_a_new_digest_of_the_steps_that_run_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in source.PACKAGES:
        for path in (source.ROOT / package).rglob("*.*"):
            copy = tmp_path / path.relative_to(source.ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    before = {step: local_environment().image(step) for step in STEPS}
    monkeypatch.setattr(source, "ROOT", tmp_path)
    source.source_digest.cache_clear()
    assert before == {step: local_environment().image(step) for step in STEPS}

    page = tmp_path / "genpipe" / "reporting" / "explorer" / "explorer.css"
    page.write_text(page.read_text() + "\n")
    source.source_digest.cache_clear()

    after = {step: local_environment().image(step) for step in STEPS}
    assert {step for step in STEPS if after[step] != before[step]} == {"evaluate", "compare"}
    source.source_digest.cache_clear()
