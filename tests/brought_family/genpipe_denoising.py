"""A denoising autoencoder (Vincent et al. 2008): pixels are masked, and learned from all the same.

Its networks are the autoencoder's; it reconstructs an image of which a share of the pixels is 0, in
a batch the same ones: to draw them for each image takes a CPU longer than all the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from genpipe.families.autoencoder.spec import AutoencoderSettings
from genpipe.families.spec import FamilySpec, ImageShape, number

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, kw_only=True)
class DenoisingSettings(AutoencoderSettings):
    """Those of the autoencoder, and how much it does not see while it learns."""

    masked_share: float = number(0.25, (0.0, 0.9), "share of the pixels that are set to 0")


def build(settings: DenoisingSettings, image_shape: ImageShape) -> keras.Model:
    """The untrained model."""
    import keras
    import tensorflow as tf

    from genpipe.families.autoencoder.model import Autoencoder

    class DenoisingAutoencoder(Autoencoder):
        def __init__(self) -> None:
            super().__init__(settings, image_shape)
            self.mask = keras.random.SeedGenerator(settings.seed)

        def losses_of(self, images: tf.Tensor, training: bool = False) -> dict[str, tf.Tensor]:
            seen = images
            if training:
                drawn = keras.random.uniform(images.shape[1:], seed=self.mask)
                seen = images * tf.cast(drawn >= settings.masked_share, images.dtype)
            return {"loss": tf.reduce_mean(tf.square(self(seen, training=training) - images))}

    return DenoisingAutoencoder()


FAMILY = FamilySpec(
    name="denoising",
    label="Denoising autoencoder",
    settings=DenoisingSettings,
    build=build,
    encoder="encoder",
    decoder="decoder",
    follows_prior=False,
    deciding=("validation_mean_squared_error",),
    shown=("mean_squared_error", "pca_mean_squared_error", "dead_units"),
    compared_by="mean_squared_error",
    loss_limit=lambda settings: 1.0,
)
