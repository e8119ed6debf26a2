"""The run's report: one self-contained HTML page, made from the leaderboard's results.

Everything here turns results into the plain values that ``report.html.j2`` lays out. The page
needs no network: pictures are data: URIs, charts are inline SVG, fonts are the reader's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genpipe.cells import Status
from genpipe.families.spec import FamilySpec
from genpipe.metrics.registry import METRICS, REFERENCES, SAMPLERS, format_metric, format_spread
from genpipe.reporting.captions import (
    active_units,
    areas_caption,
    lead,
    metric_of,
    samples_caption,
    why_the_standard_normal_fails,
)
from genpipe.reporting.curves import latent_size_charts, training_curves
from genpipe.reporting.embedding import embed_pictures
from genpipe.reporting.explorer.page import explorer, explorers_that_fit
from genpipe.reporting.facts import data_rows, facts, families_of
from genpipe.reporting.palette import looks, marker
from genpipe.reporting.results import (
    Result,
    best_results,
    file_of,
    finite_numbers,
    over_seeds,
    several_seeds,
    state_of,
)
from genpipe.reporting.templates import open_template

# The KFP page fetches a report whole, so it stays below 2 MB. What pictures leave of that is the
# explorers', but for the rest: charts, tables, code, and the decisions of publish.
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
    "classes_covered",
    "train_seconds",
)


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


def render_report(
    *,
    run: str,
    dataset: Mapping[str, Any],
    judge: Mapping[str, Any],
    results: Sequence[Result],
    references: Mapping[str, Any] | None = None,
    class_means: Path | None = None,
) -> str:
    """Write the report of a run.

    Args:
        run: name of the pipeline run.
        dataset: content of the data set's ``dataset.json``.
        judge: content of the judge's ``model.json``.
        results: the cells, in the order to show them.
        references: what real images, a Gaussian and noise score by the same judge.
        class_means: picture of each class's mean image.

    Returns:
        An HTML document below 2 MB that loads nothing from anywhere. Whatever comes from outside
        (the run's name, reasons) is escaped.
    """
    trainings, results = results, over_seeds(results)
    best = best_results(results)
    shown = _pictures_shown(results, best)
    pictures = embed_pictures([*shown, class_means] if class_means else shown)
    room = PAGE_BYTES - REST_BYTES - sum(len(uri) for uri in pictures.values())
    explored, left_out = explorers_that_fit(results, best, room)
    names = [str(name) for name in dataset.get("class_names", "0123456789")]
    columns = [
        name for name in TABLE_METRICS if any(r.metrics.get(name) is not None for r in results)
    ]
    return open_template(Path(__file__).with_name("report.html.j2")).render(
        run=run or "unnamed run",
        summary=_summary(trainings),
        facts=facts(dataset, judge, trainings),
        seeds=several_seeds(results),
        cards=[_card(result, results, pictures, len(names)) for result in best.values()],
        columns=[METRICS[name] for name in columns],
        groups=[
            _group(family, results, best, columns, pictures, names)
            for family in families_of(results)
        ],
        references=_references(references or {}, columns),
        charts=latent_size_charts(results),
        active_units=[
            sentence
            for family in families_of(results)
            if (sentence := active_units(family, results))
        ],
        looks=looks(),
        marker=marker,
        data=data_rows(dataset),
        class_means=pictures.get(class_means, "") if class_means else "",
        explorer=explorer(explored) if explored else "",
        left_out=left_out,
        legend_of_metrics=[
            metric
            for name, metric in METRICS.items()
            if any(result.metrics.get(name) is not None for result in results)
        ],
    )


def _summary(results: Sequence[Result]) -> str:
    states = [result.status for result in results]
    parts = [f"{states.count(Status.COMPLETE)} of {len(states)} cells complete"]
    for status in (Status.DIVERGED, Status.MISSING):
        if status in states:
            parts.append(f"{states.count(status)} {status.value}")
    return ", ".join(parts)


def _card_file(result: Result) -> Path | None:
    if not result.cell.family.follows_prior:
        for kind in ("mixture", "fitted_gaussian"):
            fitted = file_of(result, f"grid_{kind}.png")
            if fitted and fitted.is_file():
                return fitted
    return file_of(result, "grid.png")


def _pictures_shown(results: Sequence[Result], best: Mapping[FamilySpec, Result]) -> list[Path]:
    names = ("grid.png", *(f"grid_{sampler}.png" for sampler in SAMPLERS))
    names += ("reconstructions.png", "worst_reconstructions.png", "latent_scatter.png")
    shown = [file_of(result, name) for result in results for name in names]
    shown += [_card_file(result) for result in best.values()]
    return [path for path in shown if path is not None]


def _has(result: Result, name: str) -> bool:
    path = file_of(result, name)
    return bool(path and path.is_file())


def _card(
    result: Result, results: Sequence[Result], pictures: Mapping[Path, str], classes: int
) -> dict[str, Any]:
    family = result.cell.family
    file, spread = _card_file(result), several_seeds([result])
    metrics = [
        (METRICS[name].label, _shown(name, result, classes), _reach(name, result) if spread else "")
        for name in family.shown
        if result.metrics.get(name) is not None
    ]
    return {
        "style": family.name,
        "family": family.label,
        "latent_size": result.cell.latent_size,
        "metrics": metrics,
        "decided_by": METRICS[family.deciding[0]].label,
        "lead": lead(result, results),
        "uri": pictures.get(file, "") if file else "",
        "alt": f"Images made by the {result.cell.family.label} with latent size "
        f"{result.cell.latent_size}, the best of its family",
    }


def _shown(name: str, result: Result, classes: int) -> str:
    """A metric as the page writes it, with the whole that a count is a part of."""
    text = format_metric(name, result.metrics.get(name))
    if text and name in ("active_units", "dead_units"):
        return f"{text} of {result.cell.latent_size}"
    if text and name == "classes_covered":
        return f"{text} of {classes}"
    return text


def _reach(name: str, result: Result) -> str:
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


def _references(references: Mapping[str, Any], columns: Sequence[str]) -> list[dict[str, Any]]:
    """Rows below the cells: what the samples' metrics are read by."""
    rows = []
    for name, title in REFERENCES.items():
        metrics = finite_numbers(references.get(name, {}).get("metrics", {}))
        values = [format_metric(column, metrics.get(column)) for column in columns]
        if any(values):
            rows.append({"title": title.capitalize(), "values": values})
    return rows


def _group(
    family: FamilySpec,
    results: Sequence[Result],
    best: Mapping[FamilySpec, Result],
    columns: Sequence[str],
    pictures: Mapping[Path, str],
    names: Sequence[str],
) -> dict[str, Any]:
    """Everything that the page says about one family, of data with classes of these names."""
    own = [result for result in results if result.cell.family is family]
    longest = max((float(r.metrics.get("train_seconds") or 0) for r in own), default=0.0)
    overall = max((float(r.metrics.get("train_seconds") or 0) for r in results), default=0.0)
    standard = [
        _figure(
            r, "grid.png", pictures, "made from codes drawn from N(0, I)", samples_caption(r, names)
        )
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
                    samples_caption(result, names, f"{sampler}_"),
                )
                for result in own
            ],
        )
        for sampler, (_, source) in SAMPLERS.items()
        if any(f"{sampler}_frechet_distance" in result.metrics for result in own)
    ]
    return {
        "style": family.name,
        "title": family.label,
        "rows": [
            {
                "latent_size": result.cell.latent_size,
                "status": result.status.value,
                "reason": result.reason,
                "note": _of_seeds(result),
                "best": best.get(family) is result,
                "values": [
                    (_shown(name, result, len(names)), _reach(name, result)) for name in columns
                ],
                "seconds": format_metric("train_seconds", result.metrics.get("train_seconds")),
                "rate": format_metric("images_per_second", result.metrics.get("images_per_second")),
                "bar": 100 * float(result.metrics.get("train_seconds") or 0) / (overall or 1),
            }
            for result in own
        ],
        "timed": longest > 0,
        "samples": standard,
        "samplers": samplers,
        "gaussian": why_the_standard_normal_fails(family, results),
        "reconstructions": [
            _figure(
                result,
                "reconstructions.png",
                pictures,
                "test images in the top row and their reconstructions below",
                metric_of(result, "mean_squared_error"),
            )
            for result in own
            if family.encoder
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
            if family.encoder and _has(result, "worst_reconstructions.png")
        ],
        "scatters": [
            _figure(
                result,
                "latent_scatter.png",
                pictures,
                "latent codes of the test images, coloured by class",
                areas_caption(result),
            )
            for result in own
            if family.encoder
        ],
        **training_curves(family, own),
    }


def _figure(
    result: Result, name: str, pictures: Mapping[Path, str], what: str, caption: str
) -> Figure:
    path = file_of(result, name)
    uri = pictures.get(path, "") if path else ""
    absent = ""
    if not uri:
        absent = state_of(result) or "No picture arrived"
    return Figure(
        title=f"Latent size {result.cell.latent_size}",
        uri=uri,
        alt=f"{result.cell.family.label} with latent size {result.cell.latent_size}: {what}",
        caption=caption,
        absent=absent,
    )
