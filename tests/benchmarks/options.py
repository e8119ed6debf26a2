"""What the options of the training do to its speed and to what comes out of it.

`python -m tests.benchmarks.options` trains each variant with its full budget (half an hour on 2
cores, so `make bench` leaves it out), and prints the table that tests/benchmarks/README.md holds.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.evaluate.evaluate import evaluate
from components.ingest.ingest import ingest
from components.sample.sample import sample
from components.train.step import give_each_operation_a_thread
from genpipe.cells import Cell
from genpipe.families.registry import find_family
from genpipe.tracking import Tracker

SAMPLES = 10_000
BFLOAT16 = {"precision": "bfloat16"}
# Family, latent size, seed, options.
VARIANTS: list[tuple[str, int, int, dict[str, Any]]] = [
    *(("autoencoder", 100, 0, options) for options in ({}, BFLOAT16)),
    *(("vae", 10, 0, options) for options in ({}, BFLOAT16)),
    *(("dcgan", 100, seed, options) for seed in (0, 1) for options in ({}, BFLOAT16)),
]
FIGURES = {
    "autoencoder": ("mean_squared_error",),
    "vae": ("total_loss",),
    "dcgan": ("classes_covered", "largest_class_share", "frechet_distance"),
}


def prepare(root: Path) -> None:
    """The data set and the judge of all variants, as the pipeline's steps make them."""
    give_each_operation_a_thread()
    from genpipe.metrics.classifier import train_judge

    ingest("mnist", "auto", root / "data", tracker=Tracker())
    train_judge(root / "data", root / "judge", epochs=3, seed=0, samples=SAMPLES, tracker=Tracker())


def measure(root: Path, family: str, latent_size: int, seed: int, options: Any) -> dict[str, float]:
    """Train, evaluate and sample one variant; returns its rate and its figures."""
    if family == "dcgan":
        give_each_operation_a_thread()
    from components.train.train import train

    tracker, data = Tracker(), root / "data"
    spec = find_family(family)
    settings = spec.settings(latent_size=latent_size, seed=seed, **options)
    with tempfile.TemporaryDirectory() as name:
        model, made = Path(name, "model"), Path(name, "made")
        metadata = train(Cell(spec, latent_size), settings, data, model, tracker)
        scores = (
            sample(data, root / "judge", model, made, samples=SAMPLES, seed=0, tracker=tracker)
            if family == "dcgan"
            else evaluate(data, model, made, seed=0, tracker=tracker)
        )
    figures = {name: scores["metrics"][name] for name in FIGURES[family]}
    return {"images_per_second": metadata["training"]["images_per_second"], **figures}


def quietly(work: Callable[..., Any], *arguments: Any) -> Any:
    """Without what the steps say of themselves."""
    with contextlib.redirect_stdout(io.StringIO()):
        return work(*arguments)


def main() -> None:
    """Train every variant, each in a process of its own as a step is, and print a row for each."""
    spawn = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as name,
        spawn.Pool(1, maxtasksperchild=1) as process,
    ):
        root = Path(name)
        process.apply(quietly, (prepare, root))
        print("| cell | seed | options | images/s | |\n|---|---|---|---|---|")
        for family, latent_size, seed, options in VARIANTS:
            figures = process.apply(quietly, (measure, root, family, latent_size, seed, options))
            rate = figures.pop("images_per_second")
            chosen = ", ".join(
                name if value is True else f"{name} {value}" for name, value in options.items()
            )
            told = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
            print(
                f"| {family}-{latent_size} | {seed} | {chosen or 'none'} | {rate:,.0f} | {told} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
