"""How a DCGAN's samples get better as it trains: `python -m tests.benchmarks.steps`.

Trains with several seeds on one split and one judge, and prints the Fréchet distance of 10,000
samples after so many steps, with the mean and the standard deviation over the seeds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
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
    model, images = build(FAMILY, settings), data.images("train")
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


def main() -> None:
    """Measure each seed in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latent-size", type=int, default=100)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
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
    print("| steps | Fréchet distance | standard deviation |\n|---|---|---|")
    for point, values in zip(sorted(asked.points), zip(*measured, strict=True), strict=True):
        spread = f"{statistics.stdev(values):.1f}" if len(values) > 1 else ""
        print(f"| {point:,} | {statistics.mean(values):.1f} | {spread} |")


if __name__ == "__main__":
    main()
