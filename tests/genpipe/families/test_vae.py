from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from genpipe.data.readers.published import IMAGE_SHAPE
from genpipe.families.vae.model import VAE, kl_divergence, reparameterize
from genpipe.families.vae.spec import VAESettings


@pytest.fixture
def images() -> tf.Tensor:
    """Eight images, half black and half white."""
    pixels = np.zeros((8, 28, 28, 1), np.float32)
    for index, image in enumerate(pixels):
        image[index : index + 14] = 1
    return tf.constant(pixels)


def tiny(**options: float) -> VAE:
    keras.utils.set_random_seed(0)
    return VAE(VAESettings(latent_size=3, hidden_size=16, **options), IMAGE_SHAPE)  # type: ignore[arg-type]


def test_the_architecture_is_that_of_the_paper() -> None:
    model = VAE(VAESettings(latent_size=10), IMAGE_SHAPE)

    dense = keras.layers.Dense
    encoder = [layer for layer in model.encoder.layers if isinstance(layer, dense)]
    decoder = [layer for layer in model.decoder.layers if isinstance(layer, dense)]
    assert [(layer.units, layer.activation.__name__) for layer in encoder] == [
        (512, "relu"),
        (10, "linear"),
        (10, "linear"),
    ]
    assert [layer.name for layer in encoder[1:]] == ["z_mean", "z_log_var"]
    assert encoder[1].input is encoder[2].input
    assert [(layer.units, layer.activation.__name__) for layer in decoder] == [
        (512, "relu"),
        (784, "sigmoid"),
    ]
    assert model.encoder.output_names == ["z_mean", "z_log_var"]
    assert model.encoder.input_shape == model.decoder.output_shape == (None, 28, 28, 1)
    assert isinstance(model.optimizer, keras.optimizers.Adam)


def test_the_divergence_of_the_prior_from_itself_is_0() -> None:
    zeros = tf.zeros((4, 7))

    np.testing.assert_array_equal(kl_divergence(zeros, zeros), np.zeros(4))


@pytest.mark.parametrize(
    ("mean", "log_var", "expected"),
    [
        ([1.0], [0.0], 0.5),
        ([0.0], [np.log(4)], 0.5 * (4 - 1 - np.log(4))),
        ([3.0, -4.0], [0.0, 0.0], 12.5),
        ([1.0, 0.0], [0.0, np.log(4)], 0.5 + 0.5 * (4 - 1 - np.log(4))),
    ],
)
def test_the_divergence_by_hand(mean: list[float], log_var: list[float], expected: float) -> None:
    value = kl_divergence(tf.constant([mean]), tf.constant([log_var], tf.float32))

    assert value.numpy() == pytest.approx([expected], rel=1e-6)


@pytest.mark.parametrize(("mean", "log_var"), [(0.3, -1.0), (-1.5, 0.7), (2.0, -4.0)])
def test_the_divergence_is_the_integral_of_q_log_q_over_p(mean: float, log_var: float) -> None:
    deviation = np.exp(0.5 * log_var)
    z = np.linspace(mean - 12 * deviation, mean + 12 * deviation, 200_001)
    log_q = -0.5 * np.square((z - mean) / deviation) - np.log(deviation * np.sqrt(2 * np.pi))
    log_p = -0.5 * np.square(z) - 0.5 * np.log(2 * np.pi)
    integral = np.trapezoid(np.exp(log_q) * (log_q - log_p), z)

    value = kl_divergence(tf.constant([[mean]]), tf.constant([[log_var]]))

    assert value.numpy() == pytest.approx([integral], rel=1e-5)


def test_a_sample_is_mean_plus_deviation_times_noise() -> None:
    sample = reparameterize(tf.constant([1.0]), tf.constant([np.log(9.0)], tf.float32), 2.0)

    assert sample.numpy() == pytest.approx([7.0])


def test_a_sample_is_differentiable_in_mean_and_log_variance() -> None:
    random = np.random.default_rng(0)
    mean, log_var, noise = (
        tf.constant(random.normal(size=(5, 3)).astype(np.float32)) for _ in range(3)
    )
    with tf.GradientTape() as tape:
        tape.watch([mean, log_var])
        sample = reparameterize(mean, log_var, noise)
    by_mean, by_log_var = tape.gradient(sample, [mean, log_var])

    np.testing.assert_array_equal(by_mean, np.ones((5, 3)))
    np.testing.assert_allclose(by_log_var, 0.5 * np.exp(0.5 * log_var.numpy()) * noise, rtol=1e-5)


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_the_loss_is_784_mse_plus_beta_times_the_divergence(images: tf.Tensor, beta: float) -> None:
    model = tiny(beta=beta)

    losses = {name: float(value) for name, value in model.test_step(images).items()}

    assert set(losses) == set(model.METRICS)
    parts = losses["reconstruction_loss"] + beta * losses["kl_divergence"]
    assert losses["loss"] == pytest.approx(parts, rel=1e-6)
    divergence = np.mean(kl_divergence(*model.encoder(images)))
    assert losses["kl_divergence"] == pytest.approx(divergence, rel=1e-5)
    assert losses["kl_divergence"] > 0.01
    # An untrained decoder answers near 0.5, which misses black and white by 0.5 each.
    assert losses["reconstruction_loss"] == pytest.approx(784 * 0.25, rel=0.1)


def test_codes_are_sampled_anew_and_the_seed_fixes_them(images: tf.Tensor) -> None:
    first, again, other = tiny(seed=1), tiny(seed=1), tiny(seed=2)

    drawn = [float(first.test_step(images)["loss"]) for _ in range(2)]
    drawn_again = [float(again.test_step(images)["loss"]) for _ in range(2)]

    assert drawn[0] != drawn[1]
    assert drawn == drawn_again
    assert float(other.test_step(images)["loss"]) != drawn[0]


def test_images_are_rebuilt_from_the_means(images: tf.Tensor) -> None:
    model = tiny()

    np.testing.assert_array_equal(model(images), model.decoder(model.encoder(images)[0]))


def test_a_few_steps_lower_the_loss_and_move_every_weight(images: tf.Tensor) -> None:
    model = tiny()
    before, first = model.get_weights(), float(model.test_step(images)["loss"])

    for _ in range(20):
        losses = model.train_step(images)

    assert float(losses["loss"]) < 0.95 * first
    for old, new in zip(before, model.get_weights(), strict=True):
        assert not np.array_equal(old, new)
