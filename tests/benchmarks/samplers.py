"""Where else codes could be drawn from: `python -m tests.benchmarks.samplers RUN [CELL ...]`.

Fits what literature proposes for the codes of trained models, draws 10,000 codes from each, and
prints the Fréchet distance of what is decoded from them, beside what the package draws from. Also
whether the codes are copies: of as many training and test codes, the share whose nearest is a
training one (0.5 without copying), and how many training codes a mixture's smallest component has.

- flow: RealNVP (Dinh et al. 2017, arXiv:1605.08803), eight affine couplings.
- two-stage: a second VAE of the codes (Dai and Wipf 2019, arXiv:1903.05789).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from genpipe.cells import read_cell
from genpipe.data.dataset import Dataset, open_dataset
from genpipe.metrics.frechet import Gaussian, judge_features
from genpipe.sampling import FITTED_CODES, FittedMixture, GaussianMixture, StandardNormal
from genpipe.training.saved import SavedModel

DRAWN = 10_000
EPOCHS = 30
MOST_SEEDS = 3
BATCH_SIZE = 512
Draw = Callable[[int], np.ndarray]


def minimise(
    loss: Callable[[tf.Tensor], tf.Tensor], weights: list[keras.Variable], points: np.ndarray
) -> None:
    """Adam from 0.001 down to nothing, over the points in a new order each epoch."""
    steps = len(points) // BATCH_SIZE
    decay = keras.optimizers.schedules.CosineDecay(1e-3, EPOCHS * steps)
    optimizer = keras.optimizers.Adam(decay, clipnorm=10.0)
    optimizer.build(weights)

    @tf.function(jit_compile=True)
    def step(batch: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            value = loss(batch)
        optimizer.apply(tape.gradient(value, [one.value for one in weights]), weights)

    generator = np.random.default_rng(0)
    for _ in range(EPOCHS):
        order = generator.permutation(len(points))[: steps * BATCH_SIZE]
        for places in order.reshape(steps, BATCH_SIZE):
            step(tf.constant(points[places]))


def dense(outputs: int, inputs: int, last: str = "zeros") -> keras.Model:
    """Two hidden layers of 256 units; the last begins with zeros."""
    layers = [keras.layers.Dense(256, "relu"), keras.layers.Dense(256, "relu")]
    last_layer = keras.layers.Dense(outputs, kernel_initializer=last)
    return keras.Sequential([keras.Input((inputs,)), *layers, last_layer])


def fit_flow(points: np.ndarray) -> Draw:
    """An affine coupling flow of (n, d) points; each layer moves half of the units."""
    size = points.shape[1]
    masks = [
        tf.constant((np.arange(size) + layer) % 2, tf.float32)
        if layer % 4 < 2
        else tf.constant((np.random.default_rng(layer).permutation(size) % 2), tf.float32)
        for layer in range(8)
    ]
    networks = [dense(2 * size, size) for _ in masks]

    def coupling(
        network: keras.Model, mask: tf.Tensor, x: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        shift, scale = tf.split(network(x * mask), 2, axis=1)
        return shift * (1 - mask), 2 * tf.tanh(scale) * (1 - mask)

    def loss(x: tf.Tensor) -> tf.Tensor:
        logarithm = tf.zeros(len(x))
        for network, mask in zip(networks, masks, strict=True):
            shift, scale = coupling(network, mask, x)
            x = x * tf.exp(scale) + shift
            logarithm += tf.reduce_sum(scale, axis=1)
        return tf.reduce_mean(tf.reduce_sum(tf.square(x), axis=1) / 2 - logarithm)

    minimise(loss, [w for network in networks for w in network.trainable_variables], points)

    def draw(count: int) -> np.ndarray:
        x = tf.constant(np.random.default_rng(1).standard_normal((count, size), np.float32))
        for network, mask in reversed(list(zip(networks, masks, strict=True))):
            shift, scale = coupling(network, mask, x)
            x = (x - shift) * tf.exp(-scale)
        return x.numpy()

    return draw


def fit_two_stage(points: np.ndarray) -> Draw:
    """A VAE of (n, d) points with as many units, and a variance that it learns."""
    size = points.shape[1]
    encoder, decoder = dense(2 * size, size, "glorot_uniform"), dense(size, size, "glorot_uniform")
    variance = keras.Variable(0.0, name="log_variance")
    noise = keras.random.SeedGenerator(0)

    def loss(x: tf.Tensor) -> tf.Tensor:
        mean, log_variance = tf.split(encoder(x), 2, axis=1)
        drawn = keras.random.normal(tf.shape(mean), seed=noise)
        rebuilt = decoder(mean + tf.exp(log_variance / 2) * drawn)
        error = tf.reduce_sum(tf.square(x - rebuilt), axis=1) / tf.exp(variance.value)
        divergence = tf.reduce_sum(
            tf.square(mean) + tf.exp(log_variance) - 1 - log_variance, axis=1
        )
        return tf.reduce_mean(error + size * variance.value + divergence) / 2

    weights = [*encoder.trainable_variables, *decoder.trainable_variables, variance]
    minimise(loss, weights, points)

    def draw(count: int) -> np.ndarray:
        generator = np.random.default_rng(1)
        codes = decoder(generator.standard_normal((count, size), np.float32)).numpy()
        spread = float(np.exp(variance.numpy() / 2))
        return codes + spread * generator.standard_normal(codes.shape, np.float32)

    return draw


def samplers(model: SavedModel, codes: np.ndarray) -> Iterator[tuple[str, Draw, str]]:
    """By name, with a note on each."""
    generator = np.random.default_rng(1)
    normal = StandardNormal(codes.shape[1])
    yield "N(0, I)", lambda count: normal.draw(count, generator), ""
    mean, scale = codes.mean(axis=0), codes.std(axis=0)
    scale[scale == 0] = 1
    points = ((codes - mean) / scale).astype(np.float32)

    def back(draw: Draw) -> Draw:
        return lambda count: (mean + scale * draw(count)).astype(np.float32)

    fitted = FittedMixture.fit(codes, np.random.default_rng(0))
    smallest = fitted.mixture.weights.min() * min(len(codes), FITTED_CODES)
    note = f"smallest of 50 has {smallest:,.0f} codes"
    yield "mixture of 50", lambda count: fitted.draw(count, generator), note
    for components in (200, 500):
        mixture = GaussianMixture.fit(points[:FITTED_CODES], components, np.random.default_rng(0))
        smallest = mixture.weights.min() * min(len(codes), FITTED_CODES)
        note = f"smallest has {smallest:,.1f} codes"
        draw = back(partial(mixture.draw, generator=generator))
        yield f"mixture of {components}", draw, note
    yield "flow", back(fit_flow(points)), ""
    yield "two-stage", back(fit_two_stage(points)), ""


def nearest_is_training(drawn: np.ndarray, training: np.ndarray, test: np.ndarray) -> float:
    """The share of codes whose nearest of as many training and test codes is a training one."""

    def nearest(real: np.ndarray) -> np.ndarray:
        squares = np.square(real).sum(axis=1)
        blocks = np.array_split(drawn, 20)
        found = [(squares - 2 * block @ real.T).min(axis=1) for block in blocks]
        return np.concatenate(found)

    count = min(len(training), len(test))
    return float((nearest(training[:count]) < nearest(test[:count])).mean())


def measure(run: Path, cell: str, data: Dataset, judge: SavedModel) -> None:
    """Print a row a sampler, with the spread over the seeds that the run has of the cell."""
    test = Gaussian.fit(judge_features(judge, data.images("test")))
    rows: dict[str, list[tuple[float, float, float, str]]] = {}
    plain, seeds = (sorted(run.glob(f"train-{cell}{kind}/model")) for kind in ("", "@*"))
    for folder in [*plain, *seeds][:MOST_SEEDS]:
        model = SavedModel(folder)
        codes, others = (model.encode(data.images(split)) for split in ("train", "test"))
        began = time.perf_counter()
        for name, draw, note in samplers(model, codes):
            drawn = draw(DRAWN)
            seconds = time.perf_counter() - began
            distance = test.distance(Gaussian.fit(judge_features(judge, model.decode(drawn))))
            row = distance, seconds, nearest_is_training(drawn, codes, others), note
            rows.setdefault(name, []).append(row)
            began = time.perf_counter()
    for name, found in rows.items():
        distances, times, shares, notes = zip(*found, strict=True)
        spread = f" ± {statistics.stdev(distances):.1f}" if len(distances) > 1 else ""
        told = f"{statistics.mean(distances):.1f}{spread} | {statistics.mean(times):.0f}"
        share = statistics.mean(shares)
        print(
            f"| {read_cell(cell)[0].title} | {name} | {told} | {share:.2f} | {notes[0]} |",
            flush=True,
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("cells", nargs="*", default=["vae-10", "autoencoder-10"])
    asked = parser.parse_args()
    data, judge = open_dataset(asked.run / "ingest/data"), SavedModel(asked.run / "judge/model")
    print("| model | codes from | Fréchet distance | seconds | nearest is training | |")
    print("|---|---|---|---|---|---|")
    for cell in asked.cells:
        measure(asked.run, cell, data, judge)


if __name__ == "__main__":
    main()
