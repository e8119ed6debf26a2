"""How time and memory grow: `python -m tests.benchmarks.scale` (a quarter of an hour on 2 cores).

Prints the tables that the README beside it holds, and draws ``docs/scale.png``. Every figure comes
from a process of its own, so that its memory is its own.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from components.cells import Family
from tests.benchmarks.loops import OURS, Case, work

PICTURE = Path(__file__).parents[2] / "docs" / "scale.png"
LATENT_SIZES = (2, 8, 32, 128, 512)
BATCH_SIZES = (16, 64, 256, 1024)
DATA_SIZES = (10_000, 60_000, 200_000, 600_000)
CELLS = (3, 12, 60)
Point = tuple[float, float, float]  # what grows, images/s (cells: seconds), MiB


def trained(case: Case, data: Path) -> tuple[float, float]:
    """Images a second in the second of two rounds, and MiB at most, of one case."""
    context = multiprocessing.get_context("spawn")
    pipe, end = context.Pipe()
    worker = context.Process(target=work, args=(end, case, OURS, data))
    worker.start()
    pipe.recv()
    pipe.send("round")
    seconds = pipe.recv()
    pipe.send("end")
    memory = pipe.recv()
    worker.join()
    return case.images / seconds, memory


def pipeline(cells: int) -> tuple[float, float]:
    """Seconds and MiB at most of a local run with so many cells, one short epoch each."""
    sizes = ",".join(map(str, range(1, cells + 1)))
    genpipe = Path(sys.executable).with_name("genpipe")
    command = [genpipe, "run", "--no-cache", "--families", "autoencoder", "--latent-sizes", sizes]
    for parameter in ("autoencoder_epochs=1", "judge_epochs=1", "samples=1000"):
        command += ["--param", parameter]
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        command += ["--runs", folder]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"at most ([\d.]+) GiB of memory", out)
    return time.perf_counter() - began, float(found[1]) * 1024 if found else float("nan")


def table(title: str, unit: str, points: Iterable[Point]) -> None:
    """Print one table."""
    print(f"\n| {title} | {unit} | MiB |\n|---|---|---|")
    for grown, value, memory in points:
        print(f"| {grown:,} | {value:,.0f} | {memory:,.0f} |", flush=True)


def draw(curves: dict[str, dict[str, list[Point]]]) -> None:
    """One plot for each thing that grows, rates to the left and memory to the right."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, len(curves), figsize=(4 * len(curves), 6), squeeze=False)
    for column, (title, families) in enumerate(curves.items()):
        for name, points in families.items():
            grown, values, memory = zip(*points, strict=True)
            axes[0, column].plot(grown, values, marker="o", label=name)
            axes[1, column].plot(grown, memory, marker="o", label=name)
        for row, label in enumerate(("seconds" if title == "cells" else "images/s", "MiB")):
            plot = axes[row, column]
            plot.set(xscale="log", xlabel=title, ylabel=label, ylim=(0, None))
            plot.grid(alpha=0.3)
            if len(families) > 1:
                plot.legend()
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=80)


def main() -> None:
    """Measure, print and draw."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    curves: dict[str, dict[str, list[Point]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "images.npy"

        def images(count: int) -> None:
            draws = np.random.default_rng(0)
            np.save(data, draws.integers(0, 256, (count, 28, 28, 1), np.uint8))

        images(60_000)
        for title, field, sizes in (
            ("latent size", "latent_size", LATENT_SIZES),
            ("batch size", "batch_size", BATCH_SIZES),
        ):
            curves[title] = {}
            for family in Family:
                case = Case(family, 10, 32 if family is Family.DCGAN else 128)
                points = [(size, *trained(replace(case, **{field: size}), data)) for size in sizes]
                curves[title][family.label] = points
                table(f"{family.label}, {title}", "images/s", points)
        points = []
        for count in DATA_SIZES:
            images(count)
            points.append((count, *trained(Case(Family.AUTOENCODER, 10, 128), data)))
        curves["images in the data set"] = {"AE": points}
        table("images in the data set (AE)", "images/s", points)
    points = [(cells, *pipeline(cells)) for cells in CELLS]
    curves["cells"] = {"AE": points}
    table("cells of a local run", "seconds", points)
    draw(curves)
    print(f"\n{json.dumps(curves)}\nwrote {PICTURE}")


if __name__ == "__main__":
    main()
