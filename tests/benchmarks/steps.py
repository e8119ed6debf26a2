"""How a DCGAN's samples get better as it trains: `python -m tests.benchmarks.steps`.

Trains with several seeds on one split and one judge, and prints the Fréchet distance of 10,000
samples after so many steps, with the mean and the standard deviation over the seeds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from components.train.step import give_each_operation_a_thread
from tests.benchmarks.options import SAMPLES, prepare, quietly


def distances(root: Path, latent_size: int, seed: int, points: list[int]) -> list[float]:
    """Train once, and measure at each of the points."""
    give_each_operation_a_thread()
    from components.train.train import build
    from genpipe.data.dataset import RESCALINGS, open_dataset
    from genpipe.families.dcgan.spec import FAMILY
    from genpipe.metrics.frechet import Gaussian, judge_features
    from genpipe.training.loop import Batches, TrainingLoop
    from genpipe.training.saved import SavedModel

    data, judge = open_dataset(root / "data"), SavedModel(root / "judge")
    test = Gaussian.fit(judge_features(judge, data.images("test")))
    settings = FAMILY.settings(latent_size=latent_size, seed=seed)
    model, images = build(FAMILY, settings, data.image_shape), data.images("train")
    symmetric = RESCALINGS["symmetric"]
    loop = TrainingLoop(
        model,
        images,
        rescaling=symmetric,
        batches=Batches(len(images), settings.batch_size, seed),
        jit_compile=False,
        loss_limit=FAMILY.loss_limit(settings),
    )
    noise = np.random.default_rng(0).standard_normal((SAMPLES, latent_size), np.float32)
    measured = []
    for point in points:
        for _ in loop.run(point):
            pass
        drawn = symmetric.inverse(model.predict(noise, batch_size=1000, verbose=0))
        measured.append(test.distance(Gaussian.fit(judge_features(judge, drawn))))
    return measured


def draw(lines: Sequence[tuple[str, Sequence[tuple[int, float, float]]]], path: Path) -> None:
    """Draw (steps, mean, standard deviation) of each labelled line, both axes logarithmic."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
    for label, rows in lines:
        steps, means, deviations = zip(*rows, strict=True)
        axes.errorbar(steps, means, deviations, fmt="o-", markersize=4, capsize=3, label=label)
    axes.set(xscale="log", yscale="log", xlabel="steps of 32 images", ylabel="Fréchet distance")
    for axis, ticks in (
        (axes.xaxis, sorted({row[0] for _, rows in lines for row in rows})),
        (axes.yaxis, [4, 8, 16, 32, 64, 128]),
    ):
        axis.set_ticks(ticks, [f"{tick:,}" for tick in ticks], fontsize=8)
    axes.tick_params(axis="x", rotation=40)
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure each seed in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latent-size", type=int, default=100)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--picture", type=Path, help="file for a drawing of it")
    parser.add_argument("--points", type=int, nargs="+", default=[500, 1100, 2000, 4000])
    asked = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name, spawn.Pool(1, maxtasksperchild=1) as process:
        root = Path(name)
        process.apply(quietly, (prepare, root))
        measured = []
        for seed in asked.seeds:
            arguments = (root, asked.latent_size, seed, sorted(asked.points))
            measured.append(process.apply(distances, arguments))
            print(f"seed {seed}: {', '.join(f'{one:.1f}' for one in measured[-1])}", flush=True)
    rows = [
        (point, statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0)
        for point, values in zip(sorted(asked.points), zip(*measured, strict=True), strict=True)
    ]
    if asked.picture:
        seeds = ", ".join(map(str, asked.seeds))
        draw([(f"latent size {asked.latent_size}, seeds {seeds}", rows)], asked.picture)
    print("| steps | Fréchet distance | standard deviation |\n|---|---|---|")
    for point, mean, deviation in rows:
        print(f"| {point:,} | {mean:.1f} | {f'{deviation:.1f}' if deviation else ''} |")


if __name__ == "__main__":
    main()
