"""The runs of this machine: what each of them is, at a glance."""

from __future__ import annotations

import contextlib
import fcntl
import json
import shlex
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from genpipe.cells import Cell, Status
from genpipe.errors import InputError
from genpipe.words import counted
from pipelines.console.leaderboard import parse_leaderboard


@dataclass(frozen=True)
class ListedRun:
    """A run in a folder of this machine.

    Attributes:
        name: of the run.
        began: when, in local time.
        state: ``running``, ``failed``, ``interrupted`` (or killed) or ``finished``.
        steps: how many have ended well.
        cells: how many there are on its leaderboard; 0 without one.
        complete: how many of these are complete.
        best: the best cells, ``vae-10``, one of each family.
        size: bytes of its folder.
    """

    name: str
    began: datetime
    state: str
    steps: int
    cells: int
    complete: int
    best: tuple[str, ...]
    size: int

    @property
    def done(self) -> str:
        """``8 of 9 cells``, or ``12 steps`` for a run without a leaderboard."""
        if self.cells:
            return f"{self.complete} of {counted(self.cells, 'cell')}"
        return counted(self.steps, "step")

    def to_dict(self) -> dict[str, Any]:
        """The run as `genpipe runs --output json` prints it (docs/scripting.md)."""
        return {
            "name": self.name,
            "state": self.state,
            "started": self.began.astimezone().isoformat(timespec="seconds"),
            "steps": self.steps,
            "cells": self.cells,
            "complete": self.complete,
            "best": list(self.best),
            "bytes": self.size,
        }


def newest_run(runs: Path) -> Path | None:
    """The folder of the run that began last, if there is one."""
    return max(run_folders(runs), key=_began, default=None)


def list_local_runs(runs: Path, limit: int | None = None) -> list[ListedRun]:
    """The newest runs in a folder, the newest first; all of them without a limit."""
    newest_first = sorted(run_folders(runs), key=_began, reverse=True)
    return [_summary(folder) for folder in newest_first[:limit]]


def run_folders(runs: Path) -> list[Path]:
    """The folders of all runs in a folder."""
    return [path.parent for path in runs.glob("*/arguments.json")]


def _began(folder: Path) -> float:
    return (folder / "arguments.json").stat().st_mtime


def _summary(folder: Path) -> ListedRun:
    path = folder / "leaderboard.json"
    cells, complete, best = 0, 0, tuple[str, ...]()
    with contextlib.suppress(OSError, InputError):
        board = parse_leaderboard(path.read_bytes(), str(path))
        cells = len(board["cells"])
        complete = sum(row["status"] == Status.COMPLETE for row in board["cells"])
        best = tuple(Cell(family, size).name for family, size in board["best"].items())
    return ListedRun(
        name=folder.name,
        began=datetime.fromtimestamp(_began(folder)),
        state=state_of(folder),
        steps=sum(
            event["event"] == "cached" or (event["event"] == "end" and event["status"] == "done")
            for event in events_of(folder)
        ),
        cells=cells,
        complete=complete,
        best=best,
        size=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
    )


def state_of(folder: Path) -> str:
    """A run's state (see ``ListedRun``), by its worker, its events and what it left."""
    try:
        with (folder / "logs" / "kfp.log").open("rb") as log:
            fcntl.flock(log, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return "running"
    except OSError:  # no log, or no locks
        pass
    events = events_of(folder)
    ends = [event["event"] for event in events if event["event"] in ("failed", "interrupted")]
    if ends:
        return str(ends[-1])
    if any(event["event"] == "end" and event["status"] == "failed" for event in events):
        return "failed"
    return "finished" if (folder / "leaderboard.json").is_file() else "interrupted"


def what_is_unfinished(folder: Path) -> str:
    """What to say of a run that is not finished, and the command for that; else nothing."""
    if not (folder / "arguments.json").is_file():
        return ""
    name = folder.absolute().name
    match state_of(folder):
        case "finished":
            return ""
        case "running":
            return f"run {name} is still running"
        case "failed":
            told = f"run {name} failed"
        case _:
            told = f"run {name} was stopped or killed"
    return f"{told}: `genpipe run --resume {shlex.quote(str(folder))}` goes on with it"


def events_of(folder: Path) -> list[dict[str, Any]]:
    """What the steps of a run said of themselves, and the run of its end."""
    try:
        lines = (folder / "logs" / "events.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]
    except (OSError, ValueError):
        return []
