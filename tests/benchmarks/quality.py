"""Hold what models score against their bars (`make quality`).

Without an argument the runs below are made first, each step taken from the cache if it was run
before with the same code: an hour and a half on 2 cores. With arguments those runs' folders are
read. A bar is held by the mean over a run's seeds, but where it says that every seed holds it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genpipe.cells import Cell
from pipelines.console.leaderboard import rows_of
from pipelines.local.run import new_name

RUNS = (
    ("--seeds", "0,1,2"),
    ("--families", "dcgan", "--latent-sizes", "100", "--seeds", "0,1,2", "--dcgan-steps", "4000"),
    ("--families", "dcgan", "--latent-sizes", "100", "--dcgan-steps", "20000"),
)
SIGNS = {
    "<": lambda value, bar: value < bar,
    "<=": lambda value, bar: value <= bar,
    ">=": lambda value, bar: value >= bar,
}


@dataclass(frozen=True)
class Bar:
    """What a cell has to score.

    Args:
        cell: the cell, as ``vae-10``.
        metric: the metric's name.
        sign: how it has to stand to the bar.
        value: the bar, or the metric of the same cell that is one.
        steps: how many steps the cell was trained for; any where None.
        each_seed: whether every seed has to hold it.
    """

    cell: str
    metric: str
    sign: str
    value: float | str
    steps: int | None = None
    each_seed: bool = False


MSE, LOSS, DISTANCE = "mean_squared_error", "total_loss", "frechet_distance"
BARS = [
    *(Bar(f"autoencoder-{size}", MSE, "<", f"pca_{MSE}") for size in (2, 10, 100)),
    *(Bar(f"vae-{size}", MSE, "<", f"pca_{MSE}") for size in (2, 10)),
    Bar("autoencoder-2", MSE, "<=", 0.043),
    Bar("autoencoder-10", MSE, "<=", 0.0165),
    Bar("autoencoder-100", MSE, "<=", 0.0033),
    Bar("vae-2", LOSS, "<=", 38.8),
    Bar("vae-10", LOSS, "<=", 29.3),
    Bar("vae-100", LOSS, "<=", 30.5),
    Bar("dcgan-100", "classes_covered", ">=", 10, each_seed=True),
    Bar("dcgan-100", "largest_class_share", "<=", 0.25, each_seed=True),
    Bar("dcgan-100", DISTANCE, "<=", 22, steps=4000),
    Bar("dcgan-100", DISTANCE, "<=", 10, steps=20000),
]


def hold(folder: Path) -> Iterator[tuple[str, str, float, str, float, bool]]:
    """Each bar that a run has the cell for: cell, metric, value, sign, bar, and whether it held."""
    board = json.loads((folder / "leaderboard.json").read_text(encoding="utf-8"))
    means = {Cell.parse(row).name: row["metrics"] for row in rows_of(board)}
    judge = json.loads((folder / "judge" / "model" / "model.json").read_text(encoding="utf-8"))
    accuracy = judge["metrics"]["test_accuracy"]
    yield "judge", "test_accuracy", accuracy, ">=", 0.99, accuracy >= 0.99
    for bar in BARS:
        mean = means.get(bar.cell)
        if mean is None or bar.steps not in (None, mean.get("steps")):
            continue
        scored = [mean]
        if bar.each_seed:
            rows = ((Cell.parse(row), row["metrics"]) for row in board["cells"])
            scored = [metrics for cell, metrics in rows if cell.without_seed.name == bar.cell]
        for metrics in scored:
            value: Any = metrics[bar.metric]
            limit = metrics[bar.value] if isinstance(bar.value, str) else bar.value
            held = SIGNS[bar.sign](value, limit)
            yield bar.cell, bar.metric, value, bar.sign, limit, held


def main(folders: list[Path]) -> int:
    """Print a line a bar; returns how many were missed."""
    missed = 0
    for folder in folders:
        print(f"{folder}\n  {'cell':<18}{'metric':<22}{'measured':>10}   {'bar':>10}")
        for cell, metric, value, sign, bar, held in hold(folder):
            note = "" if held else "  MISSED"
            print(f"  {cell:<18}{metric:<22}{value:>10.4f} {sign:>2} {bar:>9.4f}{note}")
            missed += not held
    print(f"{missed} bars missed" if missed else "every bar held")
    return missed


def make_runs() -> Iterator[Path]:
    """Run what the bars are about."""
    genpipe = Path(sys.executable).with_name("genpipe")
    for number, options in enumerate(RUNS, start=1):
        run = Path("runs") / f"{new_name()}-quality-{number}"
        subprocess.run([genpipe, "run", "--name", run.name, *options], check=True)
        print()
        yield run


if __name__ == "__main__":
    sys.exit(1 if main([Path(one) for one in sys.argv[1:]] or list(make_runs())) else 0)
