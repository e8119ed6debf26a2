"""The leaderboard over all cells of a run: what they scored, in one order, under one set of names.

``METRICS`` is the one place that says what a figure is called, what it is measured in and which
way is better. The report's legend, the terminal and the README read it.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from components.cells import Cell, Family, Status
from components.documents import parse_document
from components.errors import InputError, StepError
from components.progress import format_seconds


@dataclass(frozen=True)
class Metric:
    """What a figure of the leaderboard is.

    Args:
        label: what tables and legends call it.
        unit: what it is measured in; empty for a plain number.
        better: ``lower``, ``higher``, or empty where neither is better in itself.
        meaning: what it is, in a sentence.
    """

    label: str
    unit: str
    better: str
    meaning: str


_FIGURES: dict[str, Metric] = {
    "mean_squared_error": Metric(
        "Mean squared error",
        "",
        "lower",
        "Mean squared difference of a test image's pixels, in [0, 1], and their reconstruction.",
    ),
    "pca_mean_squared_error": Metric(
        "PCA mean squared error",
        "",
        "lower",
        "The same error of a principal component analysis with as many components as the model "
        "has latent units: what a linear model of this size achieves.",
    ),
    "binary_cross_entropy": Metric(
        "Binary cross-entropy",
        "nats",
        "lower",
        "Mean cross-entropy of a pixel of the test images and its reconstruction.",
    ),
    "reconstruction_loss": Metric(
        "Reconstruction loss",
        "",
        "lower",
        "The VAE's first loss term: 784 times the mean squared error, with sampled codes.",
    ),
    "kl_divergence": Metric(
        "KL divergence",
        "nats",
        "",
        "The VAE's second loss term: how far the encoder's distribution of a code lies from "
        "N(0, I). Near 0 the code carries nothing.",
    ),
    "total_loss": Metric(
        "Total loss",
        "",
        "lower",
        "What the VAE minimises: reconstruction loss plus KL divergence.",
    ),
    "elbo": Metric(
        "ELBO",
        "nats",
        "higher",
        "The evidence lower bound on the log-likelihood of a test image.",
    ),
    "importance_weighted_bound": Metric(
        "Importance-weighted bound, k = 50",
        "nats",
        "higher",
        "A tighter lower bound on the same, from 50 codes an image (Burda et al. 2015); the ELBO "
        "is that of one.",
    ),
    "active_units": Metric(
        "Active units",
        "units",
        "",
        "Latent units of the VAE whose code changes with the image.",
    ),
    "dead_units": Metric(
        "Dead units",
        "units",
        "lower",
        "Latent units of the autoencoder that are 0 for every test image.",
    ),
    "revived_units": Metric(
        "Revived units",
        "units",
        "",
        "Latent units of the autoencoder that died early in training and were started afresh.",
    ),
    "code_mean_distance": Metric(
        "Code mean distance",
        "",
        "lower",
        "Distance of the mean code from 0, where N(0, I) expects it.",
    ),
    "code_spread": Metric(
        "Code spread",
        "",
        "",
        "Root mean square distance of a code from the mean code; N(0, I) expects the root of the "
        "latent size.",
    ),
    "smallest_class_area_share": Metric(
        "Smallest class area",
        "share",
        "higher",
        "Share of the latent plane that the most cramped class holds.",
    ),
    "largest_class_area_share": Metric(
        "Largest class area",
        "share",
        "lower",
        "Share of the latent plane that the most spread-out class holds.",
    ),
    "gap_share": Metric(
        "Gaps in the plane",
        "share",
        "lower",
        "Share of the latent plane that holds no code: what a decoder asked there has never seen.",
    ),
    "neighbour_accuracy": Metric(
        "Accuracy of neighbours",
        "share",
        "higher",
        "How often the five nearest codes, of 10,000 training images, tell the class of a test "
        "image by majority: how well the code keeps classes apart.",
    ),
    "discriminator_accuracy_real": Metric(
        "Discriminator accuracy, real",
        "share",
        "",
        "Share of test images that the discriminator takes for real. Near 50% it can't tell.",
    ),
    "discriminator_accuracy_generated": Metric(
        "Discriminator accuracy, generated",
        "share",
        "",
        "Share of generated images that the discriminator recognises as generated.",
    ),
    "discriminator_loss": Metric(
        "Discriminator loss",
        "nats",
        "",
        "Binary cross-entropy of the discriminator on test images and generated ones.",
    ),
    "generator_loss": Metric(
        "Generator loss",
        "nats",
        "",
        "Binary cross-entropy of generated images against the answer that they are real.",
    ),
    "sample_variance_ratio": Metric(
        "Sample variance ratio",
        "",
        "",
        "Variance of generated images over that of test images. Far below 1 the generator makes "
        "much the same image again and again.",
    ),
    "mean_confidence": Metric(
        "Mean confidence",
        "share",
        "higher",
        "The judge's mean probability of the class that it sees in a sample drawn from N(0, I).",
    ),
    "digits_covered": Metric(
        "Digits covered",
        "digits",
        "higher",
        "How many of the ten classes the judge finds among the samples.",
    ),
    "largest_digit_share": Metric(
        "Largest digit share",
        "share",
        "lower",
        "Share of the samples that fall to the most frequent class; 10% is even.",
    ),
    "digit_entropy": Metric(
        "Entropy of digits",
        "nats",
        "higher",
        "Entropy of the shares of the ten classes among the samples; 2.30 is even.",
    ),
    "frechet_distance": Metric(
        "Fréchet distance",
        "",
        "lower",
        "How far the samples lie from the test images, both as Gaussians in the judge's features. "
        "It compares with distances by the same judge, of as many samples.",
    ),
    "precision": Metric(
        "Precision",
        "share",
        "higher",
        "Share of the samples that lie among the test images by the direction of the judge's "
        "features: nearer to one than its third neighbour is. How real samples are "
        "(Kynkäänniemi et al. 2019).",
    ),
    "recall": Metric(
        "Recall",
        "share",
        "higher",
        "Share of the test images that lie among the samples, likewise: how much of the data is "
        "made. Far-off samples raise it; coverage is not fooled by them.",
    ),
    "density": Metric(
        "Density",
        "",
        "higher",
        "How densely test images lie around a sample, beside 1 around another real image; above 1 "
        "samples crowd where most images are (Naeem et al. 2020).",
    ),
    "coverage": Metric(
        "Coverage",
        "share",
        "higher",
        "Share of the test images that have a sample nearer than their fifth neighbour; beside "
        "as many real images, 95% do.",
    ),
    "training_closeness": Metric(
        "Closeness to training images",
        "",
        "",
        "How often a sample lies nearer, in pixels, to its nearest training image than a test "
        "image does to its own: 0.5 as real images do, 1 always. Copies come near, and so does "
        "what is blurred.",
    ),
    "nearest_is_training_share": Metric(
        "Nearest image is a training one",
        "share",
        "",
        "Share of the samples whose nearest real image, of training and test split together, is a "
        "training image. Where nothing is copied that is the training split's share, 85% of "
        "MNIST; blur does not change it.",
    ),
    "duplicate_share": Metric(
        "Duplicates",
        "share",
        "lower",
        "Share of the samples with another sample so near, in pixels, as only 1% of the test "
        "images have another test image.",
    ),
    "reconstruction_frechet_distance": Metric(
        "Fréchet distance, reconstructions",
        "",
        "lower",
        "Fréchet distance of the reconstructed test images: what is lost in code and decoder, "
        "however codes are drawn.",
    ),
    "train_seconds": Metric("Training time", "s", "lower", "Wall-clock time of the training."),
    "images_per_second": Metric(
        "Images per second", "images/s", "higher", "Training images seen in a second."
    ),
    "images_seen": Metric(
        "Images seen", "images", "", "Training images seen, counting every repetition."
    ),
    "epochs": Metric("Epochs", "epochs", "", "Passes over the training images."),
    "steps": Metric("Steps", "steps", "", "Batches learnt from."),
}

# Samplers beside N(0, I): what their figures and files are called, and what they draw from.
SAMPLERS = {
    "fitted_gaussian": ("fitted Gaussian", "a Gaussian fitted to the codes of the training images"),
    "mixture": ("mixture", "a mixture of Gaussians fitted to the codes of the training images"),
}
# Of the references, those that the cells' figures are shown with.
REFERENCES = {"training_images": "real images", "pixel_gaussian": "Gaussian", "noise": "noise"}
_OF_SAMPLERS = (
    *("mean_confidence", "digits_covered", "largest_digit_share", "digit_entropy"),
    *("frechet_distance", "precision", "recall", "density", "coverage"),
)


def _of_sampler(sampler: str) -> dict[str, Metric]:
    """The figures of samples drawn by another sampler."""
    title, source = SAMPLERS[sampler]
    figures = {}
    for name in _OF_SAMPLERS:
        plain = _FIGURES[name]
        meaning = f"{plain.label} of samples drawn from {source}."
        figures[f"{sampler}_{name}"] = replace(
            plain, label=f"{plain.label}, {title}", meaning=meaning
        )
    return figures


METRICS: dict[str, Metric] = {
    **_FIGURES,
    **_of_sampler("fitted_gaussian"),
    **_of_sampler("mixture"),
}

# What decides a family's best cell: the first figure, and the next one only where it is equal.
DECIDING_METRICS: dict[Family, tuple[str, ...]] = {
    Family.AUTOENCODER: ("mean_squared_error",),
    Family.VAE: ("total_loss",),
    Family.DCGAN: ("frechet_distance", "digits_covered", "largest_digit_share"),
}

# Of what earlier steps wrote: names that hold figures and facts of their own.
SECTIONS = ("data", "intervals", "metrics", "splits", "training")

_COUNTS = ("units", "digits", "images", "epochs", "steps")


@dataclass(frozen=True)
class Result:
    """What a run made of one cell.

    Args:
        cell: the cell.
        status: complete only where model, evaluation and samples all arrived complete.
        reason: why it is not complete; empty if it is.
        metrics: every figure by its name; None where it was not a finite number.
        intervals: 95% intervals, low and high, of the figures that have one.
        facts: the cell's ``model.json``; empty if there is none.
        model: folder of the model, if it arrived.
        evaluation: folder of the evaluation, if it arrived.
        samples: folder of the samples, if it arrived.
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


def best_results(results: Sequence[Result]) -> dict[Family, Result]:
    """The best complete cell of each family, by ``DECIDING_METRICS``.

    A family without a complete cell that has the deciding figure is left out. Of two equal cells
    the smaller one is best.
    """
    best: dict[Family, Result] = {}
    for family in Family:
        complete = [
            result
            for result in results
            if result.cell.family == family
            and result.status == Status.COMPLETE
            and result.metrics.get(DECIDING_METRICS[family][0]) is not None
        ]
        if complete:
            best[family] = min(complete, key=_rank)
    return best


def leaderboard_document(
    run: str,
    dataset: Mapping[str, Any],
    results: Sequence[Result],
    references: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The content of ``leaderboard.json``.

    Args:
        run: name of the pipeline run.
        dataset: content of the data set's ``dataset.json``.
        results: the cells, in the order to list them.
        references: what real images, a Gaussian and noise score by the same judge.

    Returns:
        ``{"run", "data": {"name", "digest", "images"}, "cells": [{"family", "latent_size",
        "status", "reason" unless complete, "metrics", "intervals"}, …], "best": {family: latent
        size}, "references": {name: {"images", "metrics", "intervals"}}}``, free of NaN and
        infinity.
    """
    return {
        "run": run,
        "data": {
            "name": dataset.get("name", ""),
            "digest": dataset.get("digest", ""),
            "images": split_sizes(dataset),
        },
        "cells": [
            {
                "family": result.cell.family.value,
                "latent_size": result.cell.latent_size,
                "status": result.status.value,
                **({"reason": result.reason} if result.reason else {}),
                "metrics": dict(result.metrics),
                "intervals": {name: list(both) for name, both in result.intervals.items()},
            }
            for result in results
        ],
        "best": {
            family.value: result.cell.latent_size
            for family, result in best_results(results).items()
        },
        "references": dict(references or {}),
    }


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
    order. A figure that is not in ``METRICS`` has its column behind them.
    """
    others = sorted({name for result in results for name in result.metrics} - METRICS.keys())
    names = [*METRICS, *others]
    columns = ["cell", "family", "latent_size", "status", "reason", *names]
    rows = [
        [
            result.cell.name,
            result.cell.family.value,
            result.cell.latent_size,
            result.status.value,
            result.reason,
            *(result.metrics.get(name) for name in names),
        ]
        for result in results
    ]
    return columns, rows


def step_metrics(results: Sequence[Result]) -> dict[str, float | int]:
    """The scalars that runs are compared by: cells by state, and each family's best figures.

    Returns:
        ``cells_complete``, ``cells_diverged``, ``cells_missing``, and for each family with a
        complete cell ``<family>_best_latent_size`` and ``<family>_best_<deciding metric>``.
    """
    states = [result.status for result in results]
    scalars: dict[str, float | int] = {
        f"cells_{status.value}": states.count(status) for status in Status
    }
    for family, result in best_results(results).items():
        scalars[f"{family.value}_best_latent_size"] = result.cell.latent_size
        for name in DECIDING_METRICS[family]:
            value = result.metrics.get(name)
            if value is not None:
                scalars[f"{family.value}_best_{name}"] = value
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


def format_metric(name: str, value: float | int | None) -> str:
    """A figure as people read it: ``0.01234``, ``11.8%``, ``18``, ``3 min 20 s``.

    An empty string stands for a figure that is not there.
    """
    if value is None:
        return ""
    unit = METRICS[name].unit if name in METRICS else ""
    if unit == "share":
        return f"{100 * value:.1f}%"
    if unit == "s":
        return f"{value:.1f} s" if value < 10 else format_seconds(value)
    if unit == "images/s" or unit in _COUNTS:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.4f}"


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object that an earlier step wrote.

    Raises:
        StepError: the file is not there, or holds something else.
    """
    try:
        return parse_document(path.read_bytes(), *SECTIONS)
    except (OSError, ValueError) as error:
        raise StepError(
            f"can't read {path}, which an earlier step should have written: {error}; "
            "run that step again"
        ) from error


def _folders_by_cell(folders: Iterable[Path], file: str) -> dict[Cell, tuple[Path, dict[str, Any]]]:
    found: dict[Cell, tuple[Path, dict[str, Any]]] = {}
    for folder in folders:
        content = read_json(folder / file)
        try:
            cell = Cell(content["family"], content["latent_size"])
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
    for name in DECIDING_METRICS[result.cell.family]:
        value = result.metrics.get(name)
        if value is None:
            ranks.append(math.inf)
        else:
            ranks.append(-value if METRICS[name].better == "higher" else value)
    return (*ranks, result.cell.latent_size)
