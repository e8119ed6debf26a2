"""One training loop for all families: many steps in one compiled call.

The images lie on the device as uint8 and are rescaled there; a call runs up to thousands of steps
without Python in between. How many is a matter of time, and no bit of the result depends on it.
Whether XLA compiles the call is the family's choice: the dense models gain 2 times from it, the
convolutional one loses on a CPU.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import keras
import numpy as np
import tensorflow as tf

from genpipe.data.dataset import Rescaling

STEPS_IN_A_CALL = 2048
FIRST_STEPS_IN_A_CALL = 8
# Between two calls progress is shown and a checkpoint may be written.
SECONDS_IN_A_CALL = 4.0
INDICES_IN_A_CALL = 2**22  # 16 MiB, however large a batch is
EVALUATION_BATCH = 1000


@dataclass(frozen=True)
class Divergence:
    """Where training broke: the first step (from 1) whose loss was NaN or above the limit."""

    step: int
    loss: float
    limit: float

    @property
    def reason(self) -> str:
        """One line for ``model.json`` and the leaderboard."""
        what = f"was {self.loss:.4g}, above {self.limit:g}" if self.loss > self.limit else "was NaN"
        return f"the loss {what} at step {self.step}"


@dataclass
class Tally:
    """What the steps since the last row of the history add up to.

    Attributes:
        steps: how many they are.
        seconds: how long they took.
        sums: of each metric over them, in float64, added up step by step.
    """

    steps: int = 0
    seconds: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)

    def means(self) -> dict[str, float]:
        """The mean of each metric over the steps."""
        return {name: total / self.steps for name, total in self.sums.items()}


class Batches:
    """The order of training images: every epoch a new permutation, fixed by seed and epoch.

    An epoch is ``images // batch_size`` whole batches; the images left over differ each epoch.

    Args:
        images: how many images there are.
        batch_size: images in a batch, at most ``images``.
        seed: of the order.
    """

    def __init__(self, images: int, batch_size: int, seed: int) -> None:
        self.images = images
        self.batch_size = min(batch_size, images)
        self.seed = seed
        self.steps_per_epoch = images // self.batch_size

    def epoch(self, number: int) -> np.ndarray:
        """(steps_per_epoch, batch_size) int32 image indices of epoch ``number`` (from 0)."""
        order = np.random.default_rng([self.seed, number]).permutation(self.images)
        used = self.steps_per_epoch * self.batch_size
        return order[:used].reshape(self.steps_per_epoch, self.batch_size).astype(np.int32)

    def steps(self, first: int, count: int) -> np.ndarray:
        """(count, batch_size) int32 indices of ``count`` steps from step ``first`` (from 0)."""
        rows, step = [], first
        while step < first + count:
            epoch, inside = divmod(step, self.steps_per_epoch)
            taken = self.epoch(epoch)[inside : inside + first + count - step]
            rows.append(taken)
            step += len(taken)
        return np.concatenate(rows)


class TrainingLoop:
    """Runs ``model.train_step`` over batches and ``model.test_step`` over whole arrays.

    Args:
        model: its ``train_step(images)`` learns from (batch, 28, 28, 1) float32 images and returns
            a dictionary of the scalars named in ``model.METRICS``, with ``loss`` among them.
        images: (n, 28, 28, 1) uint8.
        rescaling: from uint8 to what the model reads.
        batches: the order of the images.
        jit_compile: compile the whole call with XLA.
        loss_limit: a loss above it counts as diverged.

    Attributes:
        step: batches learnt from.
        seconds: how long that took.
        tally: of the steps since ``start_tally``.
        divergence: where training broke, if it did.
    """

    def __init__(
        self,
        model: keras.Model,
        images: np.ndarray,
        *,
        rescaling: Rescaling,
        batches: Batches,
        jit_compile: bool,
        loss_limit: float,
    ) -> None:
        self._model = model
        self._images = tf.constant(np.asarray(images))
        # Variables, because a compiler turns division by a constant into multiplication by its
        # inverse, which is off by one bit for 126 of the 256 pixel values.
        self._offset = tf.Variable(rescaling.offset, trainable=False)
        self._scale = tf.Variable(rescaling.scale, trainable=False)
        self._batches = batches
        self._loss_limit = loss_limit
        self._steps = tf.function(self._run_steps, jit_compile=jit_compile)
        self._test = tf.function(self._run_test, jit_compile=jit_compile)
        self._steps_in_a_call = FIRST_STEPS_IN_A_CALL
        self.step = 0
        self.seconds = 0.0
        self.tally = Tally()
        self.divergence: Divergence | None = None

    def rescale(self, images: tf.Tensor) -> tf.Tensor:
        """Uint8 images to float32, exactly as ``Rescaling.apply`` does in numpy."""
        return (tf.cast(images, tf.float32) - self._offset) / self._scale

    def start_tally(self) -> None:
        """Begin new sums."""
        self.tally = Tally()

    def run(self, until: int) -> Iterator[dict[str, float]]:
        """Train up to step ``until``, yielding the mean of the step's metrics after each call.

        Stops early, with ``divergence`` set, when the loss is NaN or above the limit.
        """
        batch_size = self._batches.batch_size
        most = min(STEPS_IN_A_CALL, max(1, INDICES_IN_A_CALL // batch_size))
        while self.step < until and self.divergence is None:
            began = time.perf_counter()
            count = min(most, self._steps_in_a_call, until - self.step)
            # Always the same shape, so that a shorter call compiles nothing anew.
            rows = np.zeros((most, batch_size), np.int32)
            rows[:count] = self._batches.steps(self.step, count)
            before = {name: self.tally.sums.get(name, 0.0) for name in self._model.METRICS}
            start = {name: tf.constant(value, tf.float64) for name, value in before.items()}
            totals, bad_step, bad_loss = self._steps(tf.constant(rows), tf.constant(count), start)
            bad = int(bad_step)  # waits for the end of the call
            seconds = time.perf_counter() - began
            self.seconds += seconds
            if bad >= 0:
                # What the compiled call did behind the bad step is not counted.
                self.step += bad + 1
                self.diverge(float(bad_loss))
                return
            self.step += count
            self.tally.steps += count
            self.tally.seconds += seconds
            self.tally.sums = {name: float(total) for name, total in totals.items()}
            self._fit_calls(count, seconds)
            yield {name: (self.tally.sums[name] - before[name]) / count for name in before}

    def _fit_calls(self, count: int, seconds: float) -> None:
        """Let the next calls take between half of ``SECONDS_IN_A_CALL`` and all of it."""
        if seconds > SECONDS_IN_A_CALL:
            self._steps_in_a_call = max(1, count // 2)
        elif seconds < SECONDS_IN_A_CALL / 2 and count == self._steps_in_a_call:
            self._steps_in_a_call = min(2 * count, STEPS_IN_A_CALL)

    def diverge(self, loss: float) -> None:
        """Count the training as diverged at the last step made."""
        self.divergence = Divergence(self.step, loss, self._loss_limit)

    def test(self, images: np.ndarray) -> dict[str, float]:
        """Mean metrics of ``model.test_step`` over (n, 28, 28, 1) uint8 images."""
        sums: dict[str, float] = {}
        for first in range(0, len(images), EVALUATION_BATCH):
            batch = images[first : first + EVALUATION_BATCH]
            for name, value in self._test(tf.constant(np.asarray(batch))).items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(batch)
        return {name: total / len(images) for name, total in sums.items()}

    def _run_steps(
        self, rows: tf.Tensor, count: tf.Tensor, sums: dict[str, tf.Tensor]
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
        index, bad_step, bad_loss = tf.constant(0), tf.constant(-1), tf.constant(0.0)
        # Not `for index in tf.range(count)`: XLA compiles that anew for each value of `count`.
        while index < count:
            metrics = self._model.train_step(self.rescale(tf.gather(self._images, rows[index])))
            sums = {name: sums[name] + tf.cast(metrics[name], tf.float64) for name in sums}
            # Not `~(loss <= limit)`: TensorFlow rewrites that to `loss > limit`, false for a NaN.
            is_bad = tf.math.is_nan(metrics["loss"]) | (metrics["loss"] > self._loss_limit)
            is_first_bad = (bad_step < 0) & is_bad
            bad_step = tf.where(is_first_bad, index, bad_step)
            bad_loss = tf.where(is_first_bad, metrics["loss"], bad_loss)
            index += 1
        return sums, bad_step, bad_loss

    def _run_test(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._model.test_step(self.rescale(images))
