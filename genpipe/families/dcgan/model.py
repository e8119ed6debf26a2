"""The DCGAN of Keras-GAN (after Radford et al. 2015).

Images are (batch, 28, 28, 1) float32 in [-1, 1]; noise is (batch, latent_size) from N(0, I).
"""

from __future__ import annotations

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


def build_generator(latent_size: int) -> keras.Model:
    """Noise to image."""
    noise = keras.Input((latent_size,), name="noise")
    x = layers.Dense(128 * 7 * 7, activation="relu")(noise)
    x = layers.Reshape((7, 7, 128))(x)
    x = FusedBatchNormalization(momentum=0.8)(x)
    x = UpsampledConv2D(128, activation="relu")(x)
    x = FusedBatchNormalization(momentum=0.8)(x)
    x = UpsampledConv2D(64, activation="relu")(x)
    x = FusedBatchNormalization(momentum=0.8)(x)
    images = OneChannelConv2D(activation="tanh", dtype="float32")(x)
    return keras.Model(noise, images, name="generator")


def build_discriminator(seed: int) -> keras.Model:
    """Image to the probability that it is real."""
    images = keras.Input((28, 28, 1), name="image")
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

    def __init__(self, settings: DCGANSettings) -> None:
        super().__init__(name="dcgan")
        self.latent_size = settings.latent_size
        self.share_generator_pass = settings.share_generator_pass
        self.generator = build_generator(settings.latent_size)
        self.discriminator = build_discriminator(settings.seed)
        self.noise = keras.random.SeedGenerator(settings.seed)
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

    def generate(self, count: tf.Tensor) -> tuple[tf.Tensor, tf.GradientTape]:
        """``count`` images from fresh noise, and the tape of their making, to learn from."""
        noise = self.draw_noise(count)
        with tf.GradientTape() as tape:
            return self.generator(noise, training=True), tape

    def train_step(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """One step of Keras-GAN: the discriminator on real and generated, then the generator.

        The generator learns from images of its own, or with ``share_generator_pass`` from those
        that the discriminator was shown.

        Returns ``discriminator_loss`` (mean of the losses on real and on generated images),
        ``discriminator_accuracy`` (share of both classified right at 0.5), ``generator_loss``, and
        ``loss``, their sum, which is watched for divergence.
        """
        batch = tf.shape(images)[0]
        generated, generation = self.generate(batch)
        with tf.GradientTape() as tape:
            on_real = self.discriminator(images, training=True)
            on_generated = self.discriminator(generated, training=True)
            discriminator_loss = 0.5 * (cross_entropy(on_real) + cross_entropy(1 - on_generated))
        weights = self.discriminator.trainable_variables
        gradients = tape.gradient(discriminator_loss, weights)
        self.discriminator_optimizer.apply(gradients, weights)

        if not self.share_generator_pass:
            generated, generation = self.generate(batch)
        with generation:
            judged = self.discriminator(generated, training=True)
            generator_loss = cross_entropy(judged)
        weights = self.generator.trainable_variables
        self.generator_optimizer.apply(generation.gradient(generator_loss, weights), weights)

        right = tf.concat([on_real > 0.5, on_generated <= 0.5], axis=0)
        return {
            "loss": discriminator_loss + generator_loss,
            "discriminator_loss": discriminator_loss,
            "generator_loss": generator_loss,
            "discriminator_accuracy": tf.reduce_mean(tf.cast(right, tf.float32)),
        }
