from __future__ import annotations

import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from genpipe.data.dataset import RESCALINGS, Rescaling
from genpipe.training.loop import Batches, TrainingLoop

PIXELS = np.arange(256, dtype=np.uint8)


class Stub(keras.Model):
    """A model that counts its steps, with a loss that turns bad at a step (from 1)."""

    METRICS = ("loss", "seen")

    def __init__(self, bad_step: int = 0, bad_loss: float = float("nan")) -> None:
        super().__init__()
        self.steps = tf.Variable(0, trainable=False)
        self.bad_step, self.bad_loss = bad_step, bad_loss
        self.compilations = 0

    def train_step(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        self.compilations += 1  # Python runs when the step is compiled, and not in the steps
        self.steps.assign_add(1)
        loss = tf.where(self.steps == self.bad_step, self.bad_loss, 0.5)
        return {"loss": loss, "seen": tf.reduce_mean(images)}

    def test_step(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": tf.reduce_mean(images)}


def loop_of(
    model: keras.Model,
    images: np.ndarray | None = None,
    *,
    batch_size: int = 2,
    rescaling: Rescaling = RESCALINGS["unit"],
    jit_compile: bool = False,
    loss_limit: float = 1.0,
) -> TrainingLoop:
    images = np.zeros((8, 28, 28, 1), np.uint8) if images is None else images
    return TrainingLoop(
        model,
        images,
        rescaling=rescaling,
        batches=Batches(len(images), batch_size, seed=0),
        jit_compile=jit_compile,
        loss_limit=loss_limit,
    )


def test_every_epoch_is_another_permutation() -> None:
    batches = Batches(12, 3, seed=0)

    epochs = [batches.epoch(number) for number in range(3)]

    for epoch in epochs:
        assert (epoch.shape, epoch.dtype) == ((4, 3), np.int32)
        assert sorted(epoch.ravel()) == list(range(12))
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(epochs[1], epochs[2])


def test_the_seed_fixes_the_order() -> None:
    first, again, other = (Batches(100, 10, seed).epoch(5) for seed in (1, 1, 2))

    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_no_image_comes_twice_in_an_epoch_and_those_left_over_differ() -> None:
    batches = Batches(11, 3, seed=0)
    left_over = {tuple(set(range(11)) - set(batches.epoch(n).ravel())) for n in range(20)}

    assert batches.steps_per_epoch == 3
    assert all(len(images) == 2 for images in left_over)
    assert len(left_over) > 1


@pytest.mark.parametrize("parts", [[11], [1] * 11, [3, 5, 3], [4, 7], [2, 2, 7]])
def test_steps_in_any_cuts_are_the_epochs_one_after_the_other(parts: list[int]) -> None:
    batches = Batches(10, 3, seed=7)
    whole = np.concatenate([batches.epoch(number) for number in range(4)])
    starts = np.cumsum([0, *parts[:-1]])

    cut = [batches.steps(int(first), n) for first, n in zip(starts, parts, strict=True)]

    np.testing.assert_array_equal(np.concatenate(cut), whole[:11])


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("name", RESCALINGS)
def test_rescaling_on_the_device_is_exact_for_every_pixel_value(
    name: str, jit_compile: bool
) -> None:
    rescaling = RESCALINGS[name]
    loop = loop_of(Stub(), rescaling=rescaling, jit_compile=jit_compile)
    compiled = tf.function(loop.rescale, jit_compile=jit_compile)

    np.testing.assert_array_equal(compiled(tf.constant(PIXELS)), rescaling.apply(PIXELS))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_model_sees_the_images_of_the_batches_rescaled(jit_compile: bool) -> None:
    images = np.zeros((256, 28, 28, 1), np.uint8)
    images[:] = PIXELS[:, None, None, None]
    symmetric = RESCALINGS["symmetric"]
    loop = loop_of(Stub(), images, batch_size=1, rescaling=symmetric, jit_compile=jit_compile)

    seen = [next(loop.run(step))["seen"] for step in range(1, 6)]

    indices = Batches(256, 1, seed=0).steps(0, 5)[:, 0]
    np.testing.assert_allclose(seen, symmetric.apply(PIXELS)[indices], rtol=1e-4)


def test_a_shorter_call_compiles_nothing_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genpipe.training.loop.STEPS_IN_A_CALL", 4)
    model = Stub()
    loop = loop_of(model)

    list(loop.run(4))
    compilations = model.compilations
    for until in (5, 14):
        list(loop.run(until))

    assert (loop.step, int(model.steps)) == (14, 14)
    assert model.compilations == compilations


def test_xla_compiles_a_call_once_whatever_its_length() -> None:
    """It took ``tf.range(count)`` for a constant, and each length for another program."""
    loop = loop_of(Stub(), jit_compile=True)
    seconds = []

    for until in (8, 9, 11, 14, 18, 23):
        began = time.process_time()
        list(loop.run(until))
        seconds.append(time.process_time() - began)

    assert sum(seconds[1:]) < seconds[0]


@pytest.mark.parametrize("jit_compile", [False, True])
def test_no_bit_of_a_tally_depends_on_how_the_steps_are_cut_into_calls(jit_compile: bool) -> None:
    images = np.random.default_rng(0).integers(0, 256, (64, 28, 28, 1), np.uint8)
    tallies = []
    for cuts in ([32], [1, 5, 8, 31, 32], range(1, 33)):
        loop = loop_of(Stub(), images, jit_compile=jit_compile)
        for until in cuts:
            list(loop.run(until))
        tallies.append((loop.tally.steps, loop.tally.means()))

    assert tallies[0][0] == 32
    assert tallies[0] == tallies[1] == tallies[2]


def test_calls_grow_until_they_take_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Stub()
    loop = loop_of(model)

    def seconds() -> float:
        """A step takes 0.1 s; from the 249th on, 0.3 s."""
        return 0.1 * int(model.steps) + 0.2 * max(0, int(model.steps) - 248)

    monkeypatch.setattr("genpipe.training.loop.time.perf_counter", seconds)

    ends = [loop.step for _ in loop.run(400)]

    # 8 steps take 0.8 s and 32 take 3.2 s; later 16 take 4.8 s and 8 take 2.4 s.
    assert list(np.diff(ends, prepend=0)) == [8, 16, *[32] * 8, 16, *[8] * 13]
    assert loop.seconds == pytest.approx(seconds())


def test_figures_are_means_over_the_steps_of_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genpipe.training.loop.STEPS_IN_A_CALL", 4)
    loop = loop_of(Stub(bad_step=6, bad_loss=0.9))

    losses = [means["loss"] for means in loop.run(7)]

    assert losses == pytest.approx([0.5, (0.5 + 0.9 + 0.5) / 3])
    assert loop.divergence is None


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("bad_step", [1, 4, 7])
def test_a_nan_loss_stops_training_and_its_step_is_named(
    bad_step: int, jit_compile: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genpipe.training.loop.STEPS_IN_A_CALL", 4)
    model = Stub(bad_step)
    loop = loop_of(model, jit_compile=jit_compile)

    list(loop.run(100))

    assert loop.divergence is not None
    assert loop.divergence.step == bad_step
    assert loop.divergence.reason == f"the loss was NaN at step {bad_step}"
    assert int(model.steps) <= bad_step + 4
    assert list(loop.run(100)) == []


@pytest.mark.parametrize(("loss", "told"), [(2.5, "2.5"), (float("inf"), "inf")])
def test_a_loss_above_the_limit_stops_training_too(loss: float, told: str) -> None:
    loop = loop_of(Stub(3, loss), loss_limit=2.0)

    list(loop.run(100))

    assert loop.divergence is not None
    assert loop.divergence.reason == f"the loss was {told}, above 2 at step 3"


def test_a_loss_at_the_limit_is_no_divergence() -> None:
    loop = loop_of(Stub(3, 2.0), loss_limit=2.0)

    list(loop.run(5))

    assert loop.divergence is None


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_last_smaller_batch_weighs_less_in_a_test(
    jit_compile: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genpipe.training.loop.EVALUATION_BATCH", 4)
    images = np.random.default_rng(0).integers(0, 256, (10, 28, 28, 1), np.uint8)

    means = loop_of(Stub(), jit_compile=jit_compile).test(images)

    assert means["loss"] == pytest.approx(images.mean() / 255, rel=1e-6)
