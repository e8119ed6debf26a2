"""What of a run's settings is told to differ from the defaults."""

from __future__ import annotations

from pathlib import Path

from genpipe.cells import Cell, Status
from genpipe.reporting.results import Result
from genpipe.reporting.settings import changed_settings, told_changes


def test_how_samples_were_judged_is_told_where_it_is_not_as_by_default(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"metrics": {}, "samples": 500}')
    cell = Result(Cell("vae", 2), Status.COMPLETE, samples=tmp_path)

    changed = changed_settings({"settings": {"epochs": 1}}, [cell])

    assert changed == {"judge_epochs": (1, 3), "samples": (500, 10_000)}
    assert told_changes(changed) == "judge_epochs 1 instead of 3, samples 500 instead of 10000"
    assert changed_settings({"settings": {"epochs": 3}}, []) == {}
