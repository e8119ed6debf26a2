"""What the options of the training do to its speed and to what comes out of it.

`python -m tests.benchmarks.options` trains each variant with its full budget (a quarter of an hour
to an hour on 2 cores, so `make bench` leaves it out), and prints the table that
tests/benchmarks/README.md holds.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path
from typing import Any

from components.cells import Family
from components.evaluate.evaluate import evaluate
from components.ingest.ingest import ingest
from components.sample.sample import sample
from components.tracking import Tracker
from components.train.judge import train_judge
from components.train.settings import SETTINGS
from components.train.train import train

SHARED, BFLOAT16 = {"share_generator_pass": True}, {"precision": "bfloat16"}
# Family, latent size, seed, options.
VARIANTS: list[tuple[Family, int, int, dict[str, Any]]] = [
    *((Family.AUTOENCODER, 100, 0, options) for options in ({}, BFLOAT16)),
    *((Family.VAE, 10, 0, options) for options in ({}, BFLOAT16)),
    *(
        (Family.DCGAN, 100, seed, options)
        for seed in (0, 1)
        for options in ({}, SHARED, BFLOAT16, SHARED | BFLOAT16)
    ),
]
FIGURES = {
    Family.AUTOENCODER: ("mean_squared_error",),
    Family.VAE: ("total_loss",),
    Family.DCGAN: ("digits_covered", "largest_digit_share", "mean_confidence"),
}


def measure(
    folder: Path, data: Path, judge: Path, family: Family, latent_size: int, seed: int, options: Any
) -> dict[str, float]:
    """Train, evaluate and sample one variant; returns its rate and its figures."""
    tracker = Tracker()
    settings = SETTINGS[family](latent_size=latent_size, seed=seed, **options)
    card = train(settings, data, folder / "model", tracker)
    if family is Family.DCGAN:
        made = sample(
            data, judge, folder / "model", folder / "made", samples=10_000, seed=0, tracker=tracker
        )
    else:
        made = evaluate(data, folder / "model", folder / "made", seed=0, tracker=tracker)
    figures = {name: made["metrics"][name] for name in FIGURES[family]}
    return {"images_per_second": card["training"]["images_per_second"], **figures}


def main() -> None:
    """Train every variant and print a row for each."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        with contextlib.redirect_stdout(io.StringIO()):
            ingest("mnist", "auto", root / "data", tracker=Tracker())
            train_judge(
                root / "data",
                root / "judge",
                epochs=3,
                seed=0,
                samples=10_000,
                tracker=Tracker(),
            )
        print("| cell | seed | options | images/s | |\n|---|---|---|---|---|")
        for number, (family, latent_size, seed, options) in enumerate(VARIANTS):
            with contextlib.redirect_stdout(io.StringIO()):
                figures = measure(
                    root / str(number),
                    root / "data",
                    root / "judge",
                    family,
                    latent_size,
                    seed,
                    options,
                )
            rate = figures.pop("images_per_second")
            chosen = ", ".join(options) or "none"
            told = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
            print(
                f"| {family}-{latent_size} | {seed} | {chosen} | {rate:,.0f} | {told} |", flush=True
            )


if __name__ == "__main__":
    main()
