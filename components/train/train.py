"""Train one cell: settings and data in, a model folder and a logged history out."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from components.cells import Family, Status
from components.errors import InputError
from components.ingest.dataset import RESCALINGS, Dataset, open_dataset
from components.pictures import grid
from components.tracking import Picture, Tracker
from components.train import saved
from components.train.autoencoder import Autoencoder
from components.train.dcgan import DCGAN
from components.train.layers import seed_kernels
from components.train.loop import Batches, TrainingLoop
from components.train.settings import AutoencoderSettings, DCGANSettings, Settings, VAESettings
from components.train.vae import VAE

PICTURES = 10
SAMPLES_SHOWN = 32
STEPS_IN_A_LOG = 50
LAST_DECAY = 0.05
BFLOAT16_CAPABILITY = (8, 0)  # CUDA compute capability of NVIDIA's Ampere generation
# Losses of a healthy run stay far below: mean squared errors of [0, 1] pixels under 1, a VAE's
# total under 784 * (1 + beta), two binary cross-entropies (Keras clips each at 16) under 33.
LOSS_LIMITS = {Family.AUTOENCODER: 1.0, Family.VAE: 1e5, Family.DCGAN: 33.0}


def train(settings: Settings, data: Path, folder: Path, tracker: Tracker) -> dict[str, Any]:
    """Train one model and save it.

    Args:
        settings: of the family to train.
        data: the data-set folder.
        folder: where the model folder is made.
        tracker: what the history, the pictures and the progress go to.

    Returns:
        The contents of ``model.json``. ``status`` is ``diverged``, with a ``reason`` and no
        networks, when the loss became NaN or exploded: that is a result, not an error.

    Raises:
        InputError: the data set is not whole.
    """
    prepare_devices()
    dataset = open_dataset(data)
    if settings.batch_size > len(dataset.images("train")):
        raise InputError(
            f"batch_size {settings.batch_size} is larger than the training split "
            f"({len(dataset.images('train'))} images)"
        )
    training = Training(settings, dataset, tracker)
    networks = training.run()
    diverged = training.loop.divergence
    card = {
        "latent_size": settings.latent_size,
        "seed": settings.seed,
        "data": {"name": dataset.name, "digest": dataset.digest},
        "settings": settings.to_dict(),
        "training": training.facts(),
        "environment": {
            "tensorflow": tf.__version__,
            "keras": keras.version(),
            "precision": training.model.compute_dtype,
        },
    }
    if diverged:
        card["reason"] = diverged.reason
        tracker.note(f"diverged: {diverged.reason}; the cell ends here, as a result")
    return saved.save(
        folder,
        family=settings.family.value,
        status=Status.DIVERGED if diverged else Status.COMPLETE,
        networks={} if diverged else networks,
        history=training.history,
        card=card,
    )


def prepare_devices() -> None:
    """Let cells share a GPU: take its memory as it is needed, not all at once."""
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)


class Training:
    """One run of the training loop with its logging; ``run`` may be called once."""

    def __init__(self, settings: Settings, dataset: Dataset, tracker: Tracker) -> None:
        self.settings = settings
        self.dataset = dataset
        self.tracker = tracker
        self.history: list[dict[str, float]] = []
        self.train_seconds = 0.0
        self.revived_units = 0
        self.model = build(settings)
        images = dataset.images("train")
        self.batches = Batches(len(images), settings.batch_size, settings.seed)
        dense = settings.family is not Family.DCGAN
        self.rescaling = RESCALINGS["unit" if dense else "symmetric"]
        self.loop = TrainingLoop(
            self.model,
            images,
            rescaling=self.rescaling,
            batches=self.batches,
            # Measured on CPUs: XLA makes the dense models 2 times faster, the DCGAN slower.
            jit_compile=dense or bool(tf.config.list_physical_devices("GPU")),
            loss_limit=LOSS_LIMITS[settings.family],
        )

    def run(self) -> dict[str, keras.Model]:
        """Train to the end or to divergence; returns the networks to save."""
        self.tracker.restart_clock()
        if isinstance(self.settings, DCGANSettings):
            self._run_steps(self.settings)
        else:
            self._run_epochs(self.settings.epochs)  # type: ignore[attr-defined]
        return self._networks()

    def _networks(self) -> dict[str, keras.Model]:
        """What is saved: in float32, whatever it was trained in, so that any machine can run it."""
        plain = self.model
        if plain.compute_dtype != "float32":
            plain = build(replace(self.settings, precision="float32"))
            for name, network in self.model.parts.items():
                plain.parts[name].set_weights(network.get_weights())
        parts: dict[str, keras.Model] = plain.parts
        return parts

    def facts(self) -> dict[str, Any]:
        """What the training cost: the ``training`` part of ``model.json``."""
        images = self.loop.step * self.batches.batch_size
        facts: dict[str, Any] = {
            "steps": self.loop.step,
            "epochs": self.loop.step / self.batches.steps_per_epoch,
            "images_seen": images,
            "train_seconds": self.train_seconds,
            "images_per_second": images / max(self.train_seconds, 1e-9),
        }
        if isinstance(self.settings, AutoencoderSettings):
            facts["revived_units"] = self.revived_units
        return facts

    def _run_epochs(self, epochs: int) -> None:
        """Autoencoder and VAE: losses on both splits and fixed reconstructions, every epoch."""
        shown = np.asarray(self.dataset.images("test")[:PICTURES])
        total = epochs * self.batches.steps_per_epoch
        for epoch in range(1, epochs + 1):
            self.model.optimizer.learning_rate = self.settings.learning_rate * decay(epoch, epochs)
            seconds = -self.train_seconds
            losses = self._train_until(epoch * self.batches.steps_per_epoch, total)
            seconds += self.train_seconds
            if self.loop.divergence:
                return
            if isinstance(self.model, Autoencoder) and epoch < epochs:
                self._revive(epoch)
            validation = self.loop.test(self.dataset.images("validation"))
            if not math.isfinite(validation["loss"]):
                self.loop.diverge(validation["loss"])
                return
            images = self.batches.steps_per_epoch * self.batches.batch_size
            row = {
                "epoch": epoch,
                **losses,
                **{f"validation_{name}": value for name, value in validation.items()},
                "images_per_second": images / seconds,
            }
            self.history.append(row)
            rebuilt = self.rescaling.inverse(self.model(self.rescaling.apply(shown)).numpy())
            pair = grid(np.concatenate([shown, rebuilt]), PICTURES)
            self.tracker.log({**row, "reconstructions": Picture(pair, f"epoch {epoch}")})

    def _run_steps(self, settings: DCGANSettings) -> None:
        """DCGAN: losses every few steps, samples from fixed noise every ``gen_interval`` steps."""
        noise = np.random.default_rng(settings.seed).standard_normal(
            (SAMPLES_SHOWN, settings.latent_size), np.float32
        )
        interval = settings.gen_interval
        marks = {*range(STEPS_IN_A_LOG, settings.steps, STEPS_IN_A_LOG), settings.steps}
        marks |= set(range(interval, settings.steps, interval))
        before = 0
        for mark in sorted(marks):
            seconds = -self.train_seconds
            losses = self._train_until(mark, settings.steps)
            seconds += self.train_seconds
            if self.loop.divergence:
                return
            rate = (mark - before) * self.batches.batch_size / seconds
            before = mark
            row = {"step": mark, **losses, "images_per_second": rate}
            self.history.append(row)
            if mark % interval == 0 or mark == settings.steps:
                images = self.rescaling.inverse(self.model(noise).numpy())
                self.tracker.log({**row, "samples": Picture(grid(images, 8), f"step {mark}")})
            else:
                self.tracker.log(row)

    def _train_until(self, step: int, total: int) -> dict[str, float]:
        """Train up to ``step``; returns the mean figures over the steps made."""
        sums: dict[str, float] = {}
        first = self.loop.step
        done, began = first, time.perf_counter()
        for means in self.loop.run(step):
            made = self.loop.step - done
            done = self.loop.step
            for name, mean in means.items():
                sums[name] = sums.get(name, 0.0) + mean * made
            batch_size = self.batches.batch_size
            self.tracker.progress(done * batch_size, total * batch_size, **means)
        self.train_seconds += time.perf_counter() - began
        return {name: value / (done - first) for name, value in sums.items()}

    def _revive(self, epoch: int) -> None:
        images = self.rescaling.apply(self.dataset.images("validation"))
        revived = self.model.revive_dead_units(tf.constant(images), self.settings.seed + epoch)
        if revived:
            self.revived_units += revived
            self.tracker.say(
                f"epoch {epoch}: {revived} of {self.settings.latent_size} code units were 0 for "
                "every validation image; they were given new weights"
            )


def decay(epoch: int, epochs: int) -> float:
    """Share of the learning rate that epoch ``epoch`` (from 1) trains with.

    Half a cosine from 1 to ``LAST_DECAY``.
    """
    fallen = (1 - math.cos(math.pi * (epoch - 1) / max(1, epochs - 1))) / 2
    return 1 - (1 - LAST_DECAY) * fallen


def build(settings: Settings) -> keras.Model:
    """Make the untrained model that ``settings`` describe; its weights are float32."""
    default = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype_policy(settings.precision))
    try:
        model = _build(settings)
    finally:
        keras.config.set_dtype_policy(default)
    seed_kernels(model, settings.seed)
    return model


def _build(settings: Settings) -> keras.Model:
    if isinstance(settings, AutoencoderSettings):
        model: keras.Model = Autoencoder(settings)
        model.optimizer.build(model.trainable_variables)
    elif isinstance(settings, VAESettings):
        model = VAE(settings)
        model.optimizer.build(model.trainable_variables)
    elif isinstance(settings, DCGANSettings):
        model = DCGAN(settings)
        model.build_optimizers()
    else:
        raise TypeError(f"no model for {type(settings).__name__}")
    return model


def dtype_policy(precision: str) -> str:
    """Keras's name of a precision. ``auto`` is bfloat16 if every GPU here computes in it."""
    if precision == "auto":
        details = tf.config.experimental.get_device_details
        generations = [
            details(gpu).get("compute_capability", (0, 0))
            for gpu in tf.config.list_physical_devices("GPU")
        ]
        fast = generations and min(generations) >= BFLOAT16_CAPABILITY
        precision = "bfloat16" if fast else "float32"
    return "mixed_bfloat16" if precision == "bfloat16" else "float32"
