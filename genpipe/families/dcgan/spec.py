"""The DCGAN: its settings, and what sets it apart from the other families."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from genpipe.families.spec import (
    BATCH_SIZES,
    LEARNING_RATES,
    STEPS,
    Curve,
    FamilySpec,
    ImageShape,
    Settings,
    number,
)

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, kw_only=True)
class DCGANSettings(Settings):
    """A step is two updates of the discriminator, on a batch each, and one of the generator."""

    steps: int = number(
        1100, STEPS, "training steps, each on a batch of real and one of generated images"
    )
    batch_size: int = number(32, BATCH_SIZES, "images in a batch")
    learning_rate: float = number(2e-4, LEARNING_RATES, "Adam's learning rate")
    gen_interval: int = number(250, STEPS, "log a grid of samples every this many steps")


def build(settings: DCGANSettings, image_shape: ImageShape) -> keras.Model:
    """The untrained model."""
    from genpipe.families.dcgan.model import DCGAN

    return DCGAN(settings, image_shape)


FAMILY = FamilySpec(
    name="dcgan",
    label="DCGAN",
    purpose="samples from N(0, I)",
    settings=DCGANSettings,
    build=build,
    decoder="generator",
    discriminator="discriminator",
    follows_prior=True,
    rescaling="symmetric",
    budget="steps",
    curves=(
        Curve("discriminator_loss", "discriminator loss"),
        Curve("generator_loss", "generator loss", dashed=True),
    ),
    headline="generator_loss",
    deciding=("validation_frechet_distance", "classes_covered", "largest_class_share"),
    shown=("frechet_distance", "classes_covered", "largest_class_share"),
    compared_by="frechet_distance",
    training_deviation=0.170,
    # Keras-GAN's own.
    full={"steps": 4000, "gen_interval": 200},
    # Two binary cross-entropies, each at most 16.1.
    loss_limit=lambda settings: 33.0,
    # Measured on CPUs: XLA makes the dense models 2 times faster, the DCGAN slower.
    compiled_on_cpus=False,
    operations_side_by_side=True,
)
