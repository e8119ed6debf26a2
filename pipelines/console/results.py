"""The metrics of a run, in the terminal.

A run is whatever ``pipelines.runs.artifacts`` finds: a local run, or one in a bucket.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from genpipe import storage
from genpipe.cells import Cell
from genpipe.documents import parse_document
from genpipe.errors import StepError
from genpipe.families.registry import all_families
from pipelines.console.leaderboard import print_leaderboard, rows_of
from pipelines.console.sketches import WIDTH, digit, shows_greys, sparkline
from pipelines.runs.artifacts import read_run
from pipelines.runs.board import read_board
from pipelines.runs.find import FoundRun

CURVE_WIDTH = 12
MOST_DIGITS = 4
INDENT = 2


@dataclass(frozen=True)
class Results:
    """What a run left, as far as runs are compared by it.

    Attributes:
        uri: where the run is.
        board: content of ``leaderboard.json``.
        settings: of each cell's training.
        shared: settings of the run as a whole, by the parameters' names.
        curves: (x, y) of each cell's curve (``FamilySpec.headline``).
        judge: digest of the judge's weights; empty where that is not known.
        files: of each cell the pictures' files, by the picture's name.
        samples: of each cell a few from N(0, I), (n, height, width) uint8.
        mixture_samples: a few of each cell from a mixture fitted to its codes, the same shape.
        seeds: of the cells that were trained with several, the one that curves, files and samples
            are of.
    """

    uri: str
    board: Mapping[str, Any]
    settings: Mapping[Cell, Mapping[str, Any]] = field(default_factory=dict)
    shared: Mapping[str, Any] = field(default_factory=dict)
    curves: Mapping[Cell, Sequence[tuple[float, float]]] = field(default_factory=dict)
    judge: str = ""
    files: Mapping[Cell, Mapping[str, storage.File]] = field(default_factory=dict)
    samples: Mapping[Cell, np.ndarray] = field(default_factory=dict)
    mixture_samples: Mapping[Cell, np.ndarray] = field(default_factory=dict)
    seeds: Mapping[Cell, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The run's name."""
        return str(self.board.get("run", "")) or self.uri

    @property
    def metrics(self) -> dict[Cell, Mapping[str, float | None]]:
        """The metrics of each cell; of one that was trained with several seeds their means."""
        return {Cell.parse(row): row["metrics"] for row in rows_of(self.board)}


def read_results(run: FoundRun) -> Results:
    """Read a run's leaderboard, and what each cell shows beside it as far as it is there.

    Raises:
        InputError: there is no run, or none of its cells has left anything.
        StepError: it can't be read.
    """
    uri = run.uri
    steps = read_run(uri)
    board = read_board(run, steps)
    files: dict[Cell, dict[str, storage.File]] = {}
    judges: list[storage.File] = []
    drawn: list[storage.File] = []
    for step in steps:
        if step.kind == "sample" and "metrics.json" in step.artifacts.get("samples", {}):
            drawn.append(step.artifacts["samples"]["metrics.json"])
        for artifact in ("model", "evaluation", "samples"):
            for name, file in step.artifacts.get(artifact, {}).items():
                if step.cell:
                    files.setdefault(step.cell, {})[name] = file
                elif step.kind == "judge" and name == "model.json":
                    judges.append(file)
    chosen = _of_one_seed(files)
    files = {cell: files[own] for cell, own in chosen.items()}
    read_here = ("history.csv", "model.json", "grid.npy", "grid_mixture.npy")
    wanted = [own[name] for own in files.values() for name in read_here if name in own]
    contents = storage.read_files(uri, [file.name for file in (*wanted, *judges, *drawn[:1])])

    def content(cell: Cell, name: str) -> bytes:
        file = files[cell].get(name)
        return contents[file.name] if file else b""

    def samples(name: str) -> dict[Cell, np.ndarray]:
        found = {cell: _samples(content(cell, name)) for cell in files}
        return {cell: images for cell, images in found.items() if len(images)}

    judge = _parse(contents[judges[-1].name], uri) if judges else {}
    sampled = _parse(contents[drawn[0].name], uri, "metrics.json") if drawn else {}
    shared = {"judge_epochs": judge.get("settings", {}).get("epochs")}
    shared["samples"] = sampled.get("samples")
    found = {cell: _parse(content(cell, "model.json") or b"{}", uri) for cell in files}
    return Results(
        uri=uri,
        board=board,
        settings={cell: metadata.get("settings", {}) for cell, metadata in found.items()},
        shared={name: value for name, value in shared.items() if value},
        curves={cell: _curve(content(cell, "history.csv"), cell) for cell in files},
        judge=str(judge.get("weights_digest", "")),
        files=files,
        samples=samples("grid.npy"),
        mixture_samples=samples("grid_mixture.npy"),
        seeds={cell: own.seed for cell, own in chosen.items() if own.seed is not None},
    )


def _of_one_seed(files: Mapping[Cell, Mapping[str, storage.File]]) -> dict[Cell, Cell]:
    """Of each cell that was trained with several seeds the training that left most files."""
    chosen: dict[Cell, Cell] = {}
    for cell in sorted(files):
        known = cell.without_seed
        if known not in chosen or len(files[cell]) > len(files[chosen[known]]):
            chosen[known] = cell
    return chosen


def show_report(results: Results, console: Console) -> None:
    """Print a run's leaderboard, with each cell's curve, and a few samples of each."""
    curves = {
        cell: sparkline([y for _, y in points], CURVE_WIDTH)
        for cell, points in results.curves.items()
    }
    print_leaderboard(results.board, console, curves)
    for family in all_families().values():
        for source, samples in (
            ("N(0, I)", results.samples),
            ("a mixture fitted to its codes", results.mixture_samples),
        ):
            own = [(_label(results, c), samples[c]) for c in samples if c.family is family]
            if own:
                console.print(f"\n[bold]{family.label}: samples from {source}[/bold]")
                show_samples(console, own)


def _label(results: Results, cell: Cell) -> str:
    seed = results.seeds.get(cell)
    return f"latent {cell.latent_size}" + ("" if seed is None else f", seed {seed}")


def show_samples(console: Console, shown: Sequence[tuple[str, np.ndarray]]) -> None:
    """Print samples under their labels, in as few rows as the terminal is wide enough for."""
    greys = shows_greys(console)
    room = console.width - INDENT
    digits = max(1, min(MOST_DIGITS, (room // len(shown) - 2) // WIDTH))
    in_a_row = max(1, room // (digits * WIDTH + 2))
    for first in range(0, len(shown), in_a_row):
        group = shown[first : first + in_a_row]
        width = digits * WIDTH
        labels = "  ".join(label[:width].ljust(width) for label, _ in group)
        console.print(" " * INDENT + labels.rstrip(), no_wrap=True)
        blocks = [
            [Text.assemble(*parts) for parts in zip(*drawn, strict=True)]
            for drawn in (
                [digit(image, greys=greys) for image in images[:digits]] for _, images in group
            )
        ]
        for parts in zip(*blocks, strict=True):
            console.print(Text(" " * INDENT) + Text("  ").join(parts), no_wrap=True)


def _curve(content: bytes, cell: Cell) -> list[tuple[float, float]]:
    """The points of a cell's curve that are finite numbers."""
    points = []
    for row in csv.DictReader(io.StringIO(content.decode("utf-8", "replace"))):
        try:
            point = float(row[cell.family.axis]), float(row[cell.family.headline])
        except (KeyError, TypeError, ValueError):
            continue
        if all(map(math.isfinite, point)):
            points.append(point)
    return points


def _samples(content: bytes) -> np.ndarray:
    """(n, height, width) uint8 images of a grid's array; no images where it is another array."""
    nothing = np.zeros((0, 1, 1), np.uint8)
    if not content:
        return nothing
    try:
        images: np.ndarray = np.load(io.BytesIO(content), allow_pickle=False)
    except Exception:  # NumPy raises anything of a damaged header
        return nothing
    if images.ndim != 4 or images.dtype != np.uint8:
        return nothing
    return grey(images[:MOST_DIGITS])


def grey(images: np.ndarray) -> np.ndarray:
    """(n, height, width, channels) uint8 images as (n, height, width): blocks have no colours."""
    return np.rint(images.mean(axis=-1)).astype(np.uint8)


def _parse(content: bytes, uri: str, name: str = "model.json") -> dict[str, Any]:
    try:
        return parse_document(content, "settings")
    except ValueError as error:
        raise StepError(f"a {name} of the run at {uri} is damaged: {error}") from None
