from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.train.train import build
from genpipe.data.readers.published import IMAGE_SHAPE
from genpipe.families.dcgan.model import DCGAN, build_discriminator, build_generator
from genpipe.families.dcgan.spec import DCGANSettings
from genpipe.families.layers import ByteDropout, FusedBatchNormalization, UpsampledConv2D
from genpipe.families.registry import find_family
from tests.benchmarks import plain


@pytest.fixture(scope="module")
def images() -> tf.Tensor:
    pixels = np.random.default_rng(0).uniform(-1, 1, (4, 28, 28, 1))
    return tf.constant(pixels.astype(np.float32))


def tiny(seed: int = 0) -> DCGAN:
    keras.utils.set_random_seed(seed)
    return build(find_family("dcgan"), DCGANSettings(latent_size=2, seed=seed), IMAGE_SHAPE)


def with_bytes() -> Callable[[keras.layers.Layer], keras.layers.Layer]:
    """Copies layers, with our dropout in place of Keras's: the same masks for the same seed."""
    seeds = iter((32, 64, 128, 256))

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.layers.Dropout):
            return ByteDropout(layer.rate, seed=next(seeds))
        return type(layer).from_config(layer.get_config())

    return copy


def weights_of(network: keras.Model) -> list[np.ndarray]:
    return [variable.numpy() for variable in network.trainable_variables]


def moved(before: list[np.ndarray], network: keras.Model) -> bool:
    pairs = zip(before, weights_of(network), strict=True)
    return any(not np.array_equal(old, new) for old, new in pairs)


def test_the_generator_is_that_of_keras_gan() -> None:
    network = build_generator(100, IMAGE_SHAPE)
    kinds = [type(layer).__name__ for layer in network.layers]
    shapes = [layer.output.shape[1:] for layer in network.layers]

    assert list(zip(kinds, shapes, strict=True)) == [
        ("InputLayer", (100,)),
        ("Dense", (128 * 7 * 7,)),
        ("Reshape", (7, 7, 128)),
        ("UpsampledConv2D", (14, 14, 128)),
        ("FusedBatchNormalization", (14, 14, 128)),
        ("ReLU", (14, 14, 128)),
        ("UpsampledConv2D", (28, 28, 64)),
        ("FusedBatchNormalization", (28, 28, 64)),
        ("ReLU", (28, 28, 64)),
        ("OneChannelConv2D", (28, 28, 1)),
    ]
    with_activation = (keras.layers.Dense, UpsampledConv2D, keras.layers.Conv2D)
    activations = [
        layer.activation.__name__ for layer in network.layers if isinstance(layer, with_activation)
    ]
    assert activations == ["relu", "linear", "linear", "tanh"]
    # The count that Keras-GAN's own summary prints.
    assert network.count_params() == 856_193


def test_the_discriminator_is_that_of_keras_gan() -> None:
    network = build_discriminator(IMAGE_SHAPE, seed=0)
    convolutions = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    kinds = [type(layer).__name__ for layer in network.layers]

    assert [(layer.filters, layer.strides[0], layer.kernel_size) for layer in convolutions] == [
        (32, 2, (3, 3)),
        (64, 2, (3, 3)),
        (128, 2, (3, 3)),
        (256, 1, (3, 3)),
    ]
    block = ["Conv2D", "FusedBatchNormalization", "LeakyReLU", "ByteDropout"]
    padded = ["Conv2D", "ZeroPadding2D", "FusedBatchNormalization", "LeakyReLU", "ByteDropout"]
    first = ["InputLayer", "Conv2D", "LeakyReLU", "ByteDropout"]
    assert kinds == [*first, *padded, *block, *block, "Flatten", "Dense"]
    padding = next(layer for layer in network.layers if type(layer).__name__ == "ZeroPadding2D")
    assert tuple(map(tuple, padding.padding)) == ((0, 1), (0, 1))
    assert network.layers[-1].activation is keras.activations.sigmoid
    # The count that Keras-GAN's own summary prints.
    assert network.count_params() == 393_729


def test_normalisation_slopes_and_dropout_have_the_sources_figures() -> None:
    figures = {
        FusedBatchNormalization: "momentum",
        keras.layers.LeakyReLU: "negative_slope",
        ByteDropout: "rate",
    }
    found = [
        (type(layer).__name__, getattr(layer, figures[type(layer)]))
        for network in (build_generator(2, IMAGE_SHAPE), build_discriminator(IMAGE_SHAPE, 0))
        for layer in network.layers
        if type(layer) in figures
    ]

    expected = {"FusedBatchNormalization": 0.8, "LeakyReLU": 0.2, "ByteDropout": 0.25}
    assert len(found) == 2 + 3 + 4 + 4
    assert all(figure == pytest.approx(expected[name]) for name, figure in found)


def test_both_optimizers_are_adam_with_the_sources_figures() -> None:
    model = tiny()

    for optimizer in (model.generator_optimizer, model.discriminator_optimizer):
        assert isinstance(optimizer, keras.optimizers.Adam)
        assert float(optimizer.learning_rate) == pytest.approx(2e-4)
        assert optimizer.beta_1 == 0.5
    assert model.generator_optimizer is not model.discriminator_optimizer


def test_a_step_moves_both_networks_and_tells_the_figures(images: tf.Tensor) -> None:
    model = tiny()
    generator, discriminator = weights_of(model.generator), weights_of(model.discriminator)

    figures = {name: float(value) for name, value in model.train_step(images).items()}

    assert moved(generator, model.generator)
    assert moved(discriminator, model.discriminator)
    assert set(figures) == set(model.METRICS)
    parts = figures["discriminator_loss"] + figures["generator_loss"]
    assert figures["loss"] == pytest.approx(parts, rel=1e-6)
    assert figures["discriminator_accuracy"] * 8 == int(figures["discriminator_accuracy"] * 8)


def test_the_discriminators_update_leaves_the_generator_and_the_other_way_round(
    images: tf.Tensor,
) -> None:
    for frozen, optimizer, other in (
        ("generator", "generator_optimizer", "discriminator"),
        ("discriminator", "discriminator_optimizer", "generator"),
    ):
        model = tiny()
        getattr(model, optimizer).learning_rate = 0.0
        before, learning = weights_of(getattr(model, frozen)), weights_of(getattr(model, other))

        model.train_step(images)

        assert not moved(before, getattr(model, frozen))
        assert moved(learning, getattr(model, other))


def test_the_losses_are_binary_cross_entropies(images: tf.Tensor) -> None:
    """A discriminator that always says 0.8: the losses and the accuracy by hand."""
    model = tiny()
    last = model.discriminator.layers[-1]
    last.kernel.assign(tf.zeros_like(last.kernel))
    last.bias.assign([np.log(0.8 / 0.2)])
    model.discriminator_optimizer.learning_rate = 0.0

    figures = {name: float(value) for name, value in model.train_step(images).items()}

    expected = -(np.log(0.8) + np.log(0.2)) / 2
    assert figures["discriminator_loss"] == pytest.approx(expected, rel=1e-5)
    assert figures["generator_loss"] == pytest.approx(-np.log(0.8), rel=1e-5)
    assert figures["discriminator_accuracy"] == 0.5


def test_each_network_learns_in_its_own_direction() -> None:
    """With one network at rest, the other one's loss falls."""
    images = tf.ones((2, 28, 28, 1))
    for frozen, figure in (
        ("generator_optimizer", "discriminator_loss"),
        ("discriminator_optimizer", "generator_loss"),
    ):
        model = tiny()
        getattr(model, frozen).learning_rate = 0.0
        losses = [float(model.train_step(images)[figure]) for _ in range(6)]
        assert np.mean(losses[3:]) < np.mean(losses[:3])


def test_three_steps_are_those_of_keras_gan_in_plain_keras() -> None:
    """Same weights, batches, noise and dropout: its loop, in layers and optimizers of Keras.

    Written from Keras-GAN's ``train`` as Keras 2.2 ran it, the version that it names: a frozen
    discriminator normalises by its batch, and keeps its moving averages.
    """
    batches = np.random.default_rng(0).uniform(-1, 1, (3, 16, 28, 28, 1)).astype(np.float32)
    model, twin = tiny(), tiny()
    generator = plain.generator(2)
    discriminator = keras.models.clone_model(plain.discriminator(), clone_function=with_bytes())
    pairs = ((generator, model.generator), (discriminator, model.discriminator))
    for network, ours in pairs:
        network.set_weights(ours.get_weights())
    start = [ours.get_weights() for _, ours in pairs]
    # A bias in front of a batch normalisation has no gradient but rounding, of which Adam makes
    # whole steps, and the moving averages of ``predict`` follow it.
    only_rounding = {
        layer.bias.path
        for network, _ in pairs
        for layer, after in itertools.pairwise(network.layers)
        if isinstance(layer, keras.layers.Conv2D)
        and isinstance(after, keras.layers.BatchNormalization)
    }
    optimizers = [keras.optimizers.Adam(2e-4, beta_1=0.5) for _ in range(2)]
    cross_entropy = keras.losses.BinaryCrossentropy()
    ones, zeros = np.ones((16, 1)), np.zeros((16, 1))

    def update(optimizer: keras.optimizers.Optimizer, learning: keras.Model, judged: Any) -> float:
        with tf.GradientTape() as tape:
            images, target = judged()
            loss = cross_entropy(target, discriminator(images, training=True))
        weights = learning.trainable_variables
        optimizer.apply(tape.gradient(loss, weights), weights)
        return float(loss)

    for images in batches:
        figures = {name: float(value) for name, value in model.train_step(images).items()}

        noise = twin.draw_noise(16)
        generated = generator(noise, training=False)  # predict
        on_real = update(optimizers[0], discriminator, lambda real=images: (real, ones))
        on_generated = update(optimizers[0], discriminator, lambda made=generated: (made, zeros))
        averages = [weight.numpy() for weight in discriminator.non_trainable_weights]
        judged = update(
            optimizers[1], generator, lambda z=noise: (generator(z, training=True), ones)
        )
        for weight, value in zip(discriminator.non_trainable_weights, averages, strict=True):
            weight.assign(value)

        expected = (on_real + on_generated) / 2
        assert figures["discriminator_loss"] == pytest.approx(expected, rel=1e-5)
        assert figures["generator_loss"] == pytest.approx(judged, rel=1e-5)
        for network, ours in pairs:
            for weight, mine in zip(network.weights, ours.weights, strict=True):
                if weight.path in only_rounding:
                    weight.assign(mine)
    for (network, ours), begun in zip(pairs, start, strict=True):
        for weight, mine, first in zip(network.weights, ours.weights, begun, strict=True):
            apart, moved_by = (np.linalg.norm(mine - other) for other in (weight, first))
            assert moved_by > 0
            assert apart <= 1e-2 * moved_by, weight.path


def test_noise_is_standard_normal_and_never_the_same_twice() -> None:
    model = tiny()

    first, second = (model.draw_noise(5000).numpy() for _ in range(2))

    assert first.shape == (5000, 2)
    assert not np.array_equal(first, second)
    assert np.abs(first.mean(axis=0)).max() < 0.05
    np.testing.assert_allclose(np.cov(first, rowvar=False), np.eye(2), atol=0.08)
    np.testing.assert_array_equal(first, tiny().draw_noise(5000))
    assert not np.array_equal(first, tiny(seed=1).draw_noise(5000))
