"""Reconstruction losses of a whole split, and those of PCA as the baseline."""

from __future__ import annotations

import numpy as np

from genpipe.data.dataset import RESCALINGS
from genpipe.principal_components import PrincipalComponents

PIXELS = 28 * 28
# 784 * mse is, up to this constant, the negative log-likelihood of a Gaussian decoder with
# variance 1/2: log N(x; y, I/2) = -|x - y|^2 - 392 log(pi).
LOG_NORMALIZER = PIXELS / 2 * float(np.log(np.pi))


def squared_errors(images: np.ndarray, rebuilt: np.ndarray) -> np.ndarray:
    """Mean over the pixels of each image, both (n, 28, 28, 1) in [0, 1]: (n,) float64."""
    return np.square(images - rebuilt).mean(axis=(1, 2, 3), dtype=np.float64)


def binary_cross_entropy(images: np.ndarray, rebuilt: np.ndarray) -> float:
    """Mean over all pixels in nats, with ``rebuilt`` read as probabilities (clipped as in Keras).

    Both (n, 28, 28, 1) in [0, 1].
    """
    likely = np.clip(rebuilt, 1e-7, 1 - 1e-7)
    losses = images * np.log(likely) + (1 - images) * np.log1p(-likely)
    return float(-losses.mean(dtype=np.float64))


def kl_divergences(z_mean: np.ndarray, z_log_var: np.ndarray) -> np.ndarray:
    """KL(N(z_mean, exp(z_log_var)) || N(0, I)) of each image, in nats: (n,) float64.

    ``z_mean`` and ``z_log_var`` are (n, latent_size).
    """
    terms = 1 + z_log_var - np.square(z_mean) - np.exp(z_log_var)
    return -0.5 * terms.sum(axis=1, dtype=np.float64)


def pixel_components(images: np.ndarray) -> PrincipalComponents:
    """Principal components of the pixels (products in float32, sums in float64).

    Args:
        images: (n, 28, 28, 1) uint8; read in blocks, so a memory map stays one.
    """
    total, products = np.zeros(PIXELS), np.zeros((PIXELS, PIXELS))
    for first in range(0, len(images), 5000):
        block = _rows(images[first : first + 5000])
        total += block.sum(axis=0, dtype=np.float64)
        products += block.T @ block
    mean = total / len(images)
    return PrincipalComponents.of_moments(mean, products / len(images) - np.outer(mean, mean))


def pca_squared_errors(
    components: PrincipalComponents, images: np.ndarray, count: int
) -> np.ndarray:
    """Mean over the pixels of each image rebuilt from its first components: (n,) float64.

    Args:
        components: those of the training images' pixels.
        images: (n, 28, 28, 1) uint8.
        count: how many components rebuild an image.
    """
    centred = _rows(images) - components.mean.astype(np.float32)
    left = centred @ components.directions[:, count:].astype(np.float32)
    errors: np.ndarray = np.square(left).sum(axis=1, dtype=np.float64) / PIXELS
    return errors


def _rows(images: np.ndarray) -> np.ndarray:
    return RESCALINGS["unit"].apply(images).reshape(len(images), PIXELS)
