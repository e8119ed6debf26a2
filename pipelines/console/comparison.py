"""Runs side by side: in the terminal, or as a page."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from genpipe import storage
from genpipe.cells import Cell
from genpipe.errors import InputError
from genpipe.families.registry import all_families
from genpipe.metrics.registry import METRICS, format_metric
from pipelines.console.leaderboard import headlines
from pipelines.console.results import CURVE_WIDTH, Results, show_samples
from pipelines.console.sketches import sparkline
from pipelines.console.terminal import print_prose

# Characters of a comparison's first and last column.
LABEL_WIDTH = 25
BEST_WIDTH = 11
COMPARED = (
    "mean_squared_error",
    "total_loss",
    "frechet_distance",
    "mixture_frechet_distance",
    "classes_covered",
    "largest_class_share",
    "train_seconds",
)
# Those that grow as the number of samples falls, and those that hold for one judge alone.
DISTANCES = ("frechet_distance", "mixture_frechet_distance")
JUDGED = (*DISTANCES, "classes_covered", "largest_class_share")
# The pictures that a page shows of a cell: file, step's artifact, and what it is.
PICTURES = (
    ("grid.png", "samples", "Samples from N(0, I)"),
    ("grid_mixture.png", "samples", "Samples from a mixture fitted to the codes"),
    ("reconstructions.png", "evaluation", "Test images above, reconstructions below"),
    ("latent_scatter.png", "evaluation", "Codes of the test images"),
)
LETTERS = "ABCDEFGH"


def check_comparable(uris: Sequence[str]) -> None:
    """Refuse runs that can't be compared.

    Raises:
        InputError: there is but one run, one is named twice, or there are too many.
    """
    if len(uris) < 2:
        raise InputError("compare needs at least two runs")
    if len(set(uris)) < len(uris):
        twice = next(uri for uri in uris if list(uris).count(uri) > 1).rpartition("/")[2]
        raise InputError(f"run {twice!r} is given twice: compare needs two different runs")
    if len(uris) > len(LETTERS):
        raise InputError(f"{len(uris)} runs are too many: name at most {len(LETTERS)}")


def show_comparison(runs: Sequence[Results], console: Console) -> None:
    """Print runs side by side: what differs in them, each cell's metrics, and a few samples."""
    console.print(f"[bold]{len(runs)} runs side by side[/bold]")
    for letter, run in zip(LETTERS, runs, strict=False):
        console.print(f"  [bold]{letter}[/bold]  {escape(run.name)}", soft_wrap=True)
    for line in [*differences(runs), *warnings(runs)]:
        print_prose(console, line)
    at_once = max(1, (console.width - LABEL_WIDTH - BEST_WIDTH) // (CURVE_WIDTH + 2))
    for first in range(0, len(runs), at_once):
        console.print()
        console.print(_comparison(runs, range(first, min(first + at_once, len(runs))), console))
    text = (
        "best: the better run and its lead; with one seed per run, small differences may be "
        f"chance. Curve: {headlines()}, a cell's runs on one scale."
    )
    print_prose(console, text)
    letters = LETTERS[: len(runs)]
    for cell in _all_cells(runs):
        shown_runs = [
            (letter, run.samples[cell])
            for letter, run in zip(letters, runs, strict=True)
            if cell in run.samples
        ]
        if shown_runs:
            console.print(f"\n[bold]{cell.title}: samples from N(0, I)[/bold]")
            show_samples(console, shown_runs)


def _comparison(runs: Sequence[Results], places: range, console: Console) -> Table:
    """A table of some of the runs, of all that their cells scored."""
    with_best = console.width >= LABEL_WIDTH + CURVE_WIDTH + 2 + BEST_WIDTH
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("  cell", no_wrap=True)
    for place in places:
        table.add_column(LETTERS[place], justify="right", no_wrap=True)
    if with_best:
        table.add_column("best", no_wrap=True)
    for cell in _all_cells(runs):
        table.add_row(Text(f"  {cell.name}", style="bold"))
        for name, texts, best in metrics_of(cell, runs):
            shown = [
                Text(texts[place], style="bold" if LETTERS[place] == best[:1] else "")
                for place in places
            ]
            table.add_row(f"    {METRICS[name].label}", *shown, *([best] if with_best else []))
        curves = [[y for _, y in run.curves.get(cell, ())] for run in runs]
        values = [value for curve in curves for value in curve]
        span = (min(values), max(values)) if values else None
        sketches = [sparkline(curves[place], CURVE_WIDTH, span) for place in places]
        if any(sketches):
            table.add_row("    Curve", *map(Text, sketches))
    return table


def comparison_page(runs: Sequence[Results]) -> str:
    """Write the page that shows runs side by side: metrics, curves and pictures.

    Returns:
        An HTML document below 2 MB that loads nothing from anywhere.

    Raises:
        StepError: a picture can't be read.
    """
    from genpipe.reporting.embedding import embed_pictures
    from genpipe.reporting.palette import folding_script, style_sheet
    from genpipe.reporting.templates import open_template

    cells = _all_cells(runs)
    with tempfile.TemporaryDirectory(prefix="genpipe-compare-") as temporary:
        places = _fetch_pictures(runs, Path(temporary))
        uris = embed_pictures(list(places.values()))
    shown = {key: uris[path] for key, path in places.items() if path in uris}
    return open_template(Path(__file__).with_name("comparison.html.j2")).render(
        style=style_sheet(),
        folding=folding_script(),
        runs=[
            {"letter": letter, "name": run.name, "uri": run.uri}
            for letter, run in zip(LETTERS, runs, strict=False)
        ],
        differences=differences(runs),
        warnings=warnings(runs),
        cells=[
            {
                "name": cell.name,
                "style": cell.family.name,
                "title": cell.title,
                "only": _only_run(cell, runs),
                "metrics": [
                    {"label": METRICS[name].label, "texts": texts, "best": best}
                    for name, texts, best in metrics_of(cell, runs)
                ],
                **_chart(cell, runs),
                "curve": cell.family.headline.replace("_", " "),
                "pictures": [
                    {
                        "title": title,
                        "pixels": name != "latent_scatter.png",
                        "uris": [shown.get((index, cell, name), "") for index in range(len(runs))],
                    }
                    for name, _, title in PICTURES
                    if any((index, cell, name) in shown for index in range(len(runs)))
                ],
            }
            for cell in cells
        ],
    )


def metrics_of(cell: Cell, runs: Sequence[Results]) -> list[tuple[str, list[str], str]]:
    """Each metric that a run has of a cell: its name, as each run has it, and which is best.

    The best is written as ``B by 12.0%``, against the next; empty where none is.
    """
    rows, incomparable = [], _incomparable(runs)
    if len({repr(run.settings.get(cell)) for run in runs}) > 1:
        incomparable = {*incomparable, "train_seconds"}  # of another budget
    for name in COMPARED:
        values = [run.metrics.get(cell, {}).get(name) for run in runs]
        if any(value is not None for value in values):
            texts = [format_metric(name, value) for value in values]
            rows.append((name, texts, "" if name in incomparable else _best(name, values)))
    return rows


def differences(runs: Sequence[Results]) -> list[str]:
    """What differs between the runs: models, and settings as ``vae: epochs A 11, B 40``."""
    cells = [sorted(run.metrics) for run in runs]
    lines = [
        *_lists("families", [[cell.family.name for cell in own] for own in cells]),
        *_lists("latent sizes", [[str(cell.latent_size) for cell in own] for own in cells]),
        *_settings("all models", [run.shared for run in runs]),
    ]
    for family in all_families().values():
        own = [
            {
                name: value
                for cell, settings in run.settings.items()
                if cell.family is family
                for name, value in settings.items()
                if name != "latent_size"
            }
            for run in runs
        ]
        defaults = {setting.name: setting.default for setting in fields(family.settings)}
        lines += _settings(family.name, own, defaults)
    return lines


def _lists(title: str, own: Sequence[Sequence[str]]) -> list[str]:
    """A line on what each run has, where that is not the same: ``latent sizes: A 2, 10; B 2``."""
    texts = [", ".join(dict.fromkeys(one)) for one in own]
    if len(set(texts)) < 2:
        return []
    return [f"{title}: {'; '.join(map(' '.join, zip(LETTERS, texts, strict=False)))}"]


def _settings(
    title: str, own: Sequence[Mapping[str, Any]], defaults: Mapping[str, Any] | None = None
) -> list[str]:
    """A line on the settings in which runs differ.

    Where one of them did not train the family, what the others have is held against the defaults.
    """
    there = [(letter, one) for letter, one in zip(LETTERS, own, strict=False) if one]
    told = []
    for name in dict.fromkeys(name for _, one in there for name in one):
        # A run of an older version may lack a setting.
        values = [(letter, one[name]) for letter, one in there if name in one]
        known = {str(value) for _, value in values}
        if defaults and name in defaults and len(there) < len(own):
            known.add(str(defaults[name]))
        if len(known) > 1:
            each = ", ".join(f"{letter} {value}" for letter, value in values)
            told.append(f"{name} {each}")
    return [f"{title}: {'; '.join(told)}"] if told else []


def warnings(runs: Sequence[Results]) -> list[str]:
    """Why metrics of these runs do not compare, where they do not."""
    incomparable = _incomparable(runs)
    trained = Counter(cell for run in runs for cell in run.metrics)
    if max(trained.values(), default=0) < 2:
        return ["No cell was trained in two of these runs: there is nothing to set side by side."]
    if not incomparable:
        return []
    if incomparable == set(COMPARED):
        return ["These runs were measured on different data: their metrics do not compare."]
    if incomparable == set(DISTANCES):
        return ["These runs drew different numbers of samples: Fréchet distances do not compare."]
    told = "Fréchet distances and class shares cannot be compared."
    if all(run.judge for run in runs):
        return [f"These runs have different judges: {told}"]
    return [f"Not all of these runs show which judge they had; unless it is one, {told}"]


def _incomparable(runs: Sequence[Results]) -> set[str]:
    """The metrics that mean something else in each of these runs, for all that is known."""
    if len({run.board.get("data", {}).get("digest") for run in runs}) > 1:
        return set(COMPARED)
    judges = {run.judge for run in runs}
    if len(judges) > 1 or "" in judges:
        return set(JUDGED)
    counts = {run.shared["samples"] for run in runs if "samples" in run.shared}
    return set(DISTANCES) if len(counts) > 1 else set()


def _best(name: str, values: Sequence[float | None]) -> str:
    better = METRICS[name].better
    known = [
        (value, letter) for value, letter in zip(values, LETTERS, strict=False) if value is not None
    ]
    if not better or len(known) < 2:
        return ""
    (first, letter), (second, _), *_ = sorted(known, reverse=better == "higher")
    share = abs(first - second) / (abs(second) or abs(first) or 1.0)
    return f"{letter} by {share:.1%}" if share >= 0.0005 else ""


def _only_run(cell: Cell, runs: Sequence[Results]) -> str | None:
    """The letter of the run that alone has a cell."""
    there = [letter for letter, run in zip(LETTERS, runs, strict=False) if cell in run.metrics]
    return there[0] if len(there) == 1 else None


def _all_cells(runs: Iterable[Results]) -> list[Cell]:
    return sorted({cell for run in runs for cell in run.metrics})


def _fetch_pictures(runs: Sequence[Results], folder: Path) -> dict[tuple[int, Cell, str], Path]:
    """The pictures that a page shows, by run, cell and name."""
    places = {}
    for index, run in enumerate(runs):
        wanted = {
            f"{index}/{cell.name}/{name}": (cell, name, own[name])
            for cell, own in run.files.items()
            for name, _, _ in PICTURES
            if name in own
        }
        storage.pull(run.uri, folder, {at: file for at, (_, _, file) in wanted.items()})
        for at, (cell, name, _) in wanted.items():
            places[index, cell, name] = folder / at
    return places


def _chart(cell: Cell, runs: Sequence[Results]) -> dict[str, Any]:
    """The curves of a cell's runs on one pair of axes.

    Returns:
        ``chart``, the letters of the runs that are ``drawn`` in it, whether it is drawn
        ``from_zero``, and of curves with a single value that value in ``words``.
    """
    from genpipe.reporting.charts import Series, nice_ticks, thin_out, training_chart

    series = {
        letter: Series(run.name, f"run-{letter}", thin_out(run.curves.get(cell, ())))
        for letter, run in zip(LETTERS, runs, strict=False)
    }
    points = [point for line in series.values() for point in line.points]
    if not points:
        return {"chart": "", "drawn": (), "from_zero": False, "words": ""}
    across, up = zip(*points, strict=True)
    lone = {letter: line.points[0] for letter, line in series.items() if len(line.points) == 1}
    words = [f"{letter} {y:.4g} at {cell.family.axis} {x:,.0f}" for letter, (x, y) in lone.items()]
    # From 0 where that leaves the curves most of the height.
    low = 0.0 if 0 <= min(up) < 0.4 * max(up) else min(up)
    chart = training_chart(
        list(series.values()),
        label=f"Training of {cell.title}: " + ", ".join(run.name for run in runs),
        x_unit=cell.family.axis,
        x_range=(min(across), max(across)),
        y_range=(low, max(up)),
    )
    return {
        "chart": chart if len(points) > len(lone) else "",
        "words": f"Single value: {', '.join(words)}." if words else "",
        "drawn": [letter for letter, line in series.items() if line.points],
        "from_zero": nice_ticks(low, max(up), 3)[0] == 0,
    }
