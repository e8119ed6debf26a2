"""Bring images of any size to the one that a data set has."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from genpipe.errors import InputError, shown

if TYPE_CHECKING:
    from PIL.Image import Image

CHANNELS = (1, 3)
SIZE = re.compile(r"(\d+)(?:\s*x\s*(\d+))?")


@dataclass(frozen=True)
class Fit:
    """What images are brought to; the default leaves them as they are.

    Attributes:
        size: (height, width) in pixels.
        channels: 1 or 3.
    """

    size: tuple[int, int] | None = None
    channels: int | None = None

    @classmethod
    def parse(cls, image_size: str, channels: int) -> Self:
        """Read a size as people write it, ``32`` or ``32x48`` (height x width), and channels.

        Raises:
            InputError: it is no size of images that models read, or no number of channels. An
                empty size, and 0 channels, leave images as they are.
        """
        from genpipe.data.dataset import check_shape

        size = None
        if image_size:
            found = SIZE.fullmatch(image_size)
            if not found:
                raise InputError(
                    f"image_size {shown(image_size)}: write 32, or 32x48 for height x width"
                )
            size = int(found[1]), int(found[2] or found[1])
            check_shape((*size, 1))
        if channels not in (0, 1, 3):
            raise InputError(f"channels {channels}: choose 1 (grey) or 3 (colour)")
        return cls(size, channels or None)

    @property
    def rule(self) -> str:
        """What is done to an image that is another, in words; empty where nothing is."""
        said = []
        if self.size:
            height, width = self.size
            said.append(
                f"scaled by Lanczos resampling to fit {height} x {width} pixels, proportions kept, "
                "and centred on black"
            )
        if self.channels:
            said.append("repeated to three channels" if self.channels == 3 else "grey by ITU-R 601")
        return "; ".join(said)

    def shape_of(self, shape: Sequence[int]) -> tuple[int, int, int]:
        """The (height, width, channels) that an image of such a shape gets."""
        height, width = self.size or shape[:2]
        return int(height), int(width), self.channels or int(shape[2])

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Bring one image (height, width, channels) uint8 to the size and the channels."""
        if image.shape == self.shape_of(image.shape):
            return image
        from PIL import Image

        if image.shape[2] not in CHANNELS or 0 in image.shape:
            raise InputError(
                f"images of shape {image.shape}: expected (height, width, channels) with 1 or 3 "
                "channels"
            )
        picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
        return self.of_picture(picture)

    def of_picture(self, picture: Image) -> np.ndarray:
        """Bring a picture of Pillow's, in mode L or RGB, to an array."""
        from PIL import Image

        if self.channels:
            picture = picture.convert("L" if self.channels == 1 else "RGB")
        if self.size and picture.size != self.size[::-1]:
            height, width = self.size
            scale = min(height / picture.height, width / picture.width)
            inner = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
            scaled = picture.resize(inner, Image.Resampling.LANCZOS)
            picture = Image.new(picture.mode, (width, height))
            picture.paste(scaled, ((width - inner[0]) // 2, (height - inner[1]) // 2))
        array = np.asarray(picture)
        return array[..., None] if array.ndim == 2 else array
