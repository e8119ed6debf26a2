"""How time and memory grow: `python -m tests.benchmarks.scale` (half an hour on 2 cores).

Prints the tables that the README beside it holds, and draws ``docs/scale.png``. Every figure comes
from a process of its own, so that its memory is its own.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from genpipe.families.registry import all_families, find_family
from tests.benchmarks.loops import OURS, Case, take_turns

PICTURE = Path(__file__).parents[2] / "docs" / "scale.png"
LATENT_SIZES = (2, 8, 32, 128, 512)
BATCH_SIZES = (16, 64, 256, 1024)
DATA_SIZES = (10_000, 60_000, 200_000, 600_000)
CELLS = (3, 12, 60)
BATCH_SIZE = {"autoencoder": 128, "vae": 128, "dcgan": 32}
Point = tuple[float, float, float]  # what grows, images/s (cells: seconds), MiB


def curve(cases: Mapping[int, tuple[Case, Path]]) -> list[Point]:
    """Images a second and MiB at most, by what grows; all take turns, so that noise meets all."""
    seconds, memory = take_turns({size: (case, OURS, data) for size, (case, data) in cases.items()})
    return [
        (size, case.images / statistics.median(seconds[size]), memory[size])
        for size, (case, _) in cases.items()
    ]


def pipeline(cells: int) -> tuple[float, float]:
    """Seconds and MiB at most of a local run with so many cells, one short epoch each."""
    sizes = ",".join(map(str, range(1, cells + 1)))
    genpipe = Path(sys.executable).with_name("genpipe")
    command: list[str | Path] = [
        genpipe,
        "run",
        "--no-cache",
        "--families",
        "autoencoder",
        "--latent-sizes",
        sizes,
    ]
    for parameter in ("autoencoder.epochs=1", "judge_epochs=1", "samples=1000"):
        command += ["--param", parameter]
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        command += ["--runs", folder]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"at most ([\d.]+) GiB of memory", out)
    return time.perf_counter() - began, float(found[1]) * 1024 if found else float("nan")


def table(title: str, families: Mapping[str, list[Point]]) -> None:
    """Print one table: what grows, then a rate (cells: seconds) and the memory of each family."""
    print(f"\n| {title} | {' | MiB | '.join(families)} | MiB |")
    print("|---" * (1 + 2 * len(families)) + "|")
    for row in zip(*families.values(), strict=True):
        figures = [f"{figure:,.0f}" for _, *found in row for figure in found]
        print(f"| {row[0][0]:,} | {' | '.join(figures)} |", flush=True)


def draw(curves: dict[str, dict[str, list[Point]]]) -> None:
    """One plot for each thing that grows, rates to the left and memory to the right."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, len(curves), figsize=(4 * len(curves), 6), squeeze=False)
    for column, (title, families) in enumerate(curves.items()):
        above, below = axes[:, column]
        for name, points in families.items():
            grown, values, memory = zip(*points, strict=True)
            above.plot(grown, values, marker="o", label=name)
            below.plot(grown, memory, marker="o", label=name)
        if title == "cells":
            above.set(yscale="log", ylim=(10, 3000), ylabel="seconds")
        else:
            above.set(yscale="log", ylim=(100, 100_000), ylabel="images/s")
        below.set(ylim=(0, 1.05 * below.dataLim.y1), ylabel="MiB")
        for plot in (above, below):
            plot.set(xscale="log", xlabel=title)
            plot.set_xticks(grown, [f"{value:,}" for value in grown])
            plot.minorticks_off()
            plot.grid(alpha=0.3)
        if len(families) > 1:
            below.legend()
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=80)


def main() -> None:
    """Measure, print and draw."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with tempfile.TemporaryDirectory() as folder:

        def images(count: int) -> Path:
            path = Path(folder) / f"{count}.npy"
            if not path.exists():
                draws = np.random.default_rng(0)
                np.save(path, draws.integers(0, 256, (count, 28, 28, 1), np.uint8))
            return path

        def families(field: str, sizes: Iterable[int]) -> dict[str, list[Point]]:
            def changed(size: int) -> dict[str, Any]:
                return {field: size}

            cases = [Case(family, 10, BATCH_SIZE[family]) for family in all_families()]
            return {
                find_family(case.family).label: curve(
                    {size: (replace(case, **changed(size)), images(60_000)) for size in sizes}
                )
                for case in cases
            }

        case = Case("autoencoder", 10, BATCH_SIZE["autoencoder"])
        label = find_family(case.family).label
        curves = {
            "latent size": families("latent_size", LATENT_SIZES),
            "batch size": families("batch_size", BATCH_SIZES),
            "images in the data set": {
                label: curve({count: (case, images(count)) for count in DATA_SIZES})
            },
        }
    curves["cells"] = {label: [(cells, *pipeline(cells)) for cells in CELLS]}
    for title, found in curves.items():
        table(title, found)
    draw(curves)
    print(f"\n{json.dumps(curves)}\nwrote {PICTURE}")


if __name__ == "__main__":
    main()
