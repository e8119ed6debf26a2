"""The three trainings as people write them in JAX: plain functions and optax.

An epoch of a dense model is one jitted call: a permutation, and ``lax.scan`` over its batches. Of
the DCGAN a step is one: on a CPU, XLA's convolutions take 30 times as long within a scan. Layers,
sizes, initial values, losses, Adam and the fall of its learning rate are those of
``components.train``; images stay uint8 until a batch is drawn. Nothing of ours is imported.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax, random

Train = Callable[[], dict[str, float]]
Parameters = dict[str, Any]
HIDDEN = 512
PIXELS = 784
EPOCHS = 11
LAST_DECAY = 0.05
MOMENTUM, EPSILON = 0.8, 1e-3
WINDOW = ("NHWC", "HWIO", "NHWC")


def layer(key: jax.Array, *shape: int) -> Parameters:
    """A kernel, Glorot uniform, and its bias."""
    return {
        "kernel": jax.nn.initializers.glorot_uniform()(key, shape),
        "bias": jnp.zeros(shape[-1]),
    }


def dense(parameters: Parameters, x: jax.Array) -> jax.Array:
    return x @ parameters["kernel"] + parameters["bias"]


def falling(learning_rate: float, steps_per_epoch: int) -> optax.Schedule:
    """Half a cosine over the epochs, from the whole rate to a twentieth."""

    def rate(step: jax.Array) -> jax.Array:
        share = jnp.minimum(step // steps_per_epoch / (EPOCHS - 1), 1)
        return learning_rate * (1 - (1 - LAST_DECAY) * (1 - jnp.cos(math.pi * share)) / 2)

    return rate


def fit(
    loss_of: Callable[[Parameters, jax.Array, jax.Array], tuple[jax.Array, dict[str, jax.Array]]],
    parameters: Parameters,
    images: np.ndarray,
    batch_size: int,
    learning_rate: float,
) -> Train:
    """One epoch of a dense model, which returns its mean losses."""
    steps = len(images) // batch_size
    adam = optax.adam(falling(learning_rate, steps), eps=1e-7)
    pixels = jnp.asarray(images.reshape(len(images), PIXELS))

    @jax.jit
    def epoch(state: Any, key: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
        order_key, noise_key = random.split(key)
        order = random.permutation(order_key, len(pixels))[: steps * batch_size]

        def step(state: Any, given: Any) -> tuple[Any, dict[str, jax.Array]]:
            (parameters, moments), (rows, key) = state, given
            batch = pixels[rows].astype(jnp.float32) / 255
            slopes, losses = jax.grad(loss_of, has_aux=True)(parameters, batch, key)
            updates, moments = adam.update(slopes, moments)
            return (optax.apply_updates(parameters, updates), moments), losses

        rows = order.reshape(steps, batch_size)
        state, losses = lax.scan(step, state, (rows, random.split(noise_key, steps)))
        return state, jax.tree.map(jnp.mean, losses)

    state, key = (parameters, adam.init(parameters)), random.key(1)

    def train() -> dict[str, float]:
        nonlocal state, key
        key, own = random.split(key)
        state, losses = epoch(state, own)
        return {name: float(loss) for name, loss in losses.items()}

    return train


def decode(parameters: Parameters, code: jax.Array) -> jax.Array:
    hidden = jax.nn.relu(dense(parameters["decoder_hidden"], code))
    return jax.nn.sigmoid(dense(parameters["pixels"], hidden))


def autoencoder(
    images: np.ndarray, latent_size: int, batch_size: int, learning_rate: float
) -> Train:
    """One epoch of the autoencoder over (n, 28, 28, 1) uint8 images."""
    keys = random.split(random.key(0), 4)
    parameters = {
        "encoder_hidden": layer(keys[0], PIXELS, HIDDEN),
        "code": layer(keys[1], HIDDEN, latent_size),
        "decoder_hidden": layer(keys[2], latent_size, HIDDEN),
        "pixels": layer(keys[3], HIDDEN, PIXELS),
    }

    def loss_of(
        parameters: Parameters, batch: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        hidden = jax.nn.relu(dense(parameters["encoder_hidden"], batch))
        decoded = decode(parameters, jax.nn.relu(dense(parameters["code"], hidden)))
        loss = jnp.mean((decoded - batch) ** 2)
        return loss, {"loss": loss}

    return fit(loss_of, parameters, images, batch_size, learning_rate)


def vae(images: np.ndarray, latent_size: int, batch_size: int, learning_rate: float) -> Train:
    """One epoch of the VAE over (n, 28, 28, 1) uint8 images."""
    keys = random.split(random.key(0), 5)
    parameters = {
        "encoder_hidden": layer(keys[0], PIXELS, HIDDEN),
        "mean": layer(keys[1], HIDDEN, latent_size),
        "log_var": layer(keys[2], HIDDEN, latent_size),
        "decoder_hidden": layer(keys[3], latent_size, HIDDEN),
        "pixels": layer(keys[4], HIDDEN, PIXELS),
    }

    def loss_of(
        parameters: Parameters, batch: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        hidden = jax.nn.relu(dense(parameters["encoder_hidden"], batch))
        mean, log_var = dense(parameters["mean"], hidden), dense(parameters["log_var"], hidden)
        noise = random.normal(key, mean.shape)
        decoded = decode(parameters, mean + jnp.exp(0.5 * log_var) * noise)
        reconstruction = PIXELS * jnp.mean((decoded - batch) ** 2)
        terms = 1 + log_var - mean**2 - jnp.exp(log_var)
        divergence = jnp.mean(-0.5 * jnp.sum(terms, axis=1))
        loss = reconstruction + divergence
        return loss, {
            "loss": loss,
            "reconstruction_loss": reconstruction,
            "kl_divergence": divergence,
        }

    return fit(loss_of, parameters, images, batch_size, learning_rate)


def convolve(parameters: Parameters, x: jax.Array, stride: int = 1) -> jax.Array:
    """A 3x3 convolution with padding "same" of (batch, height, width, channels)."""
    strides = (stride, stride)
    products = lax.conv_general_dilated(
        x, parameters["kernel"], strides, "SAME", dimension_numbers=WINDOW
    )
    return products + parameters["bias"]


def upsample(x: jax.Array) -> jax.Array:
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


def normalised(channels: int) -> tuple[Parameters, Parameters]:
    """What batch normalisation learns, and its moving averages."""
    learned = {"gamma": jnp.ones(channels), "beta": jnp.zeros(channels)}
    return learned, {"mean": jnp.zeros(channels), "variance": jnp.ones(channels)}


def normalise(
    parameters: Parameters, averages: Parameters, x: jax.Array, by_batch: bool
) -> tuple[jax.Array, Parameters]:
    """Batch normalisation; returns the moving averages too, moved on if by the batch."""
    if by_batch:
        mean, variance = jnp.mean(x, (0, 1, 2)), jnp.var(x, (0, 1, 2))
        now = {"mean": mean, "variance": variance}
        moved = jax.tree.map(lambda old, new: MOMENTUM * old + (1 - MOMENTUM) * new, averages, now)
    else:
        mean, variance, moved = averages["mean"], averages["variance"], averages
    scale = parameters["gamma"] * lax.rsqrt(variance + EPSILON)
    return (x - mean) * scale + parameters["beta"], moved


def drop(key: jax.Array, x: jax.Array, rate: float = 0.25) -> jax.Array:
    return jnp.where(random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)


def new_generator(key: jax.Array, latent_size: int) -> tuple[Parameters, Parameters]:
    """Keras-GAN's: what it learns, and its moving averages."""
    keys = random.split(key, 4)
    parameters = {"dense": layer(keys[0], latent_size, 7 * 7 * 128)}
    averages = {}
    for number, (inputs, filters) in enumerate(((128, 128), (128, 64)), 1):
        parameters[f"convolution_{number}"] = layer(keys[number], 3, 3, inputs, filters)
        name = f"normalisation_{number}"
        parameters[name], averages[name] = normalised(filters)
    parameters["pixels"] = layer(keys[3], 3, 3, 64, 1)
    return parameters, averages


def generate(
    parameters: Parameters, averages: Parameters, noise: jax.Array, by_batch: bool
) -> tuple[jax.Array, Parameters]:
    """(batch, latent_size) noise to (batch, 28, 28, 1) images, and the moving averages."""
    x = jax.nn.relu(dense(parameters["dense"], noise)).reshape(-1, 7, 7, 128)
    moved = {}
    for number in (1, 2):
        name = f"normalisation_{number}"
        x = convolve(parameters[f"convolution_{number}"], upsample(x))
        x, moved[name] = normalise(parameters[name], averages[name], x, by_batch)
        x = jax.nn.relu(x)
    return jnp.tanh(convolve(parameters["pixels"], x)), moved


def new_discriminator(key: jax.Array) -> tuple[Parameters, Parameters]:
    """Keras-GAN's: what it learns, and its moving averages."""
    keys = random.split(key, 5)
    parameters, averages = {}, {}
    for number, (inputs, filters) in enumerate(((1, 32), (32, 64), (64, 128), (128, 256))):
        parameters[f"convolution_{number}"] = layer(keys[number], 3, 3, inputs, filters)
        if number > 0:
            name = f"normalisation_{number}"
            parameters[name], averages[name] = normalised(filters)
    parameters["validity"] = layer(keys[4], 4 * 4 * 256, 1)
    return parameters, averages


def judge(
    parameters: Parameters, averages: Parameters, x: jax.Array, key: jax.Array
) -> tuple[jax.Array, Parameters]:
    """(batch, 28, 28, 1) images to (batch, 1) logits in training, and the moving averages."""
    moved = {}
    for number, stride in enumerate((2, 2, 2, 1)):
        x = convolve(parameters[f"convolution_{number}"], x, stride)
        if number == 1:
            x = jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
        if number > 0:
            name = f"normalisation_{number}"
            x, moved[name] = normalise(parameters[name], averages[name], x, by_batch=True)
        x = drop(random.fold_in(key, number), jax.nn.leaky_relu(x, 0.2))
    return dense(parameters["validity"], x.reshape(len(x), -1)), moved


def dcgan(
    images: np.ndarray, latent_size: int, batch_size: int, learning_rate: float, steps: int
) -> Train:
    """``steps`` steps of Keras-GAN over (n, 28, 28, 1) uint8 images."""
    adam = optax.adam(learning_rate, b1=0.5, eps=1e-7)
    pixels = jnp.asarray(images)
    generator_key, discriminator_key, key = random.split(random.key(0), 3)
    generator, generator_averages = new_generator(generator_key, latent_size)
    discriminator, discriminator_averages = new_discriminator(discriminator_key)
    state = {
        "generator": generator,
        "generator_averages": generator_averages,
        "generator_moments": adam.init(generator),
        "discriminator": discriminator,
        "discriminator_averages": discriminator_averages,
        "discriminator_moments": adam.init(discriminator),
    }

    def learn(name: str, state: Any, slopes: Parameters) -> Any:
        updates, moments = adam.update(slopes, state[f"{name}_moments"])
        learned = optax.apply_updates(state[name], updates)
        return {**state, name: learned, f"{name}_moments": moments}

    def teach(state: Any, shown: jax.Array, right: float, key: jax.Array) -> tuple[Any, jax.Array]:
        """An update of the discriminator, by images all real (1) or all generated (0)."""

        def loss_of(parameters: Parameters) -> tuple[jax.Array, Parameters]:
            logits, moved = judge(parameters, state["discriminator_averages"], shown, key)
            truth = jnp.full(logits.shape, right)
            return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, truth)), moved

        loss_and_slopes = jax.value_and_grad(loss_of, has_aux=True)
        (loss, moved), slopes = loss_and_slopes(state["discriminator"])
        return learn("discriminator", {**state, "discriminator_averages": moved}, slopes), loss

    @partial(jax.jit, donate_argnums=0)
    def step(state: Any, rows: jax.Array, key: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
        keys = random.split(key, 4)
        real = (pixels[rows].astype(jnp.float32) - 127.5) / 127.5
        noise = random.normal(keys[0], (batch_size, latent_size))
        state, on_real = teach(state, real, 1.0, keys[1])
        generated, _ = generate(
            state["generator"], state["generator_averages"], noise, by_batch=False
        )
        state, on_generated = teach(state, generated, 0.0, keys[2])

        def loss_of(parameters: Parameters) -> tuple[jax.Array, Parameters]:
            made, moved = generate(parameters, state["generator_averages"], noise, by_batch=True)
            averages = state["discriminator_averages"]
            logits, _ = judge(state["discriminator"], averages, made, keys[3])
            truth = jnp.ones(logits.shape)
            return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, truth)), moved

        (loss, moved), slopes = jax.value_and_grad(loss_of, has_aux=True)(state["generator"])
        state = learn("generator", {**state, "generator_averages": moved}, slopes)
        return state, {
            "discriminator_loss": (on_real + on_generated) / 2,
            "generator_loss": loss,
        }

    def train() -> dict[str, float]:
        nonlocal state, key
        key, order_key, step_key = random.split(key, 3)
        order = random.permutation(order_key, len(pixels))[: steps * batch_size]
        sums: dict[str, Any] = {}
        for rows, own in zip(
            order.reshape(steps, batch_size), random.split(step_key, steps), strict=True
        ):
            state, losses = step(state, rows, own)
            sums = jax.tree.map(jnp.add, sums, losses) if sums else losses
        return {name: float(total) / steps for name, total in sums.items()}

    return train
