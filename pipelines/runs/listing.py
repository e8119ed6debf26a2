"""The runs of this machine: what each of them is, at a glance."""

from __future__ import annotations

import fcntl
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from genpipe.cells import Cell, Status
from genpipe.errors import InputError
from pipelines.console.leaderboard import parse_leaderboard


@dataclass(frozen=True)
class ListedRun:
    """A run in a folder of this machine.

    Attributes:
        name: of the run.
        began: when, in local time.
        state: ``running``, ``failed``, ``interrupted`` (or killed) or ``finished``.
        done: ``8 of 9 cells``, or ``12 steps`` for a run without a leaderboard.
        best: the best cells, ``vae-10``, one of each family.
        size: bytes of its folder.
    """

    name: str
    began: datetime
    state: str
    done: str
    best: tuple[str, ...]
    size: int


def newest_run(runs: Path) -> Path | None:
    """The folder of the run that began last, if there is one."""
    return max(_folders(runs), key=_began, default=None)


def list_local_runs(runs: Path, limit: int | None = None) -> list[ListedRun]:
    """The newest runs in a folder, the newest first; all of them without a limit."""
    newest_first = sorted(_folders(runs), key=_began, reverse=True)
    return [_summary(folder) for folder in newest_first[:limit]]


def _folders(runs: Path) -> list[Path]:
    return [path.parent for path in runs.glob("*/arguments.json")]


def _began(folder: Path) -> float:
    return (folder / "arguments.json").stat().st_mtime


def _summary(folder: Path) -> ListedRun:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    began = datetime.fromtimestamp(_began(folder))
    path = folder / "leaderboard.json"
    try:
        board = parse_leaderboard(path.read_bytes(), str(path))
    except (OSError, InputError):
        state = state_of(folder)
        ended = sum(
            event["event"] == "cached" or (event["event"] == "end" and event["status"] == "done")
            for event in _events(folder)
        )
        done = f"{ended} step{'' if ended == 1 else 's'}"
        return ListedRun(folder.name, began, state, done, (), size)
    complete = sum(row["status"] == Status.COMPLETE for row in board["cells"])
    best = tuple(Cell(family, latent_size).name for family, latent_size in board["best"].items())
    done = f"{complete} of {len(board['cells'])} cells"
    return ListedRun(folder.name, began, state_of(folder), done, best, size)


def state_of(folder: Path) -> str:
    """A run's state (see ``ListedRun``), by its worker, its events and what it left."""
    try:
        with (folder / "logs" / "kfp.log").open("rb") as log:
            fcntl.flock(log, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return "running"
    except OSError:  # no log, or no locks
        pass
    events = _events(folder)
    ends = [event["event"] for event in events if event["event"] in ("failed", "interrupted")]
    if ends:
        return str(ends[-1])
    if any(event["event"] == "end" and event["status"] == "failed" for event in events):
        return "failed"
    return "finished" if (folder / "leaderboard.json").is_file() else "interrupted"


def _events(folder: Path) -> list[dict[str, Any]]:
    """What the steps of a run said of themselves, and the run of its end."""
    try:
        lines = (folder / "logs" / "events.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]
    except (OSError, ValueError):
        return []
