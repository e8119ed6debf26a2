"""Train one cell: settings and data in, a model folder and a logged history out."""

from __future__ import annotations

import importlib.metadata
import math
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from genpipe.cells import Cell, Status
from genpipe.data.dataset import RESCALINGS, Dataset, open_dataset
from genpipe.errors import InputError
from genpipe.families.layers import seed_kernels
from genpipe.families.spec import FamilySpec, ImageShape, Settings
from genpipe.reporting.images import grid
from genpipe.surroundings import variables_of_results
from genpipe.tracking import Picture, Tracker
from genpipe.training import saved
from genpipe.training.checkpoints import Checkpoint, Checkpoints, Identity, Row
from genpipe.training.devices import prepare_devices
from genpipe.training.loop import Batches, Tally, TrainingLoop
from genpipe.words import counted

PICTURES = 10
SAMPLES_SHOWN = 32
STEPS_IN_A_LOG = 50
FEW_STEPS = 500
PICTURES_KEPT = 200  # of the history in a checkpoint: 3 to 5 MB
LAST_DECAY = 0.05
BFLOAT16_CAPABILITY = (8, 0)  # CUDA compute capability of NVIDIA's Ampere generation


def train(
    cell: Cell,
    settings: Settings,
    data: Path,
    folder: Path,
    tracker: Tracker,
    checkpoints: Checkpoints | None = None,
) -> dict[str, Any]:
    """Train one model and save it, from the last checkpoint on if there is one.

    On a CPU a training that was cut off any number of times ends with the bits of one that was
    not; timings aside, its history and its metrics are the same too.

    Args:
        cell: to train.
        settings: of its family, with its latent size.
        data: the data-set folder.
        folder: where the model folder is made.
        tracker: what the history, the pictures and the progress go to. Of a training that goes
            on it gets the history from its beginning.
        checkpoints: where they go; none are written if left out.

    Returns:
        The contents of ``model.json``. ``status`` is ``diverged``, with a ``reason`` and no
        networks, when the loss became NaN or exploded: that is a result, not an error.

    Raises:
        InputError: the data set is not whole.
        StepError: the checkpoints can't be read, or the model can't be written.
    """
    prepare_devices()
    dataset = open_dataset(data)
    if settings.batch_size > len(dataset.images("train")):
        raise InputError(
            f"batch_size {settings.batch_size} is larger than the training split "
            f"({counted(len(dataset.images('train')), 'image')})"
        )
    training = Training(cell.family, settings, dataset, tracker, checkpoints)
    networks = training.run()
    diverged = training.loop.divergence
    metadata = {
        **cell.identity,
        "seed": settings.seed,
        "data": {"name": dataset.name, "digest": dataset.digest},
        "settings": settings.to_dict(),
        "training": training.facts(),
        "environment": {
            "tensorflow": tf.__version__,
            "keras": keras.version(),
            "precision": training.model.compute_dtype,
            "variables": variables_of_results(),
        },
    }
    if diverged:
        metadata["reason"] = diverged.reason
        tracker.note(f"diverged: {diverged.reason}; the cell ends here, as a result")
    contents = saved.save(
        folder,
        family=cell.family.name,
        status=Status.DIVERGED if diverged else Status.COMPLETE,
        networks={} if diverged else networks,
        history=[numbers(row) for row in training.rows],
        metadata=metadata,
    )
    if checkpoints:
        checkpoints.remove()
    return contents


class Training:
    """One run of the training loop with its logging; ``run`` may be called once.

    Attributes:
        rows: the history, as it was logged.
        revived_units: of a code whose model revives dead ones.
    """

    def __init__(
        self,
        family: FamilySpec,
        settings: Settings,
        dataset: Dataset,
        tracker: Tracker,
        checkpoints: Checkpoints | None,
    ) -> None:
        self.family = family
        self.settings = settings
        self.dataset = dataset
        self.tracker = tracker
        self.checkpoints = checkpoints
        self.rows: list[Row] = []
        self.revived_units = 0
        self.shown = False
        self.model = build(family, settings, dataset.image_shape)
        images = dataset.images("train")
        self.batches = Batches(len(images), settings.batch_size, settings.seed)
        self.rescaling = RESCALINGS[family.rescaling]
        self.loop = TrainingLoop(
            self.model,
            images,
            rescaling=self.rescaling,
            batches=self.batches,
            jit_compile=family.compiled_on_cpus or bool(tf.config.list_physical_devices("GPU")),
            loss_limit=family.loss_limit(settings),
        )

    def run(self) -> dict[str, keras.Model]:
        """Train to the end or to divergence; returns the networks to save."""
        by_epochs = self.family.budget == "epochs"
        losses = {"loss": "min", "validation_loss": "min"} if by_epochs else {}
        self.tracker.axis(self.family.axis, losses)
        checkpoint = self.checkpoints and self.checkpoints.newest(self.identity)
        if checkpoint:
            self._go_on_from(checkpoint)
        self.tracker.restart_clock(self.loop.step * self.batches.batch_size)
        budget = getattr(self.settings, self.family.budget)
        if by_epochs:
            self._run_epochs(budget)
        else:
            self._run_steps(budget)
        return self._networks()

    @property
    def revives(self) -> bool:
        """Whether the model revives units of its code that died."""
        return hasattr(self.model, "revive_dead_units")

    @cached_property
    def learning_rate_scale(self) -> float:
        """What the learning rate is multiplied by, where the model says so of such images."""
        scale = getattr(self.model, "learning_rate_scale", None)
        if scale is None:
            return 1.0
        brightness = self.dataset.info["statistics"]["train"]["brightness"]
        return float(scale(brightness * math.prod(self.dataset.image_shape)))

    @cached_property
    def identity(self) -> Identity:
        """What the bits of the training depend on."""
        return {
            **self.settings.to_dict(),
            **variables_of_results(),
            "family": self.family.name,
            "data digest": self.dataset.digest,
            "precision": self.model.compute_dtype,
            "genpipe version": importlib.metadata.version("genpipe"),
            "TensorFlow version": tf.__version__,
            "Keras version": keras.version(),
        }

    def _variables(self) -> list[Any]:
        """All that training changes, in an order that the settings fix."""
        return [
            *self.model.variables,
            *(one for optimizer in self.model.optimizers for one in optimizer.variables),
        ]

    def checkpoint(self) -> Checkpoint:
        """All that the training needs to go on from here with the same bits."""
        return Checkpoint(
            step=self.loop.step,
            rows=self.rows,
            facts={
                "tally": asdict(self.loop.tally),
                "train_seconds": self.loop.seconds,
                "revived_units": self.revived_units,
            },
            variables=[np.asarray(variable) for variable in self._variables()],
        )

    def _go_on_from(self, checkpoint: Checkpoint) -> None:
        for variable, value in zip(self._variables(), checkpoint.variables, strict=True):
            variable.assign(value)
        self.loop.step = checkpoint.step
        self.loop.tally = Tally(**checkpoint.facts["tally"])
        self.loop.seconds = checkpoint.facts["train_seconds"]
        self.revived_units = checkpoint.facts["revived_units"]
        self.tracker.note(f"goes on from the checkpoint of step {checkpoint.step}")
        for row in checkpoint.rows:
            self.log(row)

    def _networks(self) -> dict[str, keras.Model]:
        """What is saved: in float32, whatever it was trained in, so that any machine can run it."""
        plain = self.model
        if plain.compute_dtype != "float32":
            exact = replace(self.settings, precision="float32")
            plain = build(self.family, exact, self.dataset.image_shape)
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
            "train_seconds": self.loop.seconds,
            "images_per_second": images / max(self.loop.seconds, 1e-9),
        }
        if self.learning_rate_scale != 1:
            facts["learning_rate_scale"] = self.learning_rate_scale
        if self.revives:
            facts["revived_units"] = self.revived_units
        return facts

    def _run_epochs(self, epochs: int) -> None:
        """Losses on both splits and a picture, every epoch."""
        total = epochs * self.batches.steps_per_epoch
        if total < FEW_STEPS:
            enough = -(-FEW_STEPS // self.batches.steps_per_epoch)
            self.tracker.note(
                f"{counted(total, 'step')} are few: the data set has {self.batches.images:,} "
                f"training images, so give --param {self.family.name}.epochs={enough} or more"
            )
        for epoch in range(len(self.rows) + 1, epochs + 1):
            highest = self.settings.learning_rate * self.learning_rate_scale
            self.model.optimizer.learning_rate = highest * decay(epoch, epochs)
            self._train_until(epoch * self.batches.steps_per_epoch, total)
            if self.loop.divergence:
                return
            if self.revives and epoch < epochs:
                self._revive(epoch)
            validation = self.loop.test(self.dataset.images("validation"))
            if not math.isfinite(validation["loss"]):
                self.loop.diverge(validation["loss"])
                return
            means, rate = self._take_tally()
            self.log(
                {
                    "epoch": epoch,
                    **means,
                    **{f"validation_{name}": value for name, value in validation.items()},
                    "images_per_second": rate,
                    **self._picture(f"epoch {epoch}"),
                }
            )

    def _run_steps(self, steps: int) -> None:
        """Losses every few steps, a picture every ``gen_interval`` steps."""
        interval = getattr(self.settings, "gen_interval", steps)
        marks = {*range(STEPS_IN_A_LOG, steps, STEPS_IN_A_LOG), steps}
        marks |= set(range(interval, steps, interval))
        for mark in sorted(marks)[len(self.rows) :]:
            self._train_until(mark, steps)
            if self.loop.divergence:
                return
            means, rate = self._take_tally()
            row: Row = {"step": mark, **means, "images_per_second": rate}
            if mark % interval == 0 or mark == steps:
                row = {**row, **self._picture(f"step {mark}")}
            self.log(row)

    def _picture(self, when: str) -> dict[str, Picture]:
        """Reconstructions of fixed images; of a model without an encoder samples of fixed noise."""
        if self.family.encoder:
            name, columns = "reconstructions", PICTURES
            shown = np.asarray(self.dataset.images("test")[:PICTURES])
            rebuilt = self.rescaling.inverse(self.model(self.rescaling.apply(shown)).numpy())
            images = {"test images": shown, f"reconstructions, {when}": rebuilt}
        else:
            name, columns = "samples", 8
            noise = np.random.default_rng(self.settings.seed).standard_normal(
                (SAMPLES_SHOWN, self.settings.latent_size), np.float32
            )
            images = {f"samples, {when}": self.rescaling.inverse(self.model(noise).numpy())}
        if not self.shown:
            self.tracker.show({told: rows[:PICTURES] for told, rows in images.items()})
            self.shown = True
        return {name: Picture(grid(np.concatenate([*images.values()]), columns), when)}

    def _train_until(self, step: int, total: int) -> None:
        """Train up to ``step``; between two calls there may be a checkpoint."""
        batch_size = self.batches.batch_size
        for means in self.loop.run(step):
            self.tracker.progress(self.loop.step * batch_size, total * batch_size, **means)
            if self.checkpoints:
                self.checkpoints.offer(self.identity, self.checkpoint)

    def _take_tally(self) -> tuple[dict[str, float], float]:
        """The mean metrics since the last row of the history, and images a second."""
        tally = self.loop.tally
        self.loop.start_tally()
        return tally.means(), tally.steps * self.batches.batch_size / tally.seconds

    def log(self, row: Row) -> None:
        """Add a row to the history and log it; only the newest rows keep their pictures."""
        self.rows.append(row)
        if len(self.rows) > PICTURES_KEPT:
            self.rows[-PICTURES_KEPT - 1] = numbers(self.rows[-PICTURES_KEPT - 1])
        self.tracker.log(row)

    def _revive(self, epoch: int) -> None:
        images = self.rescaling.apply(self.dataset.images("validation"))
        revived = self.model.revive_dead_units(tf.constant(images), self.settings.seed + epoch)
        if revived:
            self.revived_units += revived
            self.tracker.say(
                f"epoch {epoch}: {revived} of {self.settings.latent_size} code units were 0 for "
                "every validation image; they were given new weights"
            )


def numbers(row: Row) -> dict[str, float]:
    """A row of the history without its pictures."""
    return {key: value for key, value in row.items() if not isinstance(value, Picture)}


def decay(epoch: int, epochs: int) -> float:
    """Share of the learning rate that epoch ``epoch`` (from 1) trains with.

    Half a cosine from 1 to ``LAST_DECAY``.
    """
    fallen = (1 - math.cos(math.pi * (epoch - 1) / max(1, epochs - 1))) / 2
    return 1 - (1 - LAST_DECAY) * fallen


def build(family: FamilySpec, settings: Settings, image_shape: ImageShape) -> keras.Model:
    """Make the untrained model that ``settings`` describe; its weights are float32."""
    default = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype_policy(settings.precision))
    try:
        model = family.build(settings, image_shape)
    finally:
        keras.config.set_dtype_policy(default)
    seed_kernels(model, settings.seed)
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
