"""The autoencoder of the tutorial: pixels - 512 relu - code - 512 relu - pixels sigmoid.

Images come in as (batch, height, width, channels) float32 in [0, 1]; codes are
(batch, latent_size).
"""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import layers

from genpipe.families.autoencoder.spec import AutoencoderSettings
from genpipe.families.encoder_decoder import EncoderDecoder, build_decoder
from genpipe.families.spec import ImageShape


def build_encoder(settings: AutoencoderSettings, image_shape: ImageShape) -> keras.Model:
    """Image to code."""
    images = keras.Input(image_shape, name="image")
    hidden = layers.Flatten()(images)
    hidden = layers.Dense(settings.hidden_size, activation="relu")(hidden)
    code = layers.Dense(
        settings.latent_size, activation=settings.code_activation, dtype="float32", name="code"
    )
    return keras.Model(images, code(hidden), name="encoder")


class Autoencoder(EncoderDecoder):
    """Encoder and decoder trained together by mean squared error."""

    def __init__(self, settings: AutoencoderSettings, image_shape: ImageShape) -> None:
        encoder = build_encoder(settings, image_shape)
        decoder = build_decoder(settings.latent_size, settings.hidden_size, image_shape)
        super().__init__("autoencoder", encoder, decoder, settings.learning_rate)

    def losses_of(self, images: tf.Tensor, training: bool = False) -> dict[str, tf.Tensor]:
        """``loss``: the mean squared error over all pixels of the batch."""
        errors = tf.square(self(images, training=training) - images)
        return {"loss": tf.reduce_mean(errors)}

    def revive_dead_units(self, images: tf.Tensor, seed: int) -> int:
        """Give code units that are 0 for every image new weights, and count them.

        A relu unit whose input is negative for all images has no gradient and stays dead. Its
        incoming weights are drawn anew (the initializer's distribution) with their sign chosen
        so that the unit answers to the average image; its outgoing weights start at 0, so that
        the decoder learns to use it before any gradient can push it back to death.

        Args:
            images: (n, height, width, channels) float32 in [0, 1], enough to distinguish dead from
                rare.
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
