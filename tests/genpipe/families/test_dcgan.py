from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.train.train import build
from genpipe.families.dcgan.model import DCGAN, build_discriminator, build_generator
from genpipe.families.dcgan.spec import DCGANSettings
from genpipe.families.layers import ByteDropout, FusedBatchNormalization, UpsampledConv2D
from genpipe.families.registry import find_family


@pytest.fixture(scope="module")
def images() -> tf.Tensor:
    pixels = np.random.default_rng(0).uniform(-1, 1, (4, 28, 28, 1))
    return tf.constant(pixels.astype(np.float32))


def tiny(seed: int = 0) -> DCGAN:
    keras.utils.set_random_seed(seed)
    return build(find_family("dcgan"), DCGANSettings(latent_size=2, seed=seed))


def weights_of(network: keras.Model) -> list[np.ndarray]:
    return [variable.numpy() for variable in network.trainable_variables]


def moved(before: list[np.ndarray], network: keras.Model) -> bool:
    pairs = zip(before, weights_of(network), strict=True)
    return any(not np.array_equal(old, new) for old, new in pairs)


def test_the_generator_is_that_of_keras_gan() -> None:
    network = build_generator(100)
    kinds = [type(layer).__name__ for layer in network.layers]
    shapes = [layer.output.shape[1:] for layer in network.layers]

    assert list(zip(kinds, shapes, strict=True)) == [
        ("InputLayer", (100,)),
        ("Dense", (128 * 7 * 7,)),
        ("Reshape", (7, 7, 128)),
        ("FusedBatchNormalization", (7, 7, 128)),
        ("UpsampledConv2D", (14, 14, 128)),
        ("FusedBatchNormalization", (14, 14, 128)),
        ("UpsampledConv2D", (28, 28, 64)),
        ("FusedBatchNormalization", (28, 28, 64)),
        ("OneChannelConv2D", (28, 28, 1)),
    ]
    with_activation = (keras.layers.Dense, UpsampledConv2D, keras.layers.Conv2D)
    activations = [
        layer.activation.__name__ for layer in network.layers if isinstance(layer, with_activation)
    ]
    assert activations == ["relu", "relu", "relu", "tanh"]
    parts = {
        "dense": 101 * 6272,
        "convolutions": 9 * 128 * 128 + 128 + 9 * 128 * 64 + 64 + 9 * 64 + 1,
        "normalisations": 4 * (128 + 128 + 64),
    }
    assert network.count_params() == sum(parts.values()) == 856_705


def test_the_discriminator_is_that_of_keras_gan() -> None:
    network = build_discriminator(seed=0)
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
        for network in (build_generator(2), build_discriminator(0))
        for layer in network.layers
        if type(layer) in figures
    ]

    expected = {"FusedBatchNormalization": 0.8, "LeakyReLU": 0.2, "ByteDropout": 0.25}
    assert len(found) == 3 + 3 + 4 + 4
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


@pytest.mark.parametrize("share", [False, True])
def test_the_generator_learns_from_images_of_its_own_unless_the_pass_is_shared(
    images: tf.Tensor, share: bool
) -> None:
    """The loss and the update of one step, against the same done in eager pieces by hand."""
    made = [
        build(find_family("dcgan"), DCGANSettings(latent_size=2, share_generator_pass=setting))
        for setting in (share, False)
    ]
    for model in made:
        for layer in model.discriminator.layers:
            if isinstance(layer, ByteDropout):
                layer.rate = 0.0
    model, twin = made

    figures = model.train_step(images)
    noises = [twin.draw_noise(4) for _ in range(2)]
    twin.draw_noise = lambda count: noises[0]  # type: ignore[method-assign]
    twin.generator_optimizer.learning_rate = 0.0
    twin.train_step(images)  # only the discriminator learns
    with tf.GradientTape() as tape:
        generated = twin.generator(noises[0 if share else 1], training=True)
        judged = twin.discriminator(generated, training=True)
        loss = keras.losses.BinaryCrossentropy()(tf.ones_like(judged), judged)
    gradients = tape.gradient(loss, twin.generator.trainable_variables)

    assert float(figures["generator_loss"]) == pytest.approx(float(loss), rel=1e-5)
    moved_by = [
        after - before
        for after, before in zip(
            weights_of(model.generator), weights_of(twin.generator), strict=True
        )
    ]
    for update, gradient in zip(moved_by, gradients, strict=True):
        # Adam's first step goes by the learning rate against the gradient's sign.
        clear = np.abs(gradient.numpy()) > 1e-3 * np.abs(gradient).max() + 1e-6
        np.testing.assert_allclose(
            update[clear], -2e-4 * np.sign(gradient.numpy()[clear]), rtol=0.1
        )


def test_noise_is_standard_normal_and_never_the_same_twice() -> None:
    model = tiny()

    first, second = (model.draw_noise(5000).numpy() for _ in range(2))

    assert first.shape == (5000, 2)
    assert not np.array_equal(first, second)
    assert np.abs(first.mean(axis=0)).max() < 0.05
    np.testing.assert_allclose(np.cov(first, rowvar=False), np.eye(2), atol=0.08)
    np.testing.assert_array_equal(first, tiny().draw_noise(5000))
    assert not np.array_equal(first, tiny(seed=1).draw_noise(5000))
