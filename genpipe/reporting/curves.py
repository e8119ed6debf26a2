"""The charts of a report: curves of the trainings, and figures over the latent size."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from genpipe.cells import Family, Status
from genpipe.reporting.charts import (
    Point,
    Series,
    latent_size_chart,
    thin_out,
    training_chart,
)
from genpipe.reporting.leaderboard import Result, state_of

# Column of history.csv along x, and the curves: (column, legend, dashed).
TRAINING_CURVES: dict[Family, tuple[str, tuple[tuple[str, str, bool], ...]]] = {
    Family.AUTOENCODER: (
        "epoch",
        (("loss", "training loss", False), ("validation_loss", "validation loss", True)),
    ),
    Family.VAE: (
        "epoch",
        (("loss", "training loss", False), ("validation_loss", "validation loss", True)),
    ),
    Family.DCGAN: (
        "step",
        (
            ("discriminator_loss", "discriminator loss", False),
            ("generator_loss", "generator loss", True),
        ),
    ),
}


@dataclass(frozen=True)
class Chart:
    """A drawing with its heading, legend and caption."""

    title: str
    drawing: Markup
    legend: Sequence[Series]
    caption: str


def training_curves(family: Family, results: Sequence[Result]) -> dict[str, Any]:
    """The family's curves as small drawings on the same axes, so that cells compare at sight."""
    x_name, curves = TRAINING_CURVES[family]
    drawn: list[tuple[Result, list[Series]]] = []
    for result in results:
        columns = read_history(result.model / "history.csv") if result.model else {}
        series = [
            Series(label, family.value, thin_out(_curve(columns, x_name, name)), dashed)
            for name, label, dashed in curves
        ]
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
        charts.append(
            Chart(
                title=f"Latent size {size}",
                drawing=training_chart(
                    series, label=label, x_unit=x_name, x_range=x_range, y_range=y_range
                ),
                legend=series,
                caption=state_of(result),
            )
        )
    return {
        "curves": charts,
        "curve_legend": [Series(c[1], family.value, (), c[2]) for c in curves],
    }


def read_history(path: Path) -> dict[str, list[float]]:
    """Read a training's ``history.csv``: its columns as numbers, NaN where there is none.

    A file that is not there, or is no table, reads as no column at all.
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


def latent_size_charts(results: Sequence[Result]) -> list[Chart]:
    """What cells scored, over the latent size."""
    complete = [result for result in results if result.status == Status.COMPLETE]

    def line(family: Family, name: str, label: str = "", dashed: bool = False) -> Series:
        own = [result for result in complete if result.cell.family == family]
        intervals = _intervals(own, name)
        return Series(label or family.label, family.value, points_of(own, name), dashed, intervals)

    charts = [
        (
            "Reconstruction error",
            "Mean squared error of test images over the latent size; lower is better.",
            "PCA with as many components is the linear baseline. Bars are 95% intervals over the "
            "test images, mostly narrower than the markers.",
            False,
            [
                line(Family.AUTOENCODER, "mean_squared_error"),
                line(Family.VAE, "mean_squared_error"),
                Series(
                    "PCA",
                    "pca",
                    points_of(complete, "pca_mean_squared_error"),
                    dashed=True,
                    intervals=_intervals(complete, "pca_mean_squared_error"),
                ),
            ],
        ),
        (
            "What the VAE pays for",
            "The VAE's two loss terms over the latent size.",
            "A larger code buys a lower reconstruction loss at the price of a higher KL "
            "divergence, until further units cost more than they give.",
            False,
            [
                line(Family.VAE, "reconstruction_loss", "Reconstruction loss"),
                line(Family.VAE, "kl_divergence", "KL divergence", dashed=True),
            ],
        ),
        (
            "How near samples come to test images",
            "Fréchet distance of samples to the test images over the latent size; lower is better.",
            "Dashed: codes drawn from a mixture fitted to the training codes, not from N(0, I). "
            "Bars are 95% intervals.",
            False,
            [
                line(Family.AUTOENCODER, "frechet_distance"),
                line(
                    Family.AUTOENCODER,
                    "mixture_frechet_distance",
                    "Autoencoder, mixture",
                    dashed=True,
                ),
                line(Family.VAE, "frechet_distance"),
                line(Family.VAE, "mixture_frechet_distance", "VAE, mixture", dashed=True),
                line(Family.DCGAN, "frechet_distance"),
            ],
        ),
        (
            "How real the samples look",
            "The judge's mean confidence in samples over the latent size; higher is better.",
            "High confidence is worth little where few digits are covered.",
            True,
            [
                line(Family.AUTOENCODER, "mean_confidence", "Autoencoder, N(0, I)"),
                line(
                    Family.AUTOENCODER,
                    "fitted_gaussian_mean_confidence",
                    "Autoencoder, fitted",
                    dashed=True,
                ),
                line(Family.VAE, "mean_confidence"),
                line(Family.DCGAN, "mean_confidence"),
            ],
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
    """(latent size, figure) of every result that has the figure, one point a latent size."""
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
