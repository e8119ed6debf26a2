"""The autoencoder: its settings, and what sets it apart from the other families."""

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
    choice,
    number,
)

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, kw_only=True)
class AutoencoderSettings(Settings):
    """Adam on mean squared error, codes from relu or linear units."""

    epochs: int = number(11, EPOCHS, "passes over the training images")
    batch_size: int = number(64, BATCH_SIZES, "images in a batch")
    learning_rate: float = number(
        1.5e-3,
        LEARNING_RATES,
        "Adam's learning rate in the first epoch, for images as dark as MNIST's (others train "
        "with less: docs/data.md); it falls to a twentieth in the last",
    )
    hidden_size: int = number(512, (1, 65_536), "units in each hidden layer")
    code_activation: str = choice("relu", ("relu", "linear"), "activation of the code")


def build(settings: AutoencoderSettings, image_shape: ImageShape) -> keras.Model:
    """The untrained model."""
    from genpipe.families.autoencoder.model import Autoencoder

    return Autoencoder(settings, image_shape)


FAMILY = FamilySpec(
    name="autoencoder",
    label="Autoencoder",
    purpose="reconstruction",
    settings=AutoencoderSettings,
    build=build,
    encoder="encoder",
    decoder="decoder",
    follows_prior=False,
    deciding=("validation_mean_squared_error",),
    shown=("mean_squared_error", "pca_mean_squared_error", "dead_units"),
    compared_by="mean_squared_error",
    training_deviation=0.030,
    # Chollet's "Building autoencoders in Keras" trains for as many.
    full={"epochs": 50},
    # Mean squared errors of [0, 1] pixels stay under 1.
    loss_limit=lambda settings: 1.0,
)
