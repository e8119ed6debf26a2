"""The report's tables: the leaderboard, and the samples of every sampler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genpipe.cells import Cell
from genpipe.families.spec import FamilySpec
from genpipe.metrics.registry import METRICS, format_metric, format_spread
from genpipe.metrics.samplers import REFERENCES, SAMPLER_TITLES, metric_of_sampler
from genpipe.reporting.results import Result, finite_numbers
from genpipe.reporting.verdicts import Verdict, best_samples

OBJECTIVE = "training_objective"
# The leaderboard's metrics, by what heads them. Those of samples are of a model's best sampler.
SAMPLES = "Samples, by the model's best sampler"
GROUPS = {
    "Reconstruction": ("mean_squared_error", "pca_mean_squared_error"),
    "Code": ("total_loss", OBJECTIVE, "kl_divergence", "active_units", "dead_units"),
    SAMPLES: ("frechet_distance", "precision", "coverage", "classes_covered"),
    "Training": ("train_seconds",),
}
TABLE_METRICS = tuple(name for names in GROUPS.values() for name in names)
SAMPLER_METRICS = (
    *("frechet_distance", "precision", "recall", "coverage"),
    *("classes_covered", "largest_class_share", "mean_confidence"),
)
DRAWN_FROM = "Codes from"


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        label: its heading.
        name: of its metric; empty where it has none.
        group: what heads it and its neighbours.
    """

    label: str
    name: str = ""
    group: str = ""

    @property
    def better(self) -> str:
        """Which way is better, if one is."""
        return METRICS[self.name].better if self.name else ""


def leaderboard_columns(results: Sequence[Result]) -> list[Column]:
    """The columns that any of the results has a value for."""
    columns = []
    for group, names in GROUPS.items():
        own = [Column(METRICS[name].label, name, group) for name in names if _shown(name, results)]
        if own and group == SAMPLES:
            own.insert(0, Column(DRAWN_FROM, group=group))
        columns += own
    return columns


def _shown(name: str, results: Sequence[Result]) -> bool:
    if name == OBJECTIVE:
        return any(map(has_objective, results))
    return any(_value(name, result)[1] is not None for result in results)


def has_objective(result: Result) -> bool:
    """Whether a training minimised something else than the negative ELBO that it is compared by."""
    own = result.metrics.get(OBJECTIVE)
    return own is not None and own != result.metrics.get("total_loss")


def leaderboard_row(
    result: Result,
    columns: Sequence[Column],
    best: Mapping[FamilySpec, Result],
    verdicts: Sequence[Verdict],
    classes: int,
) -> dict[str, Any]:
    """What the leaderboard says of a cell."""
    return {
        "latent_size": result.cell.latent_size,
        "status": result.status.value,
        "reason": result.reason,
        "best": best.get(result.cell.family) is result,
        "notes": [
            *(f"best {one.purpose}" for one in verdicts if _same(one, result.cell)),
            *filter(None, [_of_seeds(result)]),
        ],
        "values": [(column.label, *_cell(column, result, classes)) for column in columns],
    }


def _same(verdict: Verdict, cell: Cell) -> bool:
    return verdict.score.result.cell == cell


def _cell(column: Column, result: Result, classes: int) -> tuple[str, str]:
    """What a table's cell says, and how far its interval reaches."""
    if not column.name:
        best = best_samples(result)
        return (SAMPLER_TITLES[best.sampler] if best else "", "")
    name, _ = _value(column.name, result)
    return shown(name, result, classes), reach(name, result)


def _value(name: str, result: Result) -> tuple[str, float | int | None]:
    """A metric of the leaderboard: its own name, and for samples that of the best sampler."""
    if name in GROUPS[SAMPLES] and (best := best_samples(result)):
        name = metric_of_sampler(name, best.sampler)
    return name, result.metrics.get(name)


def sampler_rows(
    family: FamilySpec, results: Sequence[Result], verdicts: Sequence[Verdict], classes: int
) -> list[dict[str, Any]]:
    """A row for each sampler of each of a family's cells, the best of a cell marked."""
    rows = []
    for result in results:
        best = best_samples(result)
        if result.cell.family is not family or best is None:
            continue
        for sampler, title in SAMPLER_TITLES.items():
            names = [metric_of_sampler(name, sampler) for name in SAMPLER_METRICS]
            if result.metrics.get(names[0]) is None:
                continue
            is_best = sampler == best.sampler
            labels = [METRICS[name].label for name in SAMPLER_METRICS]
            rows.append(
                {
                    "latent_size": result.cell.latent_size,
                    "sampler": title,
                    "best": is_best,
                    "verdict": is_best
                    and any(v.purpose == "samples" and _same(v, result.cell) for v in verdicts),
                    "values": [
                        (label, shown(name, result, classes), reach(name, result))
                        for label, name in zip(labels, names, strict=True)
                    ],
                }
            )
    return rows


def reference_rows(
    references: Mapping[str, Any], columns: Sequence[Column]
) -> list[dict[str, Any]]:
    """Rows below the cells: what the samples' metrics are read by."""
    rows = []
    for name, title in REFERENCES.items():
        metrics = finite_numbers(references.get(name, {}).get("metrics", {}))
        values = [
            (column.label, format_metric(column.name, metrics.get(column.name)))
            for column in columns
        ]
        if any(value for _, value in values):
            rows.append({"title": title[0].upper() + title[1:], "values": values})
    return rows


def shown(name: str, result: Result, classes: int) -> str:
    """A metric as the page writes it, with the whole that a count is a part of."""
    text = format_metric(name, result.metrics.get(name))
    if text and name in ("active_units", "dead_units"):
        return f"{text} of {result.cell.latent_size}"
    if text and name.endswith("classes_covered"):
        return f"{text} of {classes}"
    return text


def reach(name: str, result: Result) -> str:
    """How far a metric's interval reaches from it, as ``±0.93``; empty if it has none."""
    value, interval = result.metrics.get(name), result.intervals.get(name)
    if value is None or not interval or interval[0] == interval[1]:
        return ""
    return f"±{format_spread(name, value, max(value - interval[0], interval[1] - value))}"


def _of_seeds(result: Result) -> str:
    """Over how many trainings the metrics of a row are means, where they are."""
    if not result.trainings:
        return ""
    complete, asked = len(result.complete_trainings), len(result.trainings)
    if complete == asked:
        return f"{asked} seeds" if asked > 1 else f"seed {result.best_training.cell.seed}"
    return f"{complete} of {asked} seeds: {result.reason}"
