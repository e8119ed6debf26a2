"""What a run made of its cells, and the best of each family."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from genpipe.cells import Cell, Status
from genpipe.documents import parse_document, read_document
from genpipe.errors import InputError, StepError
from genpipe.families.registry import all_families
from genpipe.families.spec import FamilySpec
from genpipe.metrics.registry import METRICS

# Names in earlier steps' documents that hold objects.
SECTIONS = ("data", "intervals", "metrics", "splits", "training")


@dataclass(frozen=True)
class Result:
    """What a run made of one cell.

    Args:
        cell: the cell.
        status: complete only where model, evaluation and samples all arrived complete.
        reason: why it is not complete; empty if it is.
        metrics: every metric by its name; None where it was not a finite number.
        intervals: 95% intervals, low and high, of the metrics that have one.
        facts: the cell's ``model.json``; empty if there is none.
        model: folder of the model, if it arrived.
        evaluation: folder of the evaluation, if it arrived.
        samples: folder of the samples, if it arrived.
        trainings: where it stands for several trainings of the cell, each of them, the complete
            ones first and of those the best. Its metrics are then their means, its intervals the
            standard deviation to each side, and its folders those of the first.
    """

    cell: Cell
    status: Status
    reason: str = ""
    metrics: Mapping[str, float | int | None] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    intervals: Mapping[str, Sequence[float]] = field(default_factory=dict)
    model: Path | None = None
    evaluation: Path | None = None
    samples: Path | None = None
    trainings: Sequence[Result] = ()

    @property
    def best_training(self) -> Result:
        """The best of its trainings; itself where it stands for itself alone."""
        return self.trainings[0] if self.trainings else self

    @property
    def complete_trainings(self) -> list[Result]:
        """Those of its trainings that are complete."""
        return [one for one in self.trainings or [self] if one.status == Status.COMPLETE]


def read_results(
    expected: Sequence[Cell],
    models: Iterable[Path],
    evaluations: Iterable[Path],
    samples: Iterable[Path],
) -> list[Result]:
    """Bring together what arrived of every cell.

    Args:
        expected: the cells that the run was asked for, in the order to show them.
        models: model folders, each with ``model.json``.
        evaluations: evaluation folders, each with ``metrics.json``.
        samples: samples folders, each with ``metrics.json``.

    Returns:
        One result a cell: the expected ones in their order, any other behind them.

    Raises:
        InputError: two folders of one kind belong to the same cell.
        StepError: a folder's JSON file is not there or can't be read.
    """
    model_of = _folders_by_cell(models, "model.json")
    evaluation_of = _folders_by_cell(evaluations, "metrics.json")
    samples_of = _folders_by_cell(samples, "metrics.json")
    cells = dict.fromkeys([*expected, *model_of, *evaluation_of, *samples_of])
    return [
        _result(cell, model_of.get(cell), evaluation_of.get(cell), samples_of.get(cell))
        for cell in cells
    ]


def over_seeds(results: Sequence[Result]) -> list[Result]:
    """One result for all trainings of a cell that differ by their seeds alone, in their order."""
    groups: dict[Cell, list[Result]] = {}
    for result in results:
        groups.setdefault(result.cell.without_seed, []).append(result)
    return [
        _over_seeds(cell, own) if own[0].cell != cell else own[0] for cell, own in groups.items()
    ]


def several_seeds(results: Iterable[Result]) -> bool:
    """Whether any of them is a mean over several trainings."""
    return any(len(result.complete_trainings) > 1 for result in results)


def _over_seeds(cell: Cell, trainings: Sequence[Result]) -> Result:
    complete = sorted((one for one in trainings if one.status == Status.COMPLETE), key=_rank)
    others = [one for one in trainings if one.status != Status.COMPLETE]
    first = [*complete, *others][0]
    metrics, intervals = dict(first.metrics), dict(first.intervals)
    if len(trainings) > 1:
        intervals = {}
    if len(complete) > 1:
        for name in metrics:
            known = [value for one in complete if (value := one.metrics.get(name)) is not None]
            if len(known) > 1:
                mean, deviation = statistics.mean(known), statistics.stdev(known)
                metrics[name], intervals[name] = mean, (mean - deviation, mean + deviation)
    told = "; ".join(f"seed {one.cell.seed} {one.status.value}: {one.reason}" for one in others)
    return replace(
        first,
        cell=cell,
        reason=told if complete or len(others) > 1 else first.reason,
        metrics=metrics,
        intervals=intervals,
        trainings=[*complete, *others],
    )


def best_results(results: Sequence[Result]) -> dict[FamilySpec, Result]:
    """The best complete cell of each family, by its deciding metrics, so on the validation split.

    A family without a complete cell that has the deciding metric is left out. Of two equal cells
    the smaller one is best. Of a cell that was trained with several seeds the mean decides.
    """
    cells = over_seeds(results)
    best: dict[FamilySpec, Result] = {}
    for family in all_families().values():
        complete = [
            result
            for result in cells
            if result.cell.family is family
            and result.status == Status.COMPLETE
            and result.metrics.get(family.deciding[0]) is not None
        ]
        if complete:
            best[family] = min(complete, key=_rank)
    return best


def _folders_by_cell(folders: Iterable[Path], file: str) -> dict[Cell, tuple[Path, dict[str, Any]]]:
    found: dict[Cell, tuple[Path, dict[str, Any]]] = {}
    for folder in folders:
        content = read_document(folder / file, *SECTIONS)
        try:
            cell = Cell.parse(content)
        except KeyError as error:
            raise StepError(f"{folder / file} does not say its {error}: train again") from error
        if cell in found:
            raise InputError(
                f"two folders hold the same cell {cell.name}: {found[cell][0]} and {folder}; "
                "pass each cell once"
            )
        found[cell] = (folder, content)
    return found


def _result(
    cell: Cell,
    model: tuple[Path, dict[str, Any]] | None,
    evaluation: tuple[Path, dict[str, Any]] | None,
    samples: tuple[Path, dict[str, Any]] | None,
) -> Result:
    arrived = {"model": model, "evaluation": evaluation, "samples": samples}
    contents = [part[1] for part in arrived.values() if part]
    metrics: dict[str, float | int | None] = {}
    intervals: dict[str, Sequence[float]] = {}
    for content in contents:
        metrics |= finite_numbers(content.get("metrics", {}))
        intervals |= _intervals(content.get("intervals", {}))
    training: dict[str, Any] = next(
        (content["training"] for content in contents if "training" in content), {}
    )
    metrics |= finite_numbers(training)

    absent = [name for name, part in arrived.items() if part is None]
    diverged = [content for content in contents if content.get("status") == Status.DIVERGED]
    if diverged:
        status = Status.DIVERGED
        reason = next((str(c["reason"]) for c in diverged if c.get("reason")), "no reason given")
    elif absent:
        status = Status.MISSING
        reason = "no artifact arrived" if len(absent) == 3 else f"no {' and no '.join(absent)}"
    else:
        status, reason = Status.COMPLETE, ""
    return Result(
        cell=cell,
        status=status,
        reason=reason,
        metrics=metrics,
        facts=model[1] if model else {},
        intervals=intervals,
        model=model[0] if model else None,
        evaluation=evaluation[0] if evaluation else None,
        samples=samples[0] if samples else None,
    )


def finite_numbers(values: Mapping[str, Any]) -> dict[str, float | int | None]:
    """The numbers of a document; NaN and infinity, which JSON does not know, become None."""
    return {
        name: value if value is not None and math.isfinite(value) else None
        for name, value in values.items()
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    }


def _intervals(values: Mapping[str, Any]) -> dict[str, Sequence[float]]:
    """Those of a document's intervals that are two finite numbers."""
    return {
        name: both
        for name, both in values.items()
        if isinstance(both, list)
        and len(both) == 2
        and all(isinstance(end, int | float) and math.isfinite(end) for end in both)
    }


def _rank(result: Result) -> tuple[float, ...]:
    """Sort key of a complete cell within its family: the smaller, the better."""
    ranks: list[float] = []
    for name in result.cell.family.deciding:
        value = result.metrics.get(name)
        if value is None:
            ranks.append(math.inf)
        else:
            ranks.append(-value if METRICS[name].better == "higher" else value)
    return (*ranks, result.cell.latent_size)


def file_of(result: Result, name: str) -> Path | None:
    """Where a file of a cell lies, if the step that writes it arrived."""
    folder = result.samples if name.startswith("grid") else result.evaluation
    return folder / name if folder else None


def state_of(result: Result) -> str:
    """Why a cell is not complete, as ``Diverged: loss is NaN at step 7``; empty if it is."""
    if result.status == Status.COMPLETE:
        return ""
    return f"{result.status.value.capitalize()}: {result.reason}"


def read_step(folder: Path | None) -> dict[str, Any]:
    """A step's ``metrics.json``; empty where there is none that can be read."""
    try:
        return parse_document((folder / "metrics.json").read_bytes()) if folder else {}
    except (OSError, ValueError):
        return {}
