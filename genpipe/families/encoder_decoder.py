"""What families with an encoder and a decoder share: how they learn, and the dense decoder.

Images come in as (batch, height, width, channels) float32; codes are (batch, latent_size).
"""

from __future__ import annotations

import math

import keras
import tensorflow as tf
from keras import layers

from genpipe.families.spec import ImageShape

# Of an image's pixels in [0, 1]: just above the mean, 102.5.
SUM_OF_MNIST = 105.0


def build_decoder(latent_size: int, hidden_size: int, image_shape: ImageShape) -> keras.Model:
    """Code to image in [0, 1]: code - hidden relu - pixels sigmoid."""
    codes = keras.Input((latent_size,), name="code")
    hidden = layers.Dense(hidden_size, activation="relu")(codes)
    pixels = layers.Dense(math.prod(image_shape), activation="sigmoid", dtype="float32")(hidden)
    return keras.Model(codes, layers.Reshape(image_shape, dtype="float32")(pixels), name="decoder")


class EncoderDecoder(keras.Model):
    """An encoder and a decoder that one Adam trains together, on ``losses_of``.

    Args:
        name: of the model.
        encoder: image to code, or to a list that begins with it.
        decoder: code to image.
        learning_rate: of Adam.
    """

    METRICS: tuple[str, ...] = ("loss",)

    def __init__(
        self, name: str, encoder: keras.Model, decoder: keras.Model, learning_rate: float
    ) -> None:
        super().__init__(name=name)
        self.encoder = encoder
        self.decoder = decoder
        self.compile(optimizer=keras.optimizers.Adam(learning_rate))
        self.optimizer.build(self.trainable_variables)

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
        """What is logged, the scalars of ``METRICS``; ``loss`` is what is learned from."""
        raise NotImplementedError

    def learning_rate_scale(self, pixel_sum: float) -> float:
        """What the learning rate is multiplied by for images larger or brighter than MNIST's.

        A step of Adam moves a unit that sees all pixels by the learning rate times the sum of their
        values. With colour images of 32 x 32, whose sum is 15 times MNIST's, the rates that suit
        MNIST leave an autoencoder at the mean image and let a VAE diverge. 1 up to MNIST's sum;
        beyond it falls with a power between the root, with which a VAE of latent size 100 still
        collapses there, and the sum itself, with which all learn at half the pace.

        Args:
            pixel_sum: the sum of an image's pixels in [0, 1], on average.
        """
        return float((SUM_OF_MNIST / max(pixel_sum, SUM_OF_MNIST)) ** 0.75)

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
