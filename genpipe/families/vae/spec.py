"""The variational autoencoder: its settings, and what sets it apart from the other families."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from genpipe.families.spec import (
    BATCH_SIZES,
    EPOCHS,
    LEARNING_RATES,
    FamilySpec,
    ImageShape,
    Settings,
    number,
)

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, kw_only=True)
class VAESettings(Settings):
    """Adam on reconstruction loss plus ``beta`` times KL divergence (1: Kingma & Welling 2013)."""

    epochs: int = number(11, EPOCHS, "passes over the training images")
    batch_size: int = number(96, BATCH_SIZES, "images in a batch")
    learning_rate: float = number(
        4e-3,
        LEARNING_RATES,
        "Adam's learning rate in the first epoch, for images as dark as MNIST's (others train "
        "with less: docs/data.md); it falls to a twentieth in the last",
    )
    hidden_size: int = number(512, (1, 65_536), "units in each hidden layer")
    beta: float = number(1.0, (0.0, 1e6), "weight of the KL divergence")


def build(settings: VAESettings, image_shape: ImageShape) -> keras.Model:
    """The untrained model."""
    from genpipe.families.vae.model import VAE

    return VAE(settings, image_shape)


FAMILY = FamilySpec(
    name="vae",
    label="VAE",
    purpose="the likelihood of images",
    settings=VAESettings,
    build=build,
    encoder="encoder",
    decoder="decoder",
    variational=True,
    follows_prior=True,
    deciding=("validation_total_loss",),
    shown=("total_loss", "mean_squared_error", "active_units"),
    compared_by="elbo",
    training_deviation=0.00034,
    # keras.io's variational autoencoder trains for as many.
    full={"epochs": 30},
    # A healthy run stays under pixels * (1 + beta) but for its first steps.
    loss_limit=lambda settings: 1e5 * max(1.0, settings.beta),
)
