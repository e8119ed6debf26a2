from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from genpipe.data.readers.published import IMAGE_SHAPE
from genpipe.families.autoencoder.model import Autoencoder
from genpipe.families.autoencoder.spec import AutoencoderSettings


def dense_layers(network: keras.Model) -> list[tuple[int, str]]:
    """Units and activation of each dense layer, in order."""
    return [
        (layer.units, layer.activation.__name__)
        for layer in network.layers
        if isinstance(layer, keras.layers.Dense)
    ]


def tiny(latent_size: int = 4, **options: str) -> Autoencoder:
    keras.utils.set_random_seed(0)
    return Autoencoder(
        AutoencoderSettings(latent_size=latent_size, hidden_size=16, **options), IMAGE_SHAPE
    )


@pytest.fixture
def images() -> tf.Tensor:
    """Sixteen images of the digit-like kind: a bright block on black."""
    pixels = np.zeros((16, 28, 28, 1), np.float32)
    for index, image in enumerate(pixels):
        image[index : index + 8, 8:20] = 1
    return tf.constant(pixels)


@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_the_architecture_is_784_512_code_512_784(activation: str) -> None:
    model = Autoencoder(
        AutoencoderSettings(latent_size=10, code_activation=activation), IMAGE_SHAPE
    )

    assert dense_layers(model.encoder) == [(512, "relu"), (10, activation)]
    assert dense_layers(model.decoder) == [(512, "relu"), (784, "sigmoid")]
    assert model.encoder.input_shape == model.decoder.output_shape == (None, 28, 28, 1)
    assert model.encoder.count_params() == 785 * 512 + 513 * 10
    assert model.decoder.count_params() == 11 * 512 + 513 * 784
    assert isinstance(model.optimizer, keras.optimizers.Adam)


def test_the_learning_rate_is_the_settings(images: tf.Tensor) -> None:
    model = Autoencoder(
        AutoencoderSettings(latent_size=2, hidden_size=4, learning_rate=0.01), IMAGE_SHAPE
    )

    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)


def test_the_loss_is_the_mean_squared_error_of_all_pixels(images: tf.Tensor) -> None:
    model = tiny()

    losses = model.test_step(images)

    rebuilt = model.decoder(model.encoder(images)).numpy()
    assert set(losses) == set(model.METRICS)
    assert float(losses["loss"]) == pytest.approx(np.square(rebuilt - images).mean(), rel=1e-6)


def test_a_few_steps_lower_the_loss_and_a_test_step_learns_nothing(images: tf.Tensor) -> None:
    model = tiny()
    before = model.get_weights()
    first = float(model.test_step(images)["loss"])
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)

    for _ in range(20):
        model.train_step(images)

    assert float(model.test_step(images)["loss"]) < 0.9 * first
    changed = [
        not np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True)
    ]
    assert all(changed)


def kill(model: Autoencoder, unit: int) -> None:
    code = model.encoder.get_layer("code")
    code.bias.assign(tf.tensor_scatter_nd_update(code.bias.value, [[unit]], [-1e6]))


def open_all(model: Autoencoder) -> None:
    """Every unit answers to some image."""
    code = model.encoder.get_layer("code")
    code.bias.assign(tf.fill(code.bias.shape, 10.0))


def test_a_dead_unit_gets_new_weights_and_the_others_keep_theirs(images: tf.Tensor) -> None:
    model = tiny()
    open_all(model)
    kill(model, 2)
    before = {name: network.get_weights() for name, network in model.parts.items()}

    count = model.revive_dead_units(images, seed=1)

    after = {name: network.get_weights() for name, network in model.parts.items()}
    others = [0, 1, 3]
    assert count == 1
    assert float(tf.reduce_max(model.encoder(images)[:, 2])) > 0
    _, _, kernel, bias = after["encoder"]
    np.testing.assert_array_equal(kernel[:, others], before["encoder"][2][:, others])
    np.testing.assert_array_equal(bias[others], before["encoder"][3][others])
    assert (kernel[:, 2] != before["encoder"][2][:, 2]).all()
    assert bias[2] == 0
    outgoing = after["decoder"][0]
    np.testing.assert_array_equal(outgoing[others], before["decoder"][0][others])
    assert (outgoing[2] == 0).all()
    for part, places in (("encoder", (0, 1)), ("decoder", (1, 2, 3))):
        for place in places:
            np.testing.assert_array_equal(after[part][place], before[part][place])


def test_reviving_leaves_the_reconstructions_as_they_are(images: tf.Tensor) -> None:
    model = tiny()
    open_all(model)
    kill(model, 0)
    before = model(images).numpy()

    assert model.revive_dead_units(images, seed=1) == 1

    np.testing.assert_allclose(model(images), before, atol=1e-6)


def test_where_no_unit_is_dead_nothing_changes(images: tf.Tensor) -> None:
    model = tiny()
    open_all(model)
    before = model.get_weights()

    assert model.revive_dead_units(images, seed=1) == 0

    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_seed_fixes_the_new_weights(images: tf.Tensor) -> None:
    kernels = []
    for seed in (1, 1, 2):
        model = tiny()
        open_all(model)
        kill(model, 1)
        model.revive_dead_units(images, seed=seed)
        kernels.append(model.encoder.get_layer("code").kernel.numpy())

    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])


def test_a_linear_unit_that_is_negative_for_every_image_is_not_dead(images: tf.Tensor) -> None:
    model = tiny(code_activation="linear")
    open_all(model)
    kill(model, 2)
    before = model.get_weights()

    assert model.revive_dead_units(images, seed=1) == 0

    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
