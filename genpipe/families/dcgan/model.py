"""The DCGAN of Keras-GAN (after Radford et al. 2015).

Images are (batch, height, width, channels) float32 in [-1, 1]; noise is (batch, latent_size) from
N(0, I).
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import layers

from genpipe.families.dcgan.spec import DCGANSettings
from genpipe.families.layers import (
    ByteDropout,
    FusedAdam,
    FusedBatchNormalization,
    OneChannelConv2D,
    UpsampledConv2D,
)
from genpipe.families.spec import ImageShape


def build_generator(latent_size: int, image_shape: ImageShape) -> keras.Model:
    """Noise to image; height and width are multiples of 4."""
    height, width, channels = image_shape
    noise = keras.Input((latent_size,), name="noise")
    x = layers.Dense(128 * (height // 4) * (width // 4), activation="relu")(noise)
    x = layers.Reshape((height // 4, width // 4, 128))(x)
    for filters in (128, 64):
        x = UpsampledConv2D(filters)(x)
        x = FusedBatchNormalization(momentum=0.8)(x)
        x = layers.ReLU()(x)
    output: dict[str, Any] = {"activation": "tanh", "dtype": "float32"}
    last = (
        OneChannelConv2D(**output)
        if channels == 1
        else layers.Conv2D(channels, 3, padding="same", **output)
    )
    return keras.Model(noise, last(x), name="generator")


def build_discriminator(image_shape: ImageShape, seed: int) -> keras.Model:
    """Image to the probability that it is real."""
    images = keras.Input(image_shape, name="image")
    x = images
    for filters, stride in ((32, 2), (64, 2), (128, 2), (256, 1)):
        x = layers.Conv2D(filters, 3, strides=stride, padding="same")(x)
        if filters == 64:
            x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
        if filters > 32:
            x = FusedBatchNormalization(momentum=0.8)(x)
        x = layers.LeakyReLU(negative_slope=0.2)(x)
        x = ByteDropout(0.25, seed=seed + filters)(x)
    validity = layers.Dense(1, activation="sigmoid", dtype="float32")(layers.Flatten()(x))
    return keras.Model(images, validity, name="discriminator")


def cross_entropy(probability: tf.Tensor) -> tf.Tensor:
    """Mean binary cross-entropy of what should be 1, in nats, at most 16.1 as in Keras.

    The gradient of Keras's own form is a sum of four, which TensorFlow adds up in the order they
    come in: with operations side by side, each run of the same seed had other bits.
    """
    return -tf.reduce_mean(tf.math.log(tf.maximum(probability, keras.config.epsilon())))


class DCGAN(keras.Model):
    """Generator and discriminator, each with its own Adam(2e-4, beta_1 0.5)."""

    METRICS = ("loss", "discriminator_loss", "generator_loss", "discriminator_accuracy")

    def __init__(self, settings: DCGANSettings, image_shape: ImageShape) -> None:
        super().__init__(name="dcgan")
        self.latent_size = settings.latent_size
        self.generator = build_generator(settings.latent_size, image_shape)
        self.discriminator = build_discriminator(image_shape, settings.seed)
        self.noise = keras.random.SeedGenerator(settings.seed)
        # Up to its first normalisation the generator makes the same of noise in every pass.
        first = next(x for x in self.generator.layers if isinstance(x, FusedBatchNormalization))
        self._before = keras.Model(self.generator.input, first.input)
        self._after = keras.Model(first.input, self.generator.output)
        self.generator_optimizer = FusedAdam(settings.learning_rate, beta_1=0.5)
        self.discriminator_optimizer = FusedAdam(settings.learning_rate, beta_1=0.5)
        # A compiled function can't make the optimizers' variables.
        self.generator_optimizer.build(self.generator.trainable_variables)
        self.discriminator_optimizer.build(self.discriminator.trainable_variables)

    @property
    def parts(self) -> dict[str, keras.Model]:
        """What is saved, by file name."""
        return {"generator": self.generator, "discriminator": self.discriminator}

    @property
    def optimizers(self) -> list[keras.optimizers.Optimizer]:
        """What learns; its state is of the training's, with the model's variables."""
        return [self.generator_optimizer, self.discriminator_optimizer]

    def call(self, noise: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Generate images from noise."""
        return self.generator(noise, training=training)

    def draw_noise(self, count: tf.Tensor) -> tf.Tensor:
        """(count, latent_size) from N(0, I), from the model's own generator of random numbers."""
        return keras.random.normal((count, self.latent_size), seed=self.noise)

    def train_step(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """One step of Keras-GAN: three updates, of which the last two are by the same noise.

        The discriminator learns from real images, then from generated ones, then the generator
        learns. It is as Keras 2.2 ran it, which Keras-GAN names: ``predict`` makes the images that
        the discriminator is shown, so by the generator's moving averages; every other pass
        normalises by its batch, and the discriminator that is frozen in the last keeps its moving
        averages.

        Returns ``discriminator_loss`` (mean of the losses on real and on generated images, each
        before its update), ``discriminator_accuracy`` (share of both classified right at 0.5),
        ``generator_loss``, and ``loss``, the sum of both losses, which is watched for divergence.
        """
        noise = self.draw_noise(tf.shape(images)[0])
        with tf.GradientTape() as tape:
            begun = self._before(noise)
        on_real = self._teach_discriminator(images, real=True)
        generated = self._after(begun, training=False)
        on_generated = self._teach_discriminator(generated, real=False)
        discriminator_loss = 0.5 * (cross_entropy(on_real) + cross_entropy(on_generated))

        self.discriminator.trainable = False
        with tape:
            judged = self.discriminator(self._after(begun, training=True), training=True)
            generator_loss = cross_entropy(judged)
        self.discriminator.trainable = True
        weights = self.generator.trainable_variables
        self.generator_optimizer.apply(tape.gradient(generator_loss, weights), weights)

        right = tf.concat([on_real > 0.5, on_generated >= 0.5], axis=0)
        return {
            "loss": discriminator_loss + generator_loss,
            "discriminator_loss": discriminator_loss,
            "generator_loss": generator_loss,
            "discriminator_accuracy": tf.reduce_mean(tf.cast(right, tf.float32)),
        }

    def _teach_discriminator(self, images: tf.Tensor, *, real: bool) -> tf.Tensor:
        """One update of the discriminator, on images that are all real or all generated.

        Returns the probability of the right answer for each, (batch, 1), before the update.
        """
        with tf.GradientTape() as tape:
            validity = self.discriminator(images, training=True)
            right = validity if real else 1 - validity
            loss = cross_entropy(right)
        weights = self.discriminator.trainable_variables
        self.discriminator_optimizer.apply(tape.gradient(loss, weights), weights)
        return right
