"""Reconstruction losses of a whole split, and those of PCA as the baseline."""

from __future__ import annotations

import math

import numpy as np

from genpipe.data.dataset import RESCALINGS
from genpipe.principal_components import PrincipalComponents

MOST_PIXELS = 3072
FEW_IMAGES = 3000


def log_normalizer(images: np.ndarray) -> float:
    """What ``pixels * mse`` of an image lacks to a negative log-likelihood, in nats.

    That of a Gaussian decoder of variance 1/2: log N(x; y, I/2) = -|x - y|^2 - pixels/2 log(pi).

    Args:
        images: (n, ...), of which the number of pixels is taken.
    """
    return math.prod(images.shape[1:]) / 2 * math.log(math.pi)


def squared_errors(images: np.ndarray, rebuilt: np.ndarray) -> np.ndarray:
    """Mean over the pixels of each image, both (n, ...) in [0, 1]: (n,) float64."""
    return np.square(images - rebuilt).reshape(len(images), -1).mean(axis=1, dtype=np.float64)


def binary_cross_entropy(images: np.ndarray, rebuilt: np.ndarray) -> float:
    """Mean over all pixels in nats, with ``rebuilt`` read as probabilities (clipped as in Keras).

    Both of one shape, in [0, 1].
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


def are_few(images: np.ndarray) -> bool:
    """Whether (n, ...) images are to be taken one by one: their covariance costs more.

    It is too large for the memory, or has fewer images than rows.
    """
    pixels = math.prod(images.shape[1:])
    return pixels > MOST_PIXELS or len(images) < min(pixels, FEW_IMAGES)


def pixel_components(images: np.ndarray) -> PrincipalComponents:
    """Principal components of the pixels (products in float32, sums in float64).

    Of images with more than 3,072 values a covariance would fill the memory: the components then
    are those of the first 3,000 images, as many as there are images. Up to 3,000 images with more
    values than that have no more components either: they are found without a covariance.

    Args:
        images: (n, height, width, channels) uint8; read in blocks, so a memory map stays one.
    """
    pixels = math.prod(images.shape[1:])
    if are_few(images):
        return PrincipalComponents.of_few(_rows(np.asarray(images[:FEW_IMAGES])))
    total, products = np.zeros(pixels), np.zeros((pixels, pixels))
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
        images: (n, height, width, channels) uint8.
        count: how many components rebuild an image.
    """
    centred = _rows(images) - components.mean.astype(np.float32)
    kept = components.directions[:, :count].astype(np.float32)
    left = centred - centred @ kept @ kept.T
    errors: np.ndarray = np.square(left).sum(axis=1, dtype=np.float64) / centred.shape[1]
    return errors


def _rows(images: np.ndarray) -> np.ndarray:
    return RESCALINGS["unit"].apply(images).reshape(len(images), -1)
