"""What each image costs a model with an encoder: by these two models of a family compare."""

from __future__ import annotations

import math

import numpy as np

from genpipe.data.dataset import RESCALINGS
from genpipe.metrics import reconstruction
from genpipe.training.saved import SavedModel


def reconstruct(
    saved: SavedModel, pixels: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """What a model with an encoder makes of (n, height, width, channels) uint8 images.

    Returns:
        Codes, (n, latent_size), of a variational family the means; the logarithms of its variances,
        of others None; and the reconstructions from these codes, in [0, 1].
    """
    family = saved.cell.family
    encoded = saved.run(family.encoder, saved.rescaling.apply(pixels))
    codes, log_var = encoded if family.variational else (encoded, None)
    return codes, log_var, decode(saved, codes)


def decode(saved: SavedModel, codes: np.ndarray) -> np.ndarray:
    """(n, height, width, channels) float32 images in [0, 1] of (n, latent_size) codes."""
    return saved.rescaling.to_unit(saved.run(saved.cell.family.decoder, codes))


def sampled_losses(
    saved: SavedModel, images: np.ndarray, z_mean: np.ndarray, z_log_var: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The two parts of a VAE's loss of each image, (n,) float64, with sampled codes."""
    noise = np.random.default_rng(seed).standard_normal(z_mean.shape, np.float32)
    rebuilt = decode(saved, z_mean + np.exp(0.5 * z_log_var) * noise)
    losses = math.prod(images.shape[1:]) * reconstruction.squared_errors(images, rebuilt)
    return losses, reconstruction.kl_divergences(z_mean, z_log_var)


def deciding_losses(
    saved: SavedModel, pixels: np.ndarray, seed: int
) -> tuple[dict[str, float], np.ndarray]:
    """What decides between models with an encoder, on the images of a split.

    Args:
        saved: the model.
        pixels: (n, height, width, channels) uint8.
        seed: of sampled codes.

    Returns:
        The means, ``mean_squared_error`` and of a variational family ``total_loss``; and what each
        image costs, (n,): the squared error, or the negative ELBO.
    """
    images = RESCALINGS["unit"].apply(pixels)
    codes, log_var, rebuilt = reconstruct(saved, pixels)
    losses = reconstruction.squared_errors(images, rebuilt)
    means = {"mean_squared_error": float(losses.mean())}
    if log_var is not None:
        losses = np.add(*sampled_losses(saved, images, codes, log_var, seed))
        means["total_loss"] = float(losses.mean())
        losses = losses + reconstruction.log_normalizer(images)
    return means, losses
