"""The autoencoder of the tutorial: 784 - 512 relu - code - 512 relu - 784 sigmoid.

Images come in as (batch, 28, 28, 1) float32 in [0, 1]; codes are (batch, latent_size).
"""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import layers

from genpipe.families.settings import AutoencoderSettings

IMAGE_SHAPE = (28, 28, 1)


def build_encoder(settings: AutoencoderSettings) -> keras.Model:
    """Image to code."""
    images = keras.Input(IMAGE_SHAPE, name="image")
    hidden = layers.Flatten()(images)
    hidden = layers.Dense(settings.hidden_size, activation="relu")(hidden)
    code = layers.Dense(
        settings.latent_size, activation=settings.code_activation, dtype="float32", name="code"
    )
    return keras.Model(images, code(hidden), name="encoder")


def build_decoder(latent_size: int, hidden_size: int) -> keras.Model:
    """Code to image; the VAE's decoder is the same."""
    codes = keras.Input((latent_size,), name="code")
    hidden = layers.Dense(hidden_size, activation="relu")(codes)
    pixels = layers.Dense(28 * 28, activation="sigmoid", dtype="float32")(hidden)
    return keras.Model(codes, layers.Reshape(IMAGE_SHAPE, dtype="float32")(pixels), name="decoder")


class Autoencoder(keras.Model):
    """Encoder and decoder trained together by mean squared error."""

    FIGURES = ("loss",)

    def __init__(self, settings: AutoencoderSettings) -> None:
        super().__init__(name="autoencoder")
        self.encoder = build_encoder(settings)
        self.decoder = build_decoder(settings.latent_size, settings.hidden_size)
        self.compile(optimizer=keras.optimizers.Adam(settings.learning_rate))

    @property
    def parts(self) -> dict[str, keras.Model]:
        """What is saved, by file name."""
        return {"encoder": self.encoder, "decoder": self.decoder}

    @property
    def optimizers(self) -> list[keras.optimizers.Optimizer]:
        """What learns; its state is of the training's, with the model's variables."""
        return [self.optimizer]

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Reconstruct images."""
        return self.decoder(self.encoder(images, training=training), training=training)

    def losses_of(self, images: tf.Tensor, training: bool = False) -> dict[str, tf.Tensor]:
        """``loss``: the mean squared error over all pixels of the batch."""
        errors = tf.square(self(images, training=training) - images)
        return {"loss": tf.reduce_mean(errors)}

    def train_step(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """One Adam update on one batch."""
        with tf.GradientTape() as tape:
            losses = self.losses_of(images, training=True)
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(losses["loss"], weights), weights)
        return losses

    def test_step(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """The losses of one batch, nothing learned."""
        return self.losses_of(images)

    def revive_dead_units(self, images: tf.Tensor, seed: int) -> int:
        """Give code units that are 0 for every image new weights, and count them.

        A relu unit whose input is negative for all images has no gradient and stays dead. Its
        incoming weights are drawn anew (the initializer's distribution) with their sign chosen
        so that the unit answers to the average image; its outgoing weights start at 0, so that
        the decoder learns to use it before any gradient can push it back to death.

        Args:
            images: (n, 28, 28, 1) float32 in [0, 1], enough to tell dead from rare.
            seed: of the new weights.
        """
        dead = tf.reduce_all(self.encoder(images) == 0, axis=0)
        count = int(tf.reduce_sum(tf.cast(dead, tf.int32)))
        if count == 0:
            return 0
        code = self.encoder.get_layer("code")
        inputs = tf.cast(keras.Model(self.encoder.input, code.input)(images), tf.float32)
        draw = keras.initializers.GlorotUniform(seed=seed)
        fresh = draw(code.kernel.shape)
        fresh *= tf.sign(tf.tensordot(tf.reduce_mean(inputs, axis=0), fresh, 1))
        code.kernel.assign(tf.where(dead, fresh, code.kernel))
        code.bias.assign(tf.where(dead, tf.zeros_like(code.bias), code.bias))
        outgoing = self.decoder.layers[1].kernel
        outgoing.assign(tf.where(dead[:, None], tf.zeros_like(outgoing), outgoing))
        return count
