"""The report's pictures: what each shows, of which cell, and drawn from what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genpipe.families.spec import FamilySpec
from genpipe.metrics.samplers import SAMPLER_TITLES, SAMPLERS, codes_from, metric_of_sampler
from genpipe.reporting.captions import areas_caption, metric_of, samples_caption
from genpipe.reporting.results import Result, file_of, state_of
from genpipe.reporting.verdicts import DISTANCE, best_samples


@dataclass(frozen=True)
class Figure:
    """A picture of one cell, or the reason why there is none.

    Args:
        title: the cell, as ``latent size 10``, and what codes are drawn from.
        uri: the picture as a data: URI; empty if there is none.
        alt: what the picture shows.
        caption: what to see in it.
        absent: why there is no picture.
        cell: name of the cell, where the page links to what else there is of it.
    """

    title: str
    uri: str
    alt: str
    caption: str
    absent: str = ""
    cell: str = ""


def grid_of(sampler: str) -> str:
    """The file of a sampler's samples."""
    return f"grid_{sampler}.png" if sampler in SAMPLERS else "grid.png"


def best_grid(result: Result) -> tuple[str, Path | None]:
    """The sampler that serves a model best, and the file of its samples.

    N(0, I) where no sampler was measured, or where the best one left no picture.
    """
    best = best_samples(result)
    sampler = best.sampler if best else "normal"
    path = file_of(result, grid_of(sampler))
    if path is None or not path.is_file():
        return "normal", file_of(result, "grid.png")
    return sampler, path


def pictures_shown(results: Sequence[Result], best: Mapping[FamilySpec, Result]) -> list[Path]:
    """The files of all pictures on the page, as often as it shows them."""
    names = (*map(grid_of, SAMPLER_TITLES), "reconstructions.png")
    names += ("worst_reconstructions.png", "latent_scatter.png")
    shown = [file_of(result, name) for result in results for name in names]
    shown += [best_grid(result)[1] for result in best.values()]
    return [path for path in shown if path is not None]


def galleries(
    family: FamilySpec,
    results: Sequence[Result],
    pictures: Mapping[Path, str],
    names: Sequence[str],
) -> dict[str, Any]:
    """The pictures of a family.

    Args:
        family: the family.
        results: its cells.
        pictures: data: URIs by file.
        names: of the classes.

    Returns:
        ``samples`` of each cell's best sampler, ``other_samples`` by the sampler, and of families
        with an encoder ``reconstructions``, ``worst`` and ``scatters``.
    """

    def of_cells(name: str, what: str, caption: Any = None) -> list[Figure]:
        if not family.encoder:
            return []
        return [
            _figure(
                result, file_of(result, name), pictures, what, caption(result) if caption else ""
            )
            for result in results
        ]

    best = {result.cell: best_grid(result)[0] for result in results}
    others = {
        f"Codes from {SAMPLERS[sampler][1] if sampler in SAMPLERS else 'N(0, I)'}": [
            _samples(result, sampler, pictures, names)
            for result in results
            if best[result.cell] != sampler
            and metric_of_sampler(DISTANCE, sampler) in result.metrics
        ]
        for sampler in SAMPLER_TITLES
    }
    worst = of_cells(
        "worst_reconstructions.png",
        "the ten test images that it rebuilds worst, and what it makes of them below",
    )
    return {
        "samples": [_samples(r, best[r.cell], pictures, names, linked=True) for r in results],
        "other_samples": {title: figures for title, figures in others.items() if figures},
        "reconstructions": of_cells(
            "reconstructions.png",
            "test images in the top row and their reconstructions below",
            lambda result: metric_of(result, "mean_squared_error"),
        ),
        "worst": [figure for figure in worst if figure.uri],
        "scatters": of_cells(
            "latent_scatter.png",
            "latent codes of the test images, coloured by class",
            areas_caption,
        ),
    }


def _samples(
    result: Result,
    sampler: str,
    pictures: Mapping[Path, str],
    names: Sequence[str],
    *,
    linked: bool = False,
) -> Figure:
    drawn = codes_from(sampler)
    return _figure(
        result,
        file_of(result, grid_of(sampler)),
        pictures,
        f"samples, {drawn}",
        samples_caption(result, names, sampler),
        f", {drawn}",
        linked=linked,
    )


def _figure(
    result: Result,
    path: Path | None,
    pictures: Mapping[Path, str],
    what: str,
    caption: str,
    drawn: str = "",
    *,
    linked: bool = False,
) -> Figure:
    uri = pictures.get(path, "") if path else ""
    absent = "" if uri else state_of(result) or "No picture arrived"
    cell = result.cell
    return Figure(
        title=f"Latent size {cell.latent_size}{'' if absent else drawn}",
        uri=uri,
        alt=f"{cell.family.label} with latent size {cell.latent_size}: {what}",
        caption=caption,
        absent=absent,
        cell=result.best_training.cell.name if linked else "",
    )
