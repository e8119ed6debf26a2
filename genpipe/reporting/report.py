"""The run's report: one self-contained HTML page, told from the leaderboard's results.

Everything here turns results into the plain values that ``report.html.j2`` lays out. The page
needs no network: pictures are data: URIs, charts are inline SVG, fonts are the reader's own.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from genpipe.cells import Family, Status
from genpipe.documents import parse_document
from genpipe.metrics.bootstrap import mean_interval
from genpipe.metrics.registry import DECIDING_METRICS, METRICS, REFERENCES, SAMPLERS, format_metric
from genpipe.metrics.samples import COVERED_SHARE
from genpipe.reporting.charts import (
    Point,
    Series,
    latent_size_chart,
    thin_out,
    training_chart,
)
from genpipe.reporting.embedding import embed_pictures
from genpipe.reporting.explorer.page import explorer, packs_that_fit
from genpipe.reporting.leaderboard import Result, best_results, finite_numbers, split_sizes
from genpipe.reporting.templates import open_template
from genpipe.tracking.progress import format_seconds

DATA_TITLES = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "kmnist": "KMNIST"}

# The KFP page fetches a report whole, so it stays below 2 MB. What pictures leave of that is the
# explorers', but for the rest: charts, tables, code, and what publish tells.
PAGE_BYTES = 1_950_000
REST_BYTES = 150_000

TABLE_METRICS = (
    "mean_squared_error",
    "pca_mean_squared_error",
    "total_loss",
    "kl_divergence",
    "active_units",
    "dead_units",
    "frechet_distance",
    "mixture_frechet_distance",
    "precision",
    "coverage",
    "digits_covered",
    "train_seconds",
)

CARD_METRICS: dict[Family, tuple[str, ...]] = {
    Family.AUTOENCODER: ("mean_squared_error", "pca_mean_squared_error", "dead_units"),
    Family.VAE: ("total_loss", "mean_squared_error", "active_units"),
    Family.DCGAN: ("frechet_distance", "digits_covered", "largest_digit_share"),
}

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
class Figure:
    """A picture of one cell, or the reason why there is none.

    Args:
        title: the cell, as ``latent size 10``.
        uri: the picture as a data: URI; empty if there is none.
        alt: what the picture shows.
        caption: what to see in it.
        absent: why there is no picture.
    """

    title: str
    uri: str
    alt: str
    caption: str
    absent: str = ""


@dataclass(frozen=True)
class Chart:
    """A drawing with its heading, legend and caption."""

    title: str
    drawing: Markup
    legend: Sequence[Series]
    caption: str


def render_report(
    *,
    run: str,
    dataset: Mapping[str, Any],
    judge: Mapping[str, Any],
    results: Sequence[Result],
    references: Mapping[str, Any] | None = None,
) -> str:
    """Write the report of a run.

    Args:
        run: name of the pipeline run.
        dataset: content of the data set's ``dataset.json``.
        judge: content of the judge's ``model.json``.
        results: the cells, in the order to show them.
        references: what real images, a Gaussian and noise score by the same judge.

    Returns:
        An HTML document below 2 MB that loads nothing from anywhere. Whatever comes from outside
        (the run's name, reasons) is escaped.
    """
    best = best_results(results)
    pictures = embed_pictures(_pictures_shown(results, best))
    room = PAGE_BYTES - REST_BYTES - sum(len(uri) for uri in pictures.values())
    packs, left_out = _explorers(results, best, room)
    columns = [
        name for name in TABLE_METRICS if any(r.metrics.get(name) is not None for r in results)
    ]
    return open_template(Path(__file__).with_name("report.html.j2")).render(
        run=run or "unnamed run",
        summary=_summary(results),
        facts=_facts(dataset, judge, results),
        cards=[_card(result, results, pictures) for result in best.values()],
        columns=[METRICS[name] for name in columns],
        groups=[
            _group(family, results, best, columns, pictures)
            for family in Family
            if any(result.cell.family == family for result in results)
        ],
        references=_references(references or {}, columns),
        charts=_latent_size_charts(results),
        active_units=_active_units(results),
        gaussian=_why_the_standard_normal_fails(results),
        explorer=explorer(packs) if packs else "",
        left_out=left_out,
        legend_of_metrics=[
            metric
            for name, metric in METRICS.items()
            if any(result.metrics.get(name) is not None for result in results)
        ],
    )


def _explorers(
    results: Sequence[Result], best: Mapping[Family, Result], room: int
) -> tuple[list[Mapping[str, Any]], list[str]]:
    """The packed cells that the page has room for, and the names of those it has none for.

    The best of each family come first, then the small ones; the page shows them in its own order.
    """
    packs = [pack for result in results if (pack := _read_pack(result))]
    first = {result.cell.name for result in best.values()}
    order = sorted(packs, key=lambda pack: (pack["cell"] not in first, len(pack["data"])))
    fit = {pack["cell"] for pack in packs_that_fit(order, room)}
    return (
        [pack for pack in packs if pack["cell"] in fit],
        [pack["cell"] for pack in packs if pack["cell"] not in fit],
    )


def _read_pack(result: Result) -> dict[str, Any] | None:
    """The cell as ``evaluate`` packed it, if it did; a damaged file must not cost the report."""
    path = _file(result, "explorer.json")
    try:
        pack = parse_document(path.read_bytes()) if path else {}
    except (OSError, ValueError):
        return None
    texts = all(isinstance(pack.get(name), str) for name in ("title", "data"))
    return pack if texts and pack.get("cell") == result.cell.name else None


def _summary(results: Sequence[Result]) -> str:
    states = [result.status for result in results]
    parts = [f"{states.count(Status.COMPLETE)} of {len(states)} cells complete"]
    for status in (Status.DIVERGED, Status.MISSING):
        if status in states:
            parts.append(f"{states.count(status)} {status.value}")
    return ", ".join(parts)


def _facts(
    dataset: Mapping[str, Any], judge: Mapping[str, Any], results: Sequence[Result]
) -> list[tuple[str, str]]:
    """What ran, as (name, value)."""
    name = str(dataset.get("name", "unknown"))
    splits = ", ".join(f"{size:,} {title}" for title, size in split_sizes(dataset).items())
    families = [family for family in Family if any(r.cell.family == family for r in results)]
    sizes = sorted({result.cell.latent_size for result in results})
    accuracy = finite_numbers(judge.get("metrics", {})).get("test_accuracy")
    seconds = [float(result.metrics.get("train_seconds") or 0) for result in results]
    facts = [
        ("Data set", f"{DATA_TITLES.get(name, name)}: {splits}" if splits else name),
        ("Data digest", str(dataset.get("digest", "unknown"))[:19]),
        ("Model families", ", ".join(family.label for family in families)),
        ("Latent sizes", ", ".join(str(size) for size in sizes)),
        ("Training budget", "; ".join(filter(None, (_budget(f, results) for f in families)))),
        ("Seed", _distinct(result.facts.get("seed") for result in results)),
        ("Judge", f"{100 * accuracy:.2f}% test accuracy" if accuracy is not None else ""),
        ("Training time", f"{format_seconds(sum(seconds))}, all cells" if any(seconds) else ""),
        (
            "genpipe",
            _distinct(result.facts.get("version") for result in results) or _package_version(),
        ),
    ]
    return [(term, value) for term, value in facts if value]


def _budget(family: Family, results: Sequence[Result]) -> str:
    own = [r for r in results if r.cell.family == family and r.status == Status.COMPLETE]
    unit = "steps" if family == Family.DCGAN else "epochs"
    counts = sorted({int(count) for r in own if (count := r.metrics.get(unit)) is not None})
    return f"{family.label} {', '.join(f'{count:,}' for count in counts)} {unit}" if counts else ""


def _distinct(values: Iterable[Any]) -> str:
    return ", ".join(sorted({str(value) for value in values if value is not None}))


def _package_version() -> str:
    try:
        return version("genpipe")
    except PackageNotFoundError:
        return ""


def _file(result: Result, name: str) -> Path | None:
    folder = result.samples if name.startswith("grid") else result.evaluation
    return folder / name if folder else None


def _card_file(result: Result) -> Path | None:
    if result.cell.family == Family.AUTOENCODER:
        for kind in ("mixture", "fitted_gaussian"):
            fitted = _file(result, f"grid_{kind}.png")
            if fitted and fitted.is_file():
                return fitted
    return _file(result, "grid.png")


def _pictures_shown(results: Sequence[Result], best: Mapping[Family, Result]) -> list[Path]:
    names = ("grid.png", *(f"grid_{sampler}.png" for sampler in SAMPLERS))
    names += ("reconstructions.png", "worst_reconstructions.png", "latent_scatter.png")
    shown = [_file(result, name) for result in results for name in names]
    shown += [_card_file(result) for result in best.values()]
    return [path for path in shown if path is not None]


def _has(result: Result, name: str) -> bool:
    path = _file(result, name)
    return bool(path and path.is_file())


def _lead(best: Result, results: Sequence[Result]) -> str:
    """By how much the best cell of a family leads the next, as a sentence; empty if it is alone.

    With the 95% interval of the difference. Of autoencoder and VAE it is that of a mean over the
    test images, each of which both cells have rebuilt; else it comes from both figures' own.
    """
    name = DECIDING_METRICS[best.cell.family][0]
    others = [
        (float(value), result)
        for result in results
        if result.cell.family == best.cell.family
        and result is not best
        and result.status == Status.COMPLETE
        and (value := result.metrics.get(name)) is not None
    ]
    own = best.metrics.get(name)
    if not others or own is None:
        return ""
    value, following = min(others, key=lambda other: other[0])
    text = format_metric(name, value - own)
    losses = [_read_losses(result) for result in (best, following)]
    if losses[0] is not None and losses[1] is not None and losses[0].shape == losses[1].shape:
        low, high = mean_interval(losses[1] - losses[0])
        reach = (high - low) / 2
    else:
        both = [result.intervals.get(name, (0.0, 0.0)) for result in (best, following)]
        reach = math.hypot(*((high - low) / 2 for low, high in both))
    if reach:
        text += f" ± {reach:.{len(text.partition('.')[2])}f}"
        if value - own <= reach:
            return f"no better than latent size {following.cell.latent_size} beyond chance ({text})"
    return f"{text} below latent size {following.cell.latent_size}, the next"


def _read_losses(result: Result) -> np.ndarray | None:
    """What each test image costs, (n,), as ``evaluate`` wrote it; None if it did not."""
    path = _file(result, "test_losses.npy")
    try:
        losses = np.load(path, allow_pickle=False) if path else np.empty(0)
    except (OSError, ValueError, EOFError):
        return None
    whole = losses.ndim == 1 and len(losses) and losses.dtype.kind == "f"
    return losses.astype(np.float64) if whole else None


def _card(
    result: Result, results: Sequence[Result], pictures: Mapping[Path, str]
) -> dict[str, Any]:
    family = result.cell.family
    file = _card_file(result)
    figures = [
        (METRICS[name].label, _shown(name, result))
        for name in CARD_METRICS[family]
        if result.metrics.get(name) is not None
    ]
    return {
        "style": family.value,
        "family": family.label,
        "latent_size": result.cell.latent_size,
        "figures": figures,
        "lead": _lead(result, results),
        "uri": pictures.get(file, "") if file else "",
        "alt": f"Images made by the {result.cell.family.label} with latent size "
        f"{result.cell.latent_size}, the best of its family",
    }


def _shown(name: str, result: Result) -> str:
    """A figure as the page writes it, with the whole that a count is a part of."""
    text = format_metric(name, result.metrics.get(name))
    if text and name in ("active_units", "dead_units"):
        return f"{text} of {result.cell.latent_size}"
    if text and name == "digits_covered":
        return f"{text} of 10"
    return text


def _reach(name: str, result: Result) -> str:
    """How far a figure's 95% interval reaches from it, as ``±0.93``; empty if it has none."""
    value, interval = result.metrics.get(name), result.intervals.get(name)
    if value is None or not interval:
        return ""
    reach = max(value - interval[0], interval[1] - value)
    if METRICS[name].unit == "share":
        return f"±{format_metric(name, reach)}"
    # As many places as the figure itself has, or what is left of a very narrow one.
    text = f"{reach:.{2 if abs(value) >= 1 else 4}f}"
    narrow = np.format_float_positional(reach, precision=1, fractional=False)
    return f"±{text}" if float(text) else f"±{narrow}"


def _references(references: Mapping[str, Any], columns: Sequence[str]) -> list[dict[str, Any]]:
    """Rows below the cells: what the samples' figures are read by."""
    rows = []
    for name, title in REFERENCES.items():
        figures = finite_numbers(references.get(name, {}).get("metrics", {}))
        values = [format_metric(column, figures.get(column)) for column in columns]
        if any(values):
            rows.append({"title": title.capitalize(), "values": values})
    return rows


def _group(
    family: Family,
    results: Sequence[Result],
    best: Mapping[Family, Result],
    columns: Sequence[str],
    pictures: Mapping[Path, str],
) -> dict[str, Any]:
    """Everything that the page tells of one family."""
    own = [result for result in results if result.cell.family == family]
    dense = family != Family.DCGAN
    longest = max((float(r.metrics.get("train_seconds") or 0) for r in own), default=0.0)
    overall = max((float(r.metrics.get("train_seconds") or 0) for r in results), default=0.0)
    standard = [
        _figure(r, "grid.png", pictures, "made from codes drawn from N(0, I)", _samples_caption(r))
        for r in own
    ]
    samplers = [
        (
            source,
            [
                _figure(
                    result,
                    f"grid_{sampler}.png",
                    pictures,
                    f"made from codes drawn from {source}",
                    _samples_caption(result, f"{sampler}_"),
                )
                for result in own
            ],
        )
        for sampler, (_, source) in SAMPLERS.items()
        if any(f"{sampler}_frechet_distance" in result.metrics for result in own)
    ]
    return {
        "style": family.value,
        "title": family.label,
        "rows": [
            {
                "latent_size": result.cell.latent_size,
                "status": result.status.value,
                "reason": result.reason,
                "best": best.get(family) is result,
                "values": [(_shown(name, result), _reach(name, result)) for name in columns],
                "seconds": format_metric("train_seconds", result.metrics.get("train_seconds")),
                "rate": format_metric("images_per_second", result.metrics.get("images_per_second")),
                "bar": 100 * float(result.metrics.get("train_seconds") or 0) / (overall or 1),
            }
            for result in own
        ],
        "timed": longest > 0,
        "samples": standard,
        "samplers": samplers,
        "reconstructions": [
            _figure(
                result,
                "reconstructions.png",
                pictures,
                "test images in the top row and their reconstructions below",
                _figures_of(result, "mean_squared_error"),
            )
            for result in own
            if dense
        ],
        "worst": [
            _figure(
                result,
                "worst_reconstructions.png",
                pictures,
                "the ten test images that it rebuilds worst, and what it makes of them below",
                "",
            )
            for result in own
            if dense and _has(result, "worst_reconstructions.png")
        ],
        "scatters": [
            _figure(
                result,
                "latent_scatter.png",
                pictures,
                "latent codes of the test images, coloured by class",
                _areas_caption(result),
            )
            for result in own
            if dense
        ],
        **_training_curves(family, own),
    }


def _figure(
    result: Result, name: str, pictures: Mapping[Path, str], what: str, caption: str
) -> Figure:
    path = _file(result, name)
    uri = pictures.get(path, "") if path else ""
    absent = ""
    if not uri:
        absent = _state(result) or "No picture arrived"
    return Figure(
        title=f"Latent size {result.cell.latent_size}",
        uri=uri,
        alt=f"{result.cell.family.label} with latent size {result.cell.latent_size}: {what}",
        caption=caption,
        absent=absent,
    )


def _state(result: Result) -> str:
    """Why a cell is not complete, as ``Diverged: loss is NaN at step 7``; empty if it is."""
    if result.status == Status.COMPLETE:
        return ""
    return f"{result.status.value.capitalize()}: {result.reason}"


def _samples_caption(result: Result, prefix: str = "") -> str:
    covered = result.metrics.get(f"{prefix}digits_covered")
    if covered is None:
        return ""
    confidence = format_metric("mean_confidence", result.metrics.get(f"{prefix}mean_confidence"))
    share = format_metric("largest_digit_share", result.metrics.get(f"{prefix}largest_digit_share"))
    distance = format_metric("frechet_distance", result.metrics.get(f"{prefix}frechet_distance"))
    missing = "" if prefix else _missing_digits(result)
    told = f"{covered:.0f} of 10 digits{missing}, largest share {share}, confidence {confidence}"
    told += "" if prefix else _least_covered(result)
    return f"Fréchet distance {distance}; {told}" if distance else told


def _missing_digits(result: Result) -> str:
    """The digits that hardly any sample shows, as `` (hardly a 4, 5)``."""
    shares = _read(result.samples).get("digit_shares")
    try:
        missing = [str(digit) for digit, share in enumerate(shares or ()) if share < COVERED_SHARE]
    except TypeError:  # no list, or not of numbers
        return ""
    return f" (hardly a {', '.join(missing)})" if missing else ""


def _least_covered(result: Result) -> str:
    """The digit with the lowest coverage, as ``; least covered: 8, 3.1%``."""
    coverage = _read(result.samples).get("digit_coverage")
    try:
        share, digit = min((float(share), digit) for digit, share in enumerate(coverage or ()))
    except (TypeError, ValueError):  # no list, an empty one, or not of numbers
        return ""
    return f"; least covered: {digit}, {format_metric('coverage', share)}"


def _areas_caption(result: Result) -> str:
    smallest, largest = (
        format_metric(name, result.metrics.get(name))
        for name in ("smallest_class_area_share", "largest_class_area_share")
    )
    if not smallest or not largest:
        return ""
    gaps = result.metrics.get("gap_share")
    holes = f"; {100 * gaps:.0f}% of the plane holds no code" if gaps is not None else ""
    return f"A class holds {smallest} to {largest} of what the codes take up{holes}"


def _figures_of(result: Result, name: str) -> str:
    text = format_metric(name, result.metrics.get(name))
    return f"{METRICS[name].label} {text}" if text else ""


def _training_curves(family: Family, results: Sequence[Result]) -> dict[str, Any]:
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
                caption=_state(result),
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


def _latent_size_charts(results: Sequence[Result]) -> list[Chart]:
    complete = [result for result in results if result.status == Status.COMPLETE]

    def line(family: Family, name: str, label: str = "", dashed: bool = False) -> Series:
        own = [result for result in complete if result.cell.family == family]
        intervals = _intervals(own, name)
        return Series(label or family.label, family.value, _points(own, name), dashed, intervals)

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
                    _points(complete, "pca_mean_squared_error"),
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


def _points(results: Iterable[Result], name: str) -> list[Point]:
    """(latent size, figure) of every result that has the figure, one point a latent size."""
    points: dict[int, float] = {}
    for result in results:
        value = result.metrics.get(name)
        if value is not None:
            points[result.cell.latent_size] = float(value)
    return sorted((float(size), value) for size, value in points.items())


def _intervals(results: Iterable[Result], name: str) -> list[Sequence[float]]:
    """The interval of each point of ``_points``; empty where there is none."""
    intervals: dict[int, Sequence[float]] = {}
    for result in results:
        if result.metrics.get(name) is not None:
            intervals[result.cell.latent_size] = result.intervals.get(name, ())
    return [interval for _, interval in sorted(intervals.items())]


def _read(folder: Path | None) -> dict[str, Any]:
    """A step's ``metrics.json``; empty where there is none that can be read."""
    try:
        return parse_document((folder / "metrics.json").read_bytes()) if folder else {}
    except (OSError, ValueError):
        return {}


def _active_units(results: Sequence[Result]) -> str:
    """One sentence on how many of its units the VAE uses."""
    points = _points(
        (r for r in results if r.cell.family == Family.VAE and r.status == Status.COMPLETE),
        "active_units",
    )
    if not points:
        return ""
    # No-break spaces: "18 of 100" stays on one line.
    *others, last = [f"{active:.0f}\xa0of\xa0{size:.0f}" for size, active in points]
    each = f"{', '.join(others)} and {last}" if others else last
    most = max(active for _, active in points)
    if all(active >= size for size, active in points):
        return f"The VAE uses all the units that it is given: {each} are active."
    if len(points) == 1 or most >= points[-1][0]:
        return f"The VAE does not use all the units that it is given: {each} are active."
    return (
        f"The VAE uses no more than {most:.0f} units, however many it is given: {each} are active. "
        "The KL divergence switches off a unit that does not pay for itself, so a larger code "
        "changes little."
    )


def _why_the_standard_normal_fails(results: Sequence[Result]) -> str:
    """One sentence on what the autoencoder's codes are like, with this run's own figures."""
    best = best_results(results).get(Family.AUTOENCODER)
    if best is None:
        return ""
    distance = best.metrics.get("code_mean_distance")
    measured = (
        f": at latent size {best.cell.latent_size} their mean lies {distance:.1f} away from 0"
        if distance is not None
        else ""
    )
    return (
        "Nothing in an autoencoder's training asks its codes to follow N(0, I)"
        f"{measured}. So codes drawn from N(0, I) fall where the decoder has seen few or none; "
        "what is fitted to the training codes draws closer to where they are."
    )
