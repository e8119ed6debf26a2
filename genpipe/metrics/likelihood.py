"""How likely a VAE makes the test images: bounds of log p(x) that are tighter than the ELBO.

Burda et al. 2015, "Importance weighted autoencoders": with k codes for each image,
``L_k = E log 1/k sum_i p(x, z_i) / q(z_i | x)`` (their equation 8) lies below log p(x), rises with
k, and is the ELBO at k = 1. Their evaluation takes k = 5000; at 50 it costs seconds.

The pixels' likelihood is the Gaussian of variance 1/2 that ``pixels * mse`` stands for, of
real-valued pixels: values in papers are of binarized images and a Bernoulli decoder, and do not
compare.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from genpipe.metrics.reconstruction import log_normalizer

IMPORTANCE_SAMPLES = 50
BLOCK = 200  # images at a time: 10,000 decoded ones, 31 MB


def importance_weighted_bounds(
    decode: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    z_mean: np.ndarray,
    z_log_var: np.ndarray,
    *,
    samples: int = IMPORTANCE_SAMPLES,
    seed: int = 0,
) -> np.ndarray:
    """Lower bounds of log p(x), one an image, in nats: (n,) float64.

    Args:
        decode: codes, (m, latent_size) float32, to (m, height, width, channels) images in
            [0, 1].
        images: (n, height, width, channels) in [0, 1].
        z_mean: (n, latent_size), of q(z | x).
        z_log_var: (n, latent_size), of q(z | x).
        samples: k, codes drawn for each image.
        seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    bounds = np.empty(len(images))
    for first in range(0, len(images), BLOCK):
        rows = slice(first, first + BLOCK)
        mean, log_var = z_mean[rows, None], z_log_var[rows, None]
        noise = generator.standard_normal((len(mean), samples, mean.shape[2]), np.float32)
        codes = mean + np.exp(log_var / 2) * noise
        decoded = decode(codes.reshape(-1, mean.shape[2])).reshape(len(mean), samples, -1)
        decoded -= images[rows].reshape(len(mean), 1, -1)
        squares = np.einsum("nkp,nkp->nk", decoded, decoded)
        likelihood = -squares - log_normalizer(images)
        # log p(z) - log q(z | x); the factors of 2 pi cancel.
        ratio = (np.square(noise) + log_var - np.square(codes)).sum(axis=2) / 2
        bounds[rows] = _log_mean_exp((likelihood + ratio).astype(np.float64))
    return bounds


def _log_mean_exp(values: np.ndarray) -> np.ndarray:
    """Over the last axis, without overflow."""
    largest = values.max(axis=-1, keepdims=True)
    logarithm: np.ndarray = np.log(np.exp(values - largest).mean(axis=-1)) + largest[..., 0]
    return logarithm
