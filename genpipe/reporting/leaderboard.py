"""The leaderboard over all cells of a run: what they scored, in one order."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genpipe.cells import Status
from genpipe.errors import StepError
from genpipe.metrics.registry import METRICS
from genpipe.reporting.results import Result, best_results, over_seeds
from genpipe.reporting.verdicts import find_verdicts


def leaderboard_document(
    run: str,
    dataset: Mapping[str, Any],
    results: Sequence[Result],
    references: Mapping[str, Any] | None = None,
    judge: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The content of ``leaderboard.json``.

    Args:
        run: name of the pipeline run.
        dataset: content of the data set's ``dataset.json``.
        results: the cells, in the order to list them.
        references: what real images, a Gaussian and noise score by the same judge.
        judge: content of the judge's ``model.json``.

    Returns:
        ``{"run", "data": {"name", "digest", "images"}, "cells": [{"family", "latent_size",
        "status", "reason" unless complete, "metrics", "intervals"}, …], "best": {family: latent
        size}, "verdicts": [{"purpose", "family", "latent_size", "sampler", "value", "half_width",
        "reason", "caution"}, …], "references": {name: {"images", "metrics", "intervals"}}}``, free
        of NaN and infinity. Of a run that trains each cell with several seeds, a cell has its
        ``cell_seed`` too, ``over_seeds`` holds the means of all of a cell's, with ``seeds`` and
        ``deviations`` in place of intervals, and ``best_seeds`` the best seed of each best cell.
    """
    best = best_results(results)
    seeds = {
        family.name: training.cell.seed
        for family, result in best.items()
        if (training := result.best_training).cell.seed is not None
    }
    cells = [result for result in over_seeds(results) if result.trainings]
    repeated = {"over_seeds": [_row_over_seeds(one) for one in cells], "best_seeds": seeds}
    return {
        "run": run,
        "data": {
            "name": dataset.get("name", ""),
            "digest": dataset.get("digest", ""),
            "images": split_sizes(dataset),
        },
        "cells": [
            {
                **_row(result),
                "intervals": {name: list(both) for name, both in result.intervals.items()},
            }
            for result in results
        ],
        "best": {family.name: result.cell.latent_size for family, result in best.items()},
        "verdicts": [one.to_dict() for one in find_verdicts(results, references, judge)],
        **(repeated if cells else {}),
        "references": dict(references or {}),
    }


def _row(result: Result) -> dict[str, Any]:
    return {
        **result.cell.identity,
        "status": result.status.value,
        **({"reason": result.reason} if result.reason else {}),
        "metrics": dict(result.metrics),
    }


def _row_over_seeds(result: Result) -> dict[str, Any]:
    spread = result.intervals if len(result.trainings) > 1 else {}
    deviations = {name: (high - low) / 2 for name, (low, high) in spread.items()}
    seeds = sorted(one.cell.seed or 0 for one in result.complete_trainings)
    return {**_row(result), "seeds": seeds, "deviations": deviations}


def split_sizes(dataset: Mapping[str, Any]) -> dict[str, int]:
    """How many images each split holds.

    Args:
        dataset: content of the data set's ``dataset.json``.

    Raises:
        StepError: it does not say so.
    """
    try:
        return {name: int(split["size"]) for name, split in dataset.get("splits", {}).items()}
    except (TypeError, KeyError, ValueError, OverflowError):
        raise StepError("dataset.json names no sizes of its splits: ingest again") from None


def leaderboard_table(results: Sequence[Result]) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of the leaderboard as a flat table, a row a cell.

    The columns are the same for every run: the cell, its state, all of ``METRICS`` in their
    order. A metric that is not in ``METRICS`` has its column behind them.
    """
    others = sorted({name for result in results for name in result.metrics} - METRICS.keys())
    names = [*METRICS, *others]
    columns = ["cell", "family", "latent_size", "seed", "status", "reason", *names]
    rows = [
        [
            result.cell.name,
            result.cell.family.name,
            result.cell.latent_size,
            result.facts.get("seed"),
            result.status.value,
            result.reason,
            *(result.metrics.get(name) for name in names),
        ]
        for result in results
    ]
    return columns, rows


def step_metrics(results: Sequence[Result]) -> dict[str, float | int]:
    """The scalars that runs are compared by: cells by state, and each family's best metrics.

    Returns:
        ``cells_complete``, ``cells_diverged``, ``cells_missing``, and for each family with a
        complete cell ``<family>_best_latent_size``, and ``<family>_best_<metric>`` of those that
        decide, and of the first that is shown.
    """
    states = [result.status for result in results]
    scalars: dict[str, float | int] = {
        f"cells_{status.value}": states.count(status) for status in Status
    }
    for family, result in best_results(results).items():
        scalars[f"{family.name}_best_latent_size"] = result.cell.latent_size
        for name in (*family.deciding, family.shown[0]):
            value = result.metrics.get(name)
            if value is not None:
                scalars[f"{family.name}_best_{name}"] = value
    return scalars


def write_leaderboard(folder: Path, document: Mapping[str, Any], results: Sequence[Result]) -> None:
    """Write ``leaderboard.json`` and ``leaderboard.csv`` into a folder, made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=2, allow_nan=False)
    (folder / "leaderboard.json").write_text(text + "\n", encoding="utf-8")
    columns, rows = leaderboard_table(results)
    with (folder / "leaderboard.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
