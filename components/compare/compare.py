"""Compare the cells of a run: leaderboard, report, and what W&B shows of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genpipe.cells import Cell
from genpipe.data.dataset import CLASS_MEANS
from genpipe.documents import read_document
from genpipe.errors import InputError
from genpipe.metrics.references import read_references
from genpipe.reporting.embedding import read_picture
from genpipe.reporting.leaderboard import (
    leaderboard_document,
    leaderboard_table,
    step_metrics,
    write_leaderboard,
)
from genpipe.reporting.report import render_report
from genpipe.reporting.results import Result, best_results, read_results
from genpipe.tracking import Picture, Tracker
from genpipe.words import counted


def compare(
    *,
    run: str,
    data: Path,
    judge: Path,
    expected: Sequence[Cell],
    models: Sequence[Path],
    evaluations: Sequence[Path],
    samples: Sequence[Path],
    leaderboard: Path,
    report: Path,
    tracker: Tracker,
    date: str = "",
    commit: str = "",
) -> dict[str, Any]:
    """Write a run's leaderboard and report from what its cells made.

    Args:
        run: name of the pipeline run.
        data: the data set's folder, with ``dataset.json``.
        judge: the judge's model folder, with ``model.json``.
        expected: the cells that the run was asked for, in the order to show them.
        models: the cells' model folders, in any order.
        evaluations: the cells' evaluation folders, in any order.
        samples: the cells' samples folders, in any order.
        leaderboard: folder that gets ``leaderboard.json`` and ``leaderboard.csv``.
        report: file that gets the self-contained HTML page.
        tracker: gets the table ``leaderboard``, the page ``report`` and the summary's metrics.
        date: when that is, for the report.
        commit: of the code, for the report.

    Returns:
        The scalars that runs are compared by. In ``leaderboard.json`` a cell that left nothing
        is missing, one that diverged has its reason.

    Raises:
        InputError: two folders of one kind belong to the same cell, or a model was trained on
            another data set.
        StepError: a folder's JSON file is not there or can't be read.
    """
    dataset = read_document(data / "dataset.json", "splits")
    results = read_results(expected, models, evaluations, samples)
    _check_data(dataset, results)

    references = read_references(judge)
    judged_by = read_document(judge / "model.json", "metrics")
    document = leaderboard_document(run, dataset, results, references, judged_by)
    page = render_report(
        run=run,
        dataset=dataset,
        judge=judged_by,
        results=results,
        references=references,
        class_means=data / CLASS_MEANS,
        date=date,
        commit=commit,
    )
    write_leaderboard(leaderboard, document, results)
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(page, encoding="utf-8")

    columns, rows = leaderboard_table(results)
    grids = [_grid(result) for result in results]
    tracker.table(
        "leaderboard",
        [*columns, "samples"],
        [[*row, grid] for row, grid in zip(rows, grids, strict=True)],
    )
    tracker.page("report", page)
    _log_cells(results, tracker)
    scalars = step_metrics(results)
    tracker.summarize(scalars)
    tracker.say(
        f"{scalars['cells_complete']} of {counted(len(results), 'cell')} complete; "
        "best latent size: "
        + (", ".join(f"{name} {size}" for name, size in document["best"].items()) or "none")
    )
    return scalars


def _log_cells(results: Sequence[Result], tracker: Tracker) -> None:
    """Log a run a cell: its settings as config, all its metrics as summary."""
    best = best_results(results)
    for result in results:
        known = {name: value for name, value in result.metrics.items() if value is not None}
        leader = best.get(result.cell.family)
        is_best = bool(leader and leader.best_training is result)
        state = {"status": result.status.value, "best_of_family": is_best}
        tracker.cell(result.cell, result.facts.get("settings", {}), {**known, **state})


def _check_data(dataset: Mapping[str, Any], results: Sequence[Result]) -> None:
    """Refuse to compare what was not measured on the same images."""
    digest = dataset.get("digest")
    for result in results:
        trained_on = result.facts.get("data", {}).get("digest", digest)
        if trained_on != digest:
            raise InputError(
                f"cell {result.cell.name} was trained on the data set {trained_on}, "
                f"this run's is {digest}: compare cells of one data set"
            )


def _grid(result: Result) -> Picture | None:
    """The cell's sample grid for the W&B table, if it has one."""
    picture = read_picture(result.samples / "grid.png") if result.samples else None
    return Picture(np.asarray(picture), f"{result.cell.title}, N(0, I)") if picture else None
