"""Our training loops against plain Keras ones, side by side in one process (`make bench`).

For the autoencoder and the VAE: ``keras.Model.fit`` on the same model and the same rescaled
images. For the DCGAN: Keras-GAN's own way, ``train_on_batch`` of the discriminator on real, of the
discriminator on generated, and of the two in a row. Runs are interleaved, so that a change of the
machine's speed meets both; medians and ratios are printed, and written as JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from components.cells import Family
from components.ingest.dataset import RESCALINGS
from components.ingest.ingest import ingest
from components.tracking import Tracker
from components.train.dcgan import build_discriminator
from components.train.loop import Batches, TrainingLoop
from components.train.settings import SETTINGS, Settings
from components.train.train import LOSS_LIMITS, build

ROUNDS = 5
DENSE_IMAGES, DCGAN_STEPS = 27_500, 24


def our_loop(settings: Settings, images: np.ndarray, steps: int) -> Callable[[], None]:
    """The package's loop, compiled beforehand."""
    dense = settings.family is not Family.DCGAN
    loop = TrainingLoop(
        build(settings),
        images,
        rescaling=RESCALINGS["unit" if dense else "symmetric"],
        batches=Batches(len(images), settings.batch_size, settings.seed),
        jit_compile=dense,
        loss_limit=LOSS_LIMITS[settings.family],
    )

    def train() -> None:
        for _ in loop.run(loop.step + steps):
            pass

    train()
    return train


def keras_fit(settings: Settings, images: np.ndarray) -> Callable[[], None]:
    """``fit`` with a custom ``train_step``, as the Keras examples are written."""
    model = build(settings)
    rescaled = RESCALINGS["unit"].apply(images)

    def train() -> None:
        model.fit(rescaled, batch_size=settings.batch_size, epochs=1, verbose=0)

    train()
    return train


def keras_gan(settings: Settings, images: np.ndarray, steps: int) -> Callable[[], None]:
    """Keras-GAN's loop: three calls of ``train_on_batch`` a step, upsampling and convolving."""
    layers = keras.layers
    noise_in = keras.Input((settings.latent_size,))
    x = layers.Reshape((7, 7, 128))(layers.Dense(128 * 7 * 7, activation="relu")(noise_in))
    x = layers.BatchNormalization(momentum=0.8)(x)
    for filters in (128, 64):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(layers.UpSampling2D()(x))
        x = layers.BatchNormalization(momentum=0.8)(x)
    generator = keras.Model(noise_in, layers.Conv2D(1, 3, padding="same", activation="tanh")(x))
    discriminator = build_discriminator(settings.seed)

    def adam() -> keras.optimizers.Adam:
        return keras.optimizers.Adam(settings.learning_rate, beta_1=0.5)

    discriminator.compile(adam(), "binary_crossentropy", metrics=["accuracy"])
    # A copy with weights of its own: the same work, and Keras won't share a frozen one.
    frozen = keras.models.clone_model(discriminator)
    frozen.trainable = False
    combined = keras.Model(noise_in, frozen(generator(noise_in)))
    combined.compile(adam(), "binary_crossentropy")
    batch, draw = settings.batch_size, np.random.default_rng(0)
    ones, zeros = np.ones((batch, 1)), np.zeros((batch, 1))
    rescaled = RESCALINGS["symmetric"].apply(images)

    def train() -> None:
        for _ in range(steps):
            real = rescaled[draw.integers(0, len(rescaled), batch)]
            noise = draw.standard_normal((batch, settings.latent_size), np.float32)
            generated = generator.predict_on_batch(noise)
            discriminator.train_on_batch(real, ones)
            discriminator.train_on_batch(generated, zeros)
            combined.train_on_batch(noise, ones)

    train()
    return train


def seconds(train: Callable[[], None]) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    train()
    return time.perf_counter() - began


def main(output: Path) -> None:
    """Measure, print the table and write the JSON file."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = ingest("mnist", "auto", Path(folder) / "data", tracker=Tracker())
        images = np.asarray(dataset.images("train"))[:DENSE_IMAGES]
    results = []
    for family, batch_size in (
        *((Family.AUTOENCODER, size) for size in (32, 128)),
        *((Family.VAE, size) for size in (32, 128)),
        (Family.DCGAN, 32),
    ):
        keras.utils.set_random_seed(0)
        settings = SETTINGS[family](latent_size=10, batch_size=batch_size)
        steps = DCGAN_STEPS if family is Family.DCGAN else len(images) // batch_size
        plain = (
            keras_gan(settings, images, steps)
            if family is Family.DCGAN
            else keras_fit(settings, images)
        )
        ours = our_loop(settings, images, steps)
        rounds = [(seconds(plain), seconds(ours)) for _ in range(ROUNDS)]
        count = steps * batch_size
        rate_plain = count / statistics.median(slow for slow, _ in rounds)
        rate_ours = count / statistics.median(fast for _, fast in rounds)
        ratio = statistics.median(slow / fast for slow, fast in rounds)
        results.append(
            {
                "family": family.value,
                "batch_size": batch_size,
                "ratio": round(ratio, 2),
                "keras_images_per_second": round(rate_plain),
                "our_images_per_second": round(rate_ours),
            }
        )
        print(
            f"{family.label:<12} batch {batch_size:<4} {ratio:5.1f} times   "
            f"(Keras {rate_plain:,.0f} images/s, ours {rate_ours:,.0f})",
            flush=True,
        )
    output.write_text(json.dumps(results, indent=2) + "\n")
    print(f"wrote {output}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("benchmark.json"))
