"""The three trainings as people write them in Keras, to measure ours against.

The autoencoder as in the tutorial (``compile`` and ``fit``), the VAE as in Keras's own example (a
``train_step`` and ``fit``), the DCGAN as in Keras-GAN (``train_on_batch`` of the discriminator on
real and on generated images, then of the generator). Layers, sizes and optimizers are those of
``components.train``; nothing is imported from there.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import layers

Train = Callable[[], None]


def autoencoder(images: np.ndarray, latent_size: int, batch_size: int) -> Train:
    """One epoch of the autoencoder over (n, 28, 28, 1) float32 images in [0, 1]."""
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Flatten(),
            layers.Dense(512, activation="relu"),
            layers.Dense(latent_size, activation="relu"),
            layers.Dense(512, activation="relu"),
            layers.Dense(784, activation="sigmoid"),
            layers.Reshape((28, 28, 1)),
        ]
    )
    model.compile(optimizer="adam", loss="mse")
    return lambda: model.fit(images, images, batch_size=batch_size, epochs=1, verbose=0)


class VAE(keras.Model):
    """As in Keras's example, with dense layers."""

    def __init__(self, latent_size: int) -> None:
        super().__init__()
        self.hidden = keras.Sequential([layers.Flatten(), layers.Dense(512, activation="relu")])
        self.z_mean, self.z_log_var = layers.Dense(latent_size), layers.Dense(latent_size)
        self.decoder = keras.Sequential(
            [
                layers.Dense(512, activation="relu"),
                layers.Dense(784, activation="sigmoid"),
                layers.Reshape((28, 28, 1)),
            ]
        )
        self.seed = keras.random.SeedGenerator(0)

    def train_step(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """One update."""
        with tf.GradientTape() as tape:
            hidden = self.hidden(images)
            mean, log_var = self.z_mean(hidden), self.z_log_var(hidden)
            noise = keras.random.normal(keras.ops.shape(mean), seed=self.seed)
            decoded = self.decoder(mean + keras.ops.exp(0.5 * log_var) * noise)
            kl = -0.5 * keras.ops.sum(1 + log_var - mean**2 - keras.ops.exp(log_var), axis=1)
            loss = 784 * keras.ops.mean((decoded - images) ** 2) + keras.ops.mean(kl)
        weights = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return {"loss": loss}


def vae(images: np.ndarray, latent_size: int, batch_size: int) -> Train:
    """One epoch of the VAE over (n, 28, 28, 1) float32 images in [0, 1]."""
    model = VAE(latent_size)
    model.compile(optimizer="adam")
    return lambda: model.fit(images, batch_size=batch_size, epochs=1, verbose=0)


def generator(latent_size: int) -> keras.Model:
    """Keras-GAN's, upsampling and convolving."""
    network = keras.Sequential([keras.Input((latent_size,))])
    network.add(layers.Dense(128 * 7 * 7, activation="relu"))
    network.add(layers.Reshape((7, 7, 128)))
    for filters in (128, 64):
        network.add(layers.UpSampling2D())
        network.add(layers.Conv2D(filters, 3, padding="same"))
        network.add(layers.BatchNormalization(momentum=0.8))
        network.add(layers.ReLU())
    network.add(layers.Conv2D(1, 3, padding="same", activation="tanh"))
    return network


def discriminator() -> keras.Model:
    """Keras-GAN's."""
    network = keras.Sequential([keras.Input((28, 28, 1))])
    for filters, stride in ((32, 2), (64, 2), (128, 2), (256, 1)):
        network.add(layers.Conv2D(filters, 3, strides=stride, padding="same"))
        if filters == 64:
            network.add(layers.ZeroPadding2D(((0, 1), (0, 1))))
        if filters > 32:
            network.add(layers.BatchNormalization(momentum=0.8))
        network.add(layers.LeakyReLU(negative_slope=0.2))
        network.add(layers.Dropout(0.25))
    network.add(layers.Flatten())
    network.add(layers.Dense(1, activation="sigmoid"))
    return network


def dcgan(images: np.ndarray, latent_size: int, batch_size: int, steps: int) -> Train:
    """``steps`` steps of Keras-GAN's loop over (n, 28, 28, 1) float32 images in [-1, 1]."""

    def adam() -> keras.optimizers.Adam:
        return keras.optimizers.Adam(2e-4, beta_1=0.5)

    judged = discriminator()
    judged.compile(adam(), "binary_crossentropy", metrics=["accuracy"])
    made = generator(latent_size)
    noise_in = keras.Input((latent_size,))
    # A copy with weights of its own: the same work, and Keras 3 won't share a frozen one.
    frozen = keras.models.clone_model(judged)
    frozen.trainable = False
    combined = keras.Model(noise_in, frozen(made(noise_in)))
    combined.compile(adam(), "binary_crossentropy")
    ones, zeros = np.ones((batch_size, 1)), np.zeros((batch_size, 1))
    draw = np.random.default_rng(0)

    def train() -> None:
        for _ in range(steps):
            real = images[draw.integers(0, len(images), batch_size)]
            noise = draw.standard_normal((batch_size, latent_size), np.float32)
            generated = made.predict(noise, verbose=0)
            judged.train_on_batch(real, ones)
            judged.train_on_batch(generated, zeros)
            combined.train_on_batch(noise, ones)

    return train
