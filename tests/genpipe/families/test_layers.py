from __future__ import annotations

import random as global_random
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from genpipe.data.readers.published import IMAGE_SHAPE
from genpipe.families.dcgan.model import build_generator
from genpipe.families.layers import (
    ByteDropout,
    FusedAdam,
    FusedBatchNormalization,
    OneChannelConv2D,
    UpsampledConv2D,
    seed_kernels,
)

# Ours, and what it stands for.
FORMS = {
    "upsampled": (
        [UpsampledConv2D(4)],
        [keras.layers.UpSampling2D(2), keras.layers.Conv2D(4, 3, padding="same")],
    ),
    "one channel": ([OneChannelConv2D()], [keras.layers.Conv2D(1, 3, padding="same")]),
}


@pytest.mark.parametrize(("height", "width"), [(7, 7), (14, 14), (5, 8), (1, 3), (1, 1)])
@pytest.mark.parametrize("name", FORMS)
def test_values_and_gradients_are_those_of_the_plain_layers(
    name: str, height: int, width: int
) -> None:
    random = np.random.default_rng(1)
    images = tf.constant(random.normal(size=(2, height, width, 3)).astype(np.float32))
    models = [keras.Sequential([keras.Input((None, None, 3)), *form]) for form in FORMS[name]]
    weights = [random.normal(size=w.shape).astype(np.float32) for w in models[0].weights]
    slopes = tf.constant(random.normal(size=models[0](images).shape).astype(np.float32))
    results = []
    for model in models:
        model.set_weights(weights)
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = model(images)
        kernel, bias = model.trainable_variables
        gradients = tape.gradient(outputs, [images, kernel.value, bias.value], slopes)
        results.append([outputs, *gradients])

    for ours, theirs in zip(*results, strict=True):
        expected = np.asarray(theirs)
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", FORMS)
def test_in_bfloat16_the_values_are_close_and_the_weights_float32(name: str) -> None:
    images = np.random.default_rng(1).normal(size=(2, 7, 7, 3)).astype(np.float32)
    (plain,), (mixed,) = (
        [type(FORMS[name][0][0]).from_config({**FORMS[name][0][0].get_config(), "dtype": dtype})]
        for dtype in ("float32", "mixed_bfloat16")
    )
    mixed.build(images.shape)
    plain.build(images.shape)
    plain.set_weights(mixed.get_weights())

    expected, found = plain(images).numpy(), mixed(images)

    assert found.dtype == tf.bfloat16
    assert {weight.dtype for weight in mixed.weights} == {"float32"}
    assert np.abs(tf.cast(found, tf.float32) - expected).max() < 0.02 * np.abs(expected).max()


def test_the_activation_is_applied_last() -> None:
    inputs = np.random.default_rng(0).normal(size=(1, 4, 4, 2)).astype(np.float32)
    linear, rectified = UpsampledConv2D(3), UpsampledConv2D(3, activation="relu")
    linear.build(inputs.shape)
    rectified.build(inputs.shape)
    rectified.set_weights([linear.get_weights()[0], np.float32([1, -1, 0])])
    linear.set_weights(rectified.get_weights())

    values = np.asarray(linear(inputs))

    assert values.min() < 0
    np.testing.assert_array_equal(rectified(inputs), np.maximum(values, 0))


def test_a_model_with_the_layer_knows_its_output_shape() -> None:
    inputs = keras.Input((7, 7, 128))

    assert UpsampledConv2D(64)(inputs).shape == (None, 14, 14, 64)
    assert UpsampledConv2D(64).compute_output_shape((None, None, 5, 1)) == (None, None, 10, 64)


def test_a_saved_layer_loads_in_safe_mode_and_answers_the_same(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3, 5, 2)), UpsampledConv2D(4, activation="relu")])
    inputs = np.random.default_rng(0).normal(size=(2, 3, 5, 2)).astype(np.float32)

    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)

    np.testing.assert_array_equal(loaded(inputs), model(inputs))


def test_a_layer_is_rebuilt_from_its_config() -> None:
    layer = UpsampledConv2D(5, activation="tanh", name="up")

    again = UpsampledConv2D.from_config(layer.get_config())

    assert again.get_config() == layer.get_config()
    assert (again.filters, again.activation, again.name) == (5, keras.activations.tanh, "up")


def test_fused_batch_normalization_is_batch_normalization() -> None:
    """Outputs, gradients and moving averages, in training and afterwards."""
    images = tf.constant(np.random.default_rng(0).normal(2, 3, (8, 5, 4, 3)).astype(np.float32))
    results = []
    for kind in (keras.layers.BatchNormalization, FusedBatchNormalization):
        layer = kind(momentum=0.8)
        layer.build(images.shape)
        layer.gamma.assign([0.5, 1.0, 2.0])
        layer.beta.assign([-1.0, 0.0, 1.0])
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = layer(images, training=True)
            total = tf.reduce_sum(tf.sin(outputs))
        gradients = tape.gradient(total, [images, *layer.trainable_variables])
        moving = [layer.moving_mean, layer.moving_variance]
        results.append([outputs, *gradients, *moving, layer(images)])
    for plain, fused in zip(*results, strict=True):
        np.testing.assert_allclose(fused, plain, rtol=1e-4, atol=1e-4)


def test_frozen_it_normalises_by_the_batch_and_keeps_its_averages() -> None:
    """As Keras 2.2 did, where today's layer would take its moving averages."""
    images = tf.constant(np.random.default_rng(0).normal(2, 3, (8, 5, 4, 3)).astype(np.float32))
    layer = FusedBatchNormalization(momentum=0.8)
    layer.build(images.shape)
    learning = layer(images, training=True)
    averages = [layer.moving_mean.numpy(), layer.moving_variance.numpy()]

    layer.trainable = False

    np.testing.assert_array_equal(layer(images, training=True), learning)
    np.testing.assert_array_equal([layer.moving_mean, layer.moving_variance], averages)
    assert not np.allclose(layer(images), learning)


def test_only_the_seed_fixes_the_kernels() -> None:
    weights = []
    for state, seed in ((1, 0), (2, 0), (2, 1)):
        global_random.seed(state)  # as if another thread had drawn from it
        generator = build_generator(2, IMAGE_SHAPE)
        seed_kernels(generator, seed)
        weights.append([w.numpy() for w in generator.weights if w.name == "kernel"])
    first, again, other = weights

    assert len(first) == 4
    for one, same, different in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(one, same)
        assert abs(one - different).max() > 0.01
        limit = np.sqrt(6 / (np.prod(one.shape[:-2]) * sum(one.shape[-2:])))
        assert 0.95 * limit < abs(one).max() <= limit


def test_bytes_drop_the_rate_and_keep_the_mean() -> None:
    ones = tf.ones((50, 20, 20, 3))
    layer = ByteDropout(0.25, seed=1)

    with tf.GradientTape() as tape:
        tape.watch(ones)
        dropped = layer(ones, training=True)
    slopes = tape.gradient(dropped, ones).numpy()

    assert set(np.unique(dropped)) == {0.0, np.float32(4 / 3)}
    # 60,000 values: four standard deviations of a share are 0.007.
    assert np.mean(dropped == 0) == pytest.approx(0.25, abs=0.007)
    assert np.mean(dropped) == pytest.approx(1, abs=0.01)
    np.testing.assert_array_equal(slopes, dropped)


def test_bytes_drop_values_independently() -> None:
    """Neighbours come from the bytes of one word: each pair falls together as often as apart."""
    dropped = ByteDropout(0.25, seed=1)(tf.ones((40_000, 4)), training=True).numpy() == 0

    together = np.mean(dropped[:, :, None] & dropped[:, None, :], axis=0)

    np.testing.assert_allclose(together, np.where(np.eye(4), 0.25, 0.25**2), atol=0.009)


def test_every_call_drops_others_and_the_seed_fixes_which() -> None:
    ones = tf.ones((1, 7, 5))  # not a whole number of words
    first, second = ByteDropout(0.5, seed=1), ByteDropout(0.5, seed=1)

    calls = [first(ones, training=True).numpy() for _ in range(2)]

    assert not np.array_equal(*calls)
    np.testing.assert_array_equal(calls[0], second(ones, training=True))
    np.testing.assert_array_equal(first(ones), ones)
    np.testing.assert_array_equal(ByteDropout(0.0)(ones, training=True), ones)


@pytest.mark.parametrize("rate", [0.1, 0.3, 1 / 512])
def test_a_rate_that_bytes_cannot_have_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=f"{rate}"):
        ByteDropout(rate)


def test_the_fused_adam_is_adam() -> None:
    random = np.random.default_rng(0)
    start = random.normal(size=(5, 3)).astype(np.float32)
    gradients = [random.normal(size=start.shape).astype(np.float32) for _ in range(20)]
    moved = []
    for kind in (FusedAdam, keras.optimizers.Adam):
        optimizer = kind(0.01, beta_1=0.5)
        variable = keras.Variable(start)
        optimizer.build([variable])
        for gradient in gradients:
            optimizer.apply([tf.constant(gradient)], [variable])
        moved.append([variable.numpy(), *(one.numpy() for one in optimizer.variables)])

    assert np.abs(moved[0][0] - start).max() > 0.1
    for ours, theirs in zip(*moved, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
