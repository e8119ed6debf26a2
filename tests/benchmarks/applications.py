"""What trained models are good for besides samples: denoising, inpainting, telling what is odd.

`python -m tests.benchmarks.applications RUN` reads the autoencoders and VAEs of a finished run
and prints the tables that docs/results.md holds. No model was trained for any of this, but with
``--hold-out``, which trains an autoencoder and a VAE without one digit: two minutes a digit.
``--invert`` also looks for the codes from which the DCGANs make test images, so that all three
families have a reconstruction error: minutes a cell.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genpipe.cells import Cell
from genpipe.data.dataset import RESCALINGS, SPLITS, Dataset, open_dataset, write_dataset
from genpipe.families.registry import all_families, find_family
from genpipe.metrics.reconstruction import pixel_components, squared_errors
from genpipe.principal_components import PrincipalComponents
from genpipe.tracking import Tracker
from genpipe.training.saved import SavedModel

IMAGES = 2000
NOISE = 0.3
PASSES = 20
INVERTED = 64
STARTS = 4
STEPS = 200
LEARNING_RATE = 0.05
HOLD_OUT_SIZE = 10
UNIT = RESCALINGS["unit"]

Rebuild = Callable[[np.ndarray], np.ndarray]


def rebuilder(saved: SavedModel) -> Rebuild:
    """Images to what an autoencoder or VAE makes of their codes, (n, 28, 28, 1) in [0, 1]."""

    def rebuild(images: np.ndarray) -> np.ndarray:
        encoded = saved.run("encoder", images)
        codes = encoded[0] if saved.cell.family.name == "vae" else encoded
        rebuilt: np.ndarray = saved.run("decoder", codes)
        return rebuilt

    return rebuild


def linear_rebuilder(components: PrincipalComponents, size: int) -> Rebuild:
    """The same of as many principal components."""
    mean, directions = components.mean, components.directions[:, :size]

    def rebuild(images: np.ndarray) -> np.ndarray:
        rows = images.reshape(len(images), -1)
        rebuilt = mean + (rows - mean) @ directions @ directions.T
        return rebuilt.reshape(images.shape).astype(np.float32)

    return rebuild


def add_noise(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Images in [0, 1] with Gaussian noise of deviation 0.3 on each pixel, cut off at 0 and 1."""
    noise = generator.standard_normal(images.shape, np.float32)
    return np.clip(images + NOISE * noise, 0, 1)


def inpaint(rebuild: Rebuild, images: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Fill in hidden pixels by what the model makes there, again and again.

    As Rezende et al. 2014 ("Stochastic backpropagation and approximate inference in deep generative
    models", appendix F) do, without the sampling of codes.

    Args:
        rebuild: the model.
        images: (n, 28, 28, 1) in [0, 1]; what is hidden is not read.
        hidden: (28, 28, 1) bool.
    """
    filled = np.where(hidden, 0, images).astype(np.float32)
    for _ in range(PASSES):
        filled = np.where(hidden, rebuild(filled), images).astype(np.float32)
    return filled


def auroc(usual: np.ndarray, odd: np.ndarray) -> float:
    """How often an odd image has the higher score than a usual one; a tie counts half.

    Args:
        usual: (n,) scores.
        odd: (m,) scores.
    """
    ordered = np.sort(usual)
    below = np.searchsorted(ordered, odd, "left") + np.searchsorted(ordered, odd, "right")
    return float(below.mean() / 2 / len(ordered))


def odd_images(images: np.ndarray) -> dict[str, np.ndarray]:
    """What a model of digits should find odd, made of digits: a right turn, swapped halves."""
    return {
        "turned": np.rot90(images, axes=(1, 2)).copy(),
        "halves swapped": np.roll(images, images.shape[1] // 2, axis=1),
    }


def without(data: Dataset, digit: int, folder: Path) -> Dataset:
    """Write the data set without the images of one digit into a folder."""
    arrays = {}
    for split in SPLITS:
        labels = np.asarray(data.labels(split))
        kept = labels != digit
        arrays[split] = np.asarray(data.images(split))[kept], labels[kept]
    return write_dataset(folder, arrays, name=data.name, class_names=data.class_names, facts={})


def held_out_auroc(data: Dataset, digit: int, family: str, **budget: Any) -> float:
    """How well a model that never saw a digit tells it from the others, all of the test split.

    Args:
        data: the data set.
        digit: which one is held out, of training and validation split.
        family: autoencoder or VAE, trained at latent size 10.
        budget: settings other than the default ones.
    """
    from components.train.train import train

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        without(data, digit, folder)
        with contextlib.redirect_stdout(io.StringIO()):
            spec = find_family(family)
            settings = spec.settings(latent_size=HOLD_OUT_SIZE, **budget)
            train(Cell(spec, settings.latent_size), settings, folder, folder / "model", Tracker())
        images = UNIT.apply(np.asarray(data.images("test")))
        rebuild = rebuilder(SavedModel(folder / "model"))
        errors = squared_errors(images, rebuild(images))
    odd = np.asarray(data.labels("test")) == digit
    return auroc(errors[~odd], errors[odd])


def invert(saved: SavedModel, images: np.ndarray, seed: int = 0) -> np.ndarray:
    """The least squared error, (n,), at which a generator makes each image.

    Descent in the code by Adam from four starts in N(0, I); the best is kept (as Lipton and
    Tripathi 2017, "Precise recovery of latent vectors from generative adversarial networks").

    Args:
        saved: a DCGAN.
        images: (n, 28, 28, 1) in [0, 1].
        seed: of the starts.
    """
    import keras
    import tensorflow as tf

    generator = saved.part("generator")
    start = np.random.default_rng(seed).standard_normal(
        (STARTS * len(images), saved.cell.latent_size), np.float32
    )
    codes = tf.Variable(start)
    wanted = tf.tile(tf.constant(images), (STARTS, 1, 1, 1))
    optimizer = keras.optimizers.Adam(LEARNING_RATE)
    optimizer.build([codes])

    @tf.function
    def descend() -> tf.Tensor:
        with tf.GradientTape() as tape:
            made = (generator(codes, training=False) + 1) / 2
            errors = tf.reduce_mean(tf.square(made - wanted), axis=(1, 2, 3))
            loss = tf.reduce_sum(errors)
        optimizer.apply(tape.gradient(loss, [codes]), [codes])
        return errors

    least = np.full(STARTS * len(images), np.inf)
    for _ in range(STEPS):
        least = np.minimum(least, descend().numpy())
    best: np.ndarray = least.reshape(STARTS, len(images)).min(axis=0)
    return best


def measure(rebuild: Rebuild, images: np.ndarray, others: dict[str, np.ndarray]) -> list[float]:
    """A row of the table: denoising, inpainting, and an AUROC for each kind of odd images."""
    hidden: np.ndarray = np.zeros(images.shape[1:], bool)
    hidden[hidden.shape[0] // 2 :] = True
    noisy = add_noise(images, np.random.default_rng(0))
    denoised = squared_errors(images, rebuild(noisy)).mean()
    lower = np.square(inpaint(rebuild, images, hidden) - images)[:, hidden].mean()
    usual = squared_errors(images, rebuild(images))
    detected = (auroc(usual, squared_errors(odd, rebuild(odd))) for odd in others.values())
    return [float(denoised), float(lower), *detected]


def main(
    run: Path,
    data: Dataset,
    fashion: np.ndarray | None,
    with_inversion: bool,
    held_out: Sequence[int],
) -> None:
    """Print the tables."""
    images = UNIT.apply(np.asarray(data.images("test")[:IMAGES]))
    others = odd_images(images)
    if fashion is not None:
        others["Fashion-MNIST"] = UNIT.apply(fashion[:IMAGES])
    models = [
        saved
        for folder in sorted(run.glob("train-*/model"))
        if (saved := SavedModel(folder)).complete
    ]
    models.sort(
        key=lambda saved: (list(all_families()).index(saved.family), saved.cell.latent_size)
    )
    components = pixel_components(data.images("train"))
    sizes = sorted({saved.cell.latent_size for saved in models})
    dense = [saved for saved in models if saved.cell.family.name != "dcgan"]
    rebuilders = {saved.cell.name: rebuilder(saved) for saved in dense}
    rebuilders |= {f"pca-{size}": linear_rebuilder(components, size) for size in sizes}

    noisy = add_noise(images, np.random.default_rng(0))
    mean = components.mean.reshape(images.shape[1:])
    half = images.shape[1] // 2
    untouched = squared_errors(images, noisy).mean()
    by_mean = np.square(images - mean)[:, half:].mean()
    print("| model | denoised MSE | lower half MSE |" + "".join(f" {n} AUROC |" for n in others))
    print("|---|---|---|" + "---|" * len(others))
    print(f"| nothing, or the mean image | {untouched:.4f} | {by_mean:.4f} |" + " |" * len(others))
    for name, rebuild in rebuilders.items():
        errors = measure(rebuild, images, others)
        cells = [f"{error:.4f}" for error in errors[:2]] + [f"{share:.3f}" for share in errors[2:]]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    if with_inversion:
        few = images[:INVERTED]
        print(f"\n| model | MSE of {INVERTED} test images | seconds |\n|---|---|---|")
        for name, rebuild in rebuilders.items():
            print(f"| {name} | {squared_errors(few, rebuild(few)).mean():.4f} | |", flush=True)
        for saved in models:
            if saved.cell.family.name == "dcgan":
                began = time.perf_counter()
                error = invert(saved, few).mean()
                seconds = time.perf_counter() - began
                print(f"| {saved.cell.name} | {error:.4f} | {seconds:.0f} |", flush=True)
    if held_out:
        families = ("autoencoder", "vae")
        titles = "".join(f" {find_family(family).label} {HOLD_OUT_SIZE} |" for family in families)
        print(f"\n| held-out digit |{titles}\n|---|" + "---|" * len(families))
        for digit in held_out:
            shares = [held_out_auroc(data, digit, family) for family in families]
            print(f"| {digit} |" + "".join(f" {share:.3f} |" for share in shares), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a finished run's folder")
    parser.add_argument("--data", type=Path, help="its data set (default: RUN/ingest/data)")
    parser.add_argument(
        "--fashion", type=Path, help="Fashion-MNIST: ingest's test_images.npy, or another such file"
    )
    parser.add_argument("--invert", action="store_true", help="invert the DCGANs too")
    parser.add_argument(
        "--hold-out", type=int, nargs="+", default=[], help="digits to train without, and tell"
    )
    options = parser.parse_args()
    main(
        options.run,
        open_dataset(options.data or options.run / "ingest" / "data"),
        np.load(options.fashion, allow_pickle=False) if options.fashion else None,
        options.invert,
        options.hold_out,
    )
