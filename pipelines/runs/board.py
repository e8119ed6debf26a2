"""The leaderboard of a run: the one that it left, or of what its cells have left so far."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genpipe import storage
from genpipe.cells import Cell
from genpipe.documents import read_document
from genpipe.errors import InputError
from genpipe.metrics.references import FILE as REFERENCES
from genpipe.metrics.references import read_references
from genpipe.reporting.leaderboard import leaderboard_document
from genpipe.reporting.results import read_results
from pipelines.console.leaderboard import parse_leaderboard
from pipelines.runs.artifacts import Step, read_run
from pipelines.runs.find import FoundRun

# What a leaderboard is made of: of each artifact the file that says it.
PARTS = {
    "model": "model.json",
    "evaluation": "metrics.json",
    "samples": "metrics.json",
}


def read_board(run: FoundRun, steps: Sequence[Step] | None = None) -> dict[str, Any]:
    """Read a run's leaderboard.

    Args:
        run: as ``find_run`` finds it.
        steps: of ``read_run``, where they were read already.

    Returns:
        The content of ``leaderboard.json``. For a run that has none, because it failed or is still
        running, one of the same form with the cells that did end; the others are missing, and
        ``unfinished`` is true.

    Raises:
        InputError: there is no run, or none of its cells has left anything.
        StepError: it can't be read.
    """
    own = Path(run.uri) / "leaderboard.json"  # of a local run
    if not storage.is_remote(run.uri) and own.is_file():
        return parse_leaderboard(storage.read_bytes(own), str(own))
    steps = read_run(run.uri) if steps is None else steps
    boards = [
        file
        for step in steps
        for name, file in step.artifacts.get("leaderboard", {}).items()
        if name == "leaderboard.json"
    ]
    if boards:
        content = storage.read_files(run.uri, [boards[-1].name])[boards[-1].name]
        board = parse_leaderboard(content, f"the leaderboard of {run.uri}")
        return {**board, "run": run.name or board["run"]}  # a cluster's own has the run's id
    return _board_so_far(run, steps)


def _board_so_far(run: FoundRun, steps: Sequence[Step]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="genpipe-board-") as temporary:
        folder = Path(temporary)
        files: dict[str, storage.File] = {}
        found: dict[str, dict[Cell, Path]] = {part: {} for part in PARTS}
        for step in steps:
            for part, name in PARTS.items():
                file = step.artifacts.get(part, {}).get(name)
                if step.cell and file:
                    place = f"{part}/{step.cell.name}"
                    files[f"{place}/{name}"] = file
                    found[part][step.cell] = folder / place
            files |= _files_of_the_run(step)
        if not any(found.values()):
            told = f"; {run.unfinished}" if run.unfinished else ""
            raise InputError(
                f"no leaderboard at {run.uri}, and no cell has left anything yet{told}"
            )
        storage.pull(run.uri, folder, files)
        results = read_results(
            run.cells,
            found["model"].values(),
            found["evaluation"].values(),
            found["samples"].values(),
        )
        data = folder / "dataset.json"
        document = leaderboard_document(
            run.name or run.uri,
            read_document(data, "splits") if data.exists() else {},
            results,
            read_references(folder),
        )
    return {**document, "unfinished": True}


def _files_of_the_run(step: Step) -> Mapping[str, storage.File]:
    """What a leaderboard needs of a step that is of no cell."""
    wanted = {"ingest": ("data", "dataset.json"), "judge": ("model", REFERENCES)}
    artifact, name = wanted.get(step.kind, ("", ""))
    file = step.artifacts.get(artifact, {}).get(name)
    return {name: file} if file else {}
