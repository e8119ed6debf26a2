"""Images side by side as one picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def grid(images: np.ndarray, columns: int, *, zoom: int = 1, gap: int = 2) -> np.ndarray:
    """Lay images out in rows.

    Args:
        images: (n, height, width) or (n, height, width, 1) uint8.
        columns: images in a row.
        zoom: pixels an image pixel takes in each direction.
        gap: grey pixels between images.

    Returns:
        (height, width) uint8.
    """
    images = np.asarray(images).reshape(len(images), *images.shape[1:3])
    images = images.repeat(zoom, axis=1).repeat(zoom, axis=2)
    count, height, width = images.shape
    rows = -(-count // columns)
    shape = (rows * (height + gap) - gap, columns * (width + gap) - gap)
    picture = np.full(shape, 128, np.uint8)
    for index, image in enumerate(images):
        top = index // columns * (height + gap)
        left = index % columns * (width + gap)
        picture[top : top + height, left : left + width] = image
    return picture


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write (height, width) or (height, width, 3) uint8 as a PNG file."""
    from PIL import Image

    Image.fromarray(pixels).save(path, optimize=True)
