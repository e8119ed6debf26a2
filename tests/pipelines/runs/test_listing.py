"""The runs of this machine, listed, and the newest found as ``latest``."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genpipe.errors import InputError
from pipelines.runs.find import find_run
from pipelines.runs.listing import list_local_runs

BOARD = {
    "run": "whole",
    "cells": [
        {"family": "vae", "latent_size": size, "status": status, "metrics": {}}
        for size, status in ((2, "complete"), (10, "complete"), (100, "diverged"))
    ],
    "best": {"vae": 10},
}
EVENTS = [
    {"event": "cached", "key": "1"},
    {"event": "start", "step": "judge"},
    {"event": "end", "step": "judge", "status": "done"},
    {"event": "end", "step": "train-vae-2", "status": "failed"},
]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with a whole run, a newer one that was stopped, and things that are no runs."""
    runs = tmp_path / "runs"
    for place, name in enumerate(("whole", "stopped")):
        (runs / name / "logs").mkdir(parents=True)
        arguments = runs / name / "arguments.json"
        arguments.write_text("{}")
        os.utime(arguments, (1_700_000_000 + place, 1_700_000_000 + place))
    (runs / "whole" / "leaderboard.json").write_text(json.dumps(BOARD))
    (runs / "stopped" / "logs" / "events.jsonl").write_text("\n".join(map(json.dumps, EVENTS)))
    (runs / ".kfp").mkdir()
    (runs / "by-hand").mkdir()
    return runs


def test_the_newest_comes_first_with_its_state_cells_and_size(runs: Path) -> None:
    stopped, whole = list_local_runs(runs)

    assert (stopped.name, stopped.state, stopped.done) == ("stopped", "failed", "2 steps")
    assert (whole.name, whole.state, whole.done) == ("whole", "finished", "2 of 3 cells")
    assert whole.best == ("vae-10",)
    assert whole.size == sum(
        path.stat().st_size for path in (runs / "whole").rglob("*") if path.is_file()
    )


@pytest.mark.parametrize(
    ("last", "state"),
    [
        ({"event": "interrupted"}, "interrupted"),
        ({"event": "failed"}, "failed"),
        ({"event": "end", "step": "sample-vae-2", "status": "failed"}, "failed"),
        ({"event": "end", "step": "sample-vae-2", "status": "done"}, "interrupted"),  # killed
    ],
)
def test_how_a_run_ended_is_told_by_its_events(
    last: dict[str, str], state: str, runs: Path
) -> None:
    events = [json.dumps(event) for event in (*EVENTS[:3], last)]
    (runs / "stopped" / "logs" / "events.jsonl").write_text("\n".join(events))

    assert list_local_runs(runs)[0].state == state


def test_a_run_whose_worker_lives_is_running(runs: Path) -> None:
    log = runs / "stopped" / "logs" / "kfp.log"
    with log.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        worker = subprocess.Popen(["sleep", "60"], stdout=held)
    try:
        assert list_local_runs(runs)[0].state == "running"
    finally:
        worker.kill()
        worker.wait()
    assert list_local_runs(runs)[0].state == "failed"


def test_the_command_prints_them_under_headings(runs: Path, genpipe: Callable[..., Any]) -> None:
    status, printed, _ = genpipe("runs", "--runs", str(runs))

    heading, stopped, whole = printed.splitlines()
    assert status == 0
    assert heading.split()[:5] == ["run", "state", "started", "done", "size"]
    assert stopped.split()[:2] == ["stopped", "failed"]
    assert "<1 MB" in stopped
    assert whole.endswith("vae-10")
    assert len(genpipe("runs", "--runs", str(runs), "--limit", "1")[1].splitlines()) == 2


def test_without_a_run_the_command_says_how_to_make_one(
    tmp_path: Path, genpipe: Callable[..., Any]
) -> None:
    assert "`genpipe run --quick` makes one" in genpipe("runs", "--runs", str(tmp_path))[1]


def test_latest_is_the_run_that_began_last(runs: Path, genpipe: Callable[..., Any]) -> None:
    assert find_run("latest", runs, None).name == "stopped"
    os.utime(runs / "whole" / "arguments.json")
    assert find_run("latest", runs, None).name == "whole"
    assert genpipe("leaderboard", "--runs", str(runs)) == genpipe(
        "leaderboard", "whole", "--runs", str(runs)
    )


def test_a_run_that_is_called_latest_is_that_one(runs: Path) -> None:
    (runs / "latest").mkdir()

    assert find_run("latest", runs, None).uri == str(runs / "latest")


def test_without_any_run_there_is_no_latest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no runs yet in"):
        find_run("latest", tmp_path, None)


def test_as_json_nothing_else_is_printed(runs: Path, genpipe: Callable[..., Any]) -> None:
    _, printed, error = genpipe("runs", "--runs", str(runs), "--output", "json")

    stopped, whole = json.loads(printed)["runs"]
    assert error == ""
    assert {key: whole[key] for key in ("name", "state", "cells", "complete", "best")} == {
        "name": "whole",
        "state": "finished",
        "cells": 3,
        "complete": 2,
        "best": ["vae-10"],
    }
    assert (stopped["state"], stopped["steps"]) == ("failed", 2)
    assert stopped.keys() == whole.keys()


@pytest.mark.parametrize("command", ["report", "leaderboard", "artifacts list"])
def test_a_run_that_did_not_finish_is_told_as_such_with_what_goes_on_with_it(
    command: str, runs: Path, genpipe: Callable[..., Any]
) -> None:
    folder = runs / "stopped"
    told = f"run stopped failed: `genpipe run --resume {folder}` goes on with it\n"

    status, _, error = genpipe(*command.split(), "stopped", "--runs", str(runs))
    assert status == 2
    assert error.startswith("error: run stopped has nothing to show yet: its logs are in ")
    assert error.endswith(told)

    (folder / "train-vae-2" / "model").mkdir(parents=True)
    card = {"family": "vae", "latent_size": 2, "status": "complete", "training": {}}
    (folder / "train-vae-2" / "model" / "model.json").write_text(json.dumps(card))
    status, printed, error = genpipe(*command.split(), "stopped", "--runs", str(runs))
    assert (status, error) == (0, told)
    assert printed
