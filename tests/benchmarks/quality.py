"""Hold the figures of a full run against their bars (`make quality`).

Without an argument the full budgets are run with seed 0, or taken from the cache if they were run
before with the same code; with one, that run's folder is read.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.local.run import new_name

Cell = dict[str, Any]
Bar = tuple[str, int, str, Callable[[Cell], float], str, Callable[[Cell], float]]


def metric(name: str) -> Callable[[Cell], float]:
    """Read one figure of a cell."""
    return lambda cell: cell["metrics"][name]


def fixed(value: float) -> Callable[[Cell], float]:
    """A bar that is the same for every run."""
    return lambda cell: value


MSE, PCA, LOSS = "mean_squared_error", "pca_mean_squared_error", "total_loss"
BARS: list[Bar] = [
    *(
        (family, size, "MSE, below PCA's", metric(MSE), "<", metric(PCA))
        for family, sizes in (("autoencoder", (2, 10, 100)), ("vae", (2, 10)))
        for size in sizes
    ),
    *(
        ("autoencoder", size, "MSE", metric(MSE), "<=", fixed(bar))
        for size, bar in ((2, 0.043), (10, 0.0165), (100, 0.0033))
    ),
    *(
        ("vae", size, "784 x MSE + KL", metric(LOSS), "<=", fixed(bar))
        for size, bar in ((2, 38.8), (10, 29.3), (100, 30.5))
    ),
    ("dcgan", 100, "digits covered", metric("digits_covered"), ">=", fixed(10)),
    ("dcgan", 100, "largest digit share", metric("largest_digit_share"), "<=", fixed(0.25)),
]


def judge_bar(folder: Path) -> tuple[str, float]:
    """The judge's accuracy on the test split."""
    metadata = json.loads((folder / "judge" / "model" / "model.json").read_text())
    return "judge, test accuracy", metadata["metrics"]["test_accuracy"]


def main(folder: Path) -> int:
    """Print the table; returns how many bars were missed."""
    board = json.loads((folder / "leaderboard.json").read_text())
    cells = {(cell["family"], cell["latent_size"]): cell for cell in board["cells"]}
    missed = 0
    print(f"{'cell':<18}{'figure':<22}{'measured':>10}   {'bar':>10}")

    def show(cell: str, figure: str, value: float, sign: str, bar: float) -> None:
        nonlocal missed
        held = {"<": value < bar, "<=": value <= bar, ">=": value >= bar}[sign]
        missed += not held
        note = "" if held else "MISSED"
        print(f"{cell:<18}{figure:<22}{value:>10.4f} {sign:>2} {bar:>9.4f}  {note}")

    for family, size, figure, value, sign, bar in BARS:
        cell = cells[family, size]
        show(f"{family}-{size}", figure, value(cell), sign, bar(cell))
    figure, accuracy = judge_bar(folder)
    show("judge", figure, accuracy, ">=", 0.99)
    print(f"{missed} of {len(BARS) + 1} bars missed" if missed else "every bar held")
    return missed


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run = Path(sys.argv[1])
    else:
        run = Path("runs") / new_name()
        genpipe = Path(sys.executable).with_name("genpipe")
        subprocess.run([genpipe, "run", "--name", run.name], check=True)
        print()
    sys.exit(1 if main(run) else 0)
