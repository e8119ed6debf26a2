"""The charts of a report: curves of the trainings, and metrics over the latent size."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from genpipe.cells import Status
from genpipe.families.spec import FamilySpec
from genpipe.reporting.charts import (
    Point,
    Series,
    latent_size_chart,
    thin_out,
    training_chart,
)
from genpipe.reporting.results import Result, several_seeds, state_of


@dataclass(frozen=True)
class Chart:
    """A drawing with its heading, legend and caption, or what stands in its place."""

    title: str
    drawing: Markup
    legend: Sequence[Series]
    caption: str
    absent: str = ""


def training_curves(family: FamilySpec, results: Sequence[Result]) -> dict[str, Any]:
    """The family's curves as small drawings on the same axes, so that cells compare at sight."""
    drawn: list[tuple[Result, list[Series]]] = []
    for result in results:
        histories = [
            read_history(one.model / "history.csv")
            for one in result.complete_trainings or [result.best_training]
            if one.model
        ]
        series = []
        for curve in family.curves:
            curves = [_curve(history, family.axis, curve.column) for history in histories]
            points, band = _mean_curve(curves)
            series.append(Series(curve.label, family.name, points, curve.dashed, band))
        drawn.append((result, series))
    # A diverged cell's curve must not squeeze the others flat; it is cut off at their range.
    complete = [series for result, series in drawn if result.status == Status.COMPLETE]
    everything = [series for _, series in drawn]
    steps = [x for series in everything for line in series for x, _ in line.points]
    values = [y for series in complete or everything for line in series for _, y in line.points]
    x_range, y_range = (
        (min(numbers, default=0.0), max(numbers, default=1.0)) for numbers in (steps, values)
    )
    charts = []
    for result, series in drawn:
        size = result.cell.latent_size
        label = f"Training curves of the {family.label} with latent size {size}"
        for line in series:
            if line.points:
                label += f"; {line.label} ends at {line.points[-1][1]:.4g}"
        drawing = training_chart(
            series, label=label, x_unit=family.axis, x_range=x_range, y_range=y_range
        )
        words = lone_values(series, family.axis)
        charts.append(
            Chart(
                title=f"Latent size {size}",
                drawing=Markup("") if words else drawing,
                legend=series,
                caption=state_of(result),
                absent=words or "No training curve arrived",
            )
        )
    return {
        "curves": charts,
        "curve_legend": [
            Series(curve.label, family.name, (), curve.dashed) for curve in family.curves
        ],
    }


def lone_values(series: Sequence[Series], axis: str) -> str:
    """Curves of a single point, which no line can show, in a sentence; else empty."""
    drawn = [line for line in series if line.points]
    if not drawn or any(len(line.points) > 1 for line in drawn):
        return ""
    values = ", ".join(f"{line.label} {line.points[0][1]:.4g}" for line in drawn)
    return f"One value each, at {axis} {drawn[0].points[0][0]:,.0f}: {values}"


def read_history(path: Path) -> dict[str, list[float]]:
    """Read a training's ``history.csv``: its columns as numbers, NaN where there is none.

    A file that is missing, or is not a table, reads as no columns.
    """
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        try:
            reader = csv.DictReader(file)
            columns: dict[str, list[float]] = {name: [] for name in reader.fieldnames or ()}
            for row in reader:
                for name, values in columns.items():
                    values.append(_number(row.get(name)))
        except csv.Error:
            return {}
    return columns


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _curve(columns: Mapping[str, Sequence[float]], x_name: str, y_name: str) -> list[Point]:
    pairs = zip(columns.get(x_name, ()), columns.get(y_name, ()), strict=False)
    return [(x, y) for x, y in pairs if math.isfinite(x) and math.isfinite(y)]


def _mean_curve(curves: Sequence[Sequence[Point]]) -> tuple[list[Point], list[Sequence[float]]]:
    """The mean of several trainings' curves, and at each point a standard deviation either way."""
    together = list(zip(*curves, strict=False))  # one that ended early has fewer points
    means = [(at[0][0], statistics.mean(y for _, y in at)) for at in together]
    if len(curves) < 2:
        return thin_out(means), []
    deviations = thin_out([(at[0][0], statistics.stdev(y for _, y in at)) for at in together])
    points = thin_out(means)
    return points, [
        (y - deviation, y + deviation)
        for (_, y), (_, deviation) in zip(points, deviations, strict=True)
    ]


def latent_size_charts(results: Sequence[Result]) -> list[Chart]:
    """What cells scored, over the latent size; of cells that ``over_seeds`` made, with spread.

    No charts of a single latent size, whose metrics the leaderboard has.
    """
    bars = "standard deviations over the seeds" if several_seeds(results) else "95% intervals"
    complete = [result for result in results if result.status == Status.COMPLETE]
    if len({result.cell.latent_size for result in complete}) < 2:
        return []

    families = list(dict.fromkeys(result.cell.family for result in complete))
    encoding = [family for family in families if family.encoder]
    variational = [family for family in families if family.variational]

    def line(family: FamilySpec, name: str, label: str = "", dashed: bool = False) -> Series:
        own = [result for result in complete if result.cell.family is family]
        intervals = _intervals(own, name)
        return Series(label or family.label, family.name, points_of(own, name), dashed, intervals)

    def with_sampler(name: str, sampler: str, title: str) -> list[Series]:
        """A line a family, and a dashed one where a sampler was fitted to its codes."""
        lines = []
        for family in families:
            lines.append(line(family, name))
            if family.encoder:
                label = f"{family.label}, {title}"
                lines.append(line(family, f"{sampler}_{name}", label, dashed=True))
        return lines

    charts = [
        (
            "Reconstruction error",
            "Mean squared error of test images over the latent size; lower is better.",
            f"PCA with as many components is the linear baseline. Bars are {bars}, mostly narrower "
            "than the markers.",
            False,
            [
                *(line(family, "mean_squared_error") for family in encoding),
                Series(
                    "PCA",
                    "pca",
                    points_of(complete, "pca_mean_squared_error"),
                    dashed=True,
                    intervals=_intervals(complete, "pca_mean_squared_error"),
                ),
            ],
        ),
        *(
            (
                f"What the {family.label} pays for",
                f"The two loss terms of the {family.label} over the latent size.",
                "Where a larger code lowers the reconstruction loss, a higher KL divergence pays "
                "for it; units that would cost more than they give are switched off.",
                False,
                [
                    line(family, "reconstruction_loss", "Reconstruction loss"),
                    line(family, "kl_divergence", "KL divergence", dashed=True),
                ],
            )
            for family in variational
        ),
        (
            "How near samples come to test images",
            "Fréchet distance of samples to the test images over the latent size; lower is better.",
            "Dashed: codes drawn from a mixture fitted to the training codes, not from N(0, I). "
            f"Bars are {bars}.",
            False,
            with_sampler("frechet_distance", "mixture", "mixture"),
        ),
    ]
    drawn = []
    for title, label, caption, share, series in charts:
        series = [line for line in series if line.points]
        if series:
            drawing = latent_size_chart(series, label=label, share=share)
            drawn.append(Chart(title, drawing, series, f"{label} {caption}"))
    return drawn


def points_of(results: Iterable[Result], name: str) -> list[Point]:
    """(latent size, metric) of every result that has the metric, one point a latent size."""
    points: dict[int, float] = {}
    for result in results:
        value = result.metrics.get(name)
        if value is not None:
            points[result.cell.latent_size] = float(value)
    return sorted((float(size), value) for size, value in points.items())


def _intervals(results: Iterable[Result], name: str) -> list[Sequence[float]]:
    """The interval of each point of ``points``; empty where there is none."""
    intervals: dict[int, Sequence[float]] = {}
    for result in results:
        if result.metrics.get(name) is not None:
            intervals[result.cell.latent_size] = result.intervals.get(name, ())
    return [interval for _, interval in sorted(intervals.items())]
