"""Images side by side as one picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from genpipe.errors import StepError
from genpipe.words import counted

# Of dots on a plane in near black, each at a contrast of 3.3 or more, and no two closer than 29 in
# CIELAB as people with protanopia, deuteranopia or tritanopia see them (Machado et al. 2009); of
# matplotlib's tab10 two are 5 apart.
CLASS_COLOURS = (
    *("#f1861a", "#7245fe", "#57a470", "#ce1029", "#fbf501"),
    *("#f4a0f2", "#83718c", "#2efcce", "#aa31b7", "#b7fa93"),
)
PLANE_COLOUR = "#0d1219"
LINE_COLOUR = "#c9d4df"


def plain(image: np.ndarray) -> np.ndarray:
    """A (height, width, channels) image as pictures are written: grey without channels."""
    return image[..., 0] if image.shape[-1] == 1 else image


def grid(images: np.ndarray, columns: int, *, zoom: int = 1, gap: int = 2) -> np.ndarray:
    """Lay images out in rows.

    Args:
        images: (n, height, width), or with 1 or 3 channels, uint8.
        columns: images in a row.
        zoom: pixels an image pixel takes in each direction.
        gap: grey pixels between images.

    Returns:
        (height, width) uint8, or with 3 channels.
    """
    images = np.asarray(images)
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    images = images.repeat(zoom, axis=1).repeat(zoom, axis=2)
    count, height, width = images.shape[:3]
    rows = -(-count // columns)
    shape = (rows * (height + gap) - gap, columns * (width + gap) - gap, *images.shape[3:])
    picture = np.full(shape, 128, np.uint8)
    for index, image in enumerate(images):
        top = index // columns * (height + gap)
        left = index % columns * (width + gap)
        picture[top : top + height, left : left + width] = image
    return picture


def pairs(above: np.ndarray, below: np.ndarray, columns: int) -> np.ndarray:
    """Images for a grid of so many columns, each row of ``above`` before the same of ``below``.

    Both (n, height, width, channels) uint8; a last row that is not full is filled with black.
    """
    missing = -len(above) % columns
    rows = []
    for images in (above, below):
        filled = np.concatenate([images, np.zeros((missing, *images.shape[1:]), np.uint8)])
        rows.append(filled.reshape(-1, columns, *images.shape[1:]))
    return np.stack(rows, axis=1).reshape(-1, *above.shape[1:])


def write_images(path: Path, images: np.ndarray, columns: int = 8) -> str:
    """Write images where a user wants them.

    Args:
        path: ``.npy`` gets the array, ``.png`` one picture of all; anything else is a folder, made
            if need be, that gets a PNG file an image.
        images: (n, height, width, channels) uint8.
        columns: images in a row of the one picture.

    Returns:
        What was written, in words.

    Raises:
        StepError: it can't be written.
    """
    try:
        if path.suffix == ".npy":
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, images, allow_pickle=False)
            return f"array of shape {images.shape}, {images.dtype}"
        if path.suffix == ".png":
            path.parent.mkdir(parents=True, exist_ok=True)
            write_png(path, grid(images, columns, zoom=2))
            return counted(len(images), "image")
        path.mkdir(parents=True, exist_ok=True)
        places = len(str(len(images) - 1))
        for number, image in enumerate(images):
            write_png(path / f"{number:0{places}d}.png", grid(image[None], 1))
    except OSError as error:
        raise StepError(f"can't write {path}: {error.strerror or error}") from None
    return counted(len(images), "PNG file")


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write (height, width) or (height, width, 3 or 4) uint8 as a PNG file."""
    from PIL import Image

    Image.fromarray(pixels).save(path, optimize=True)
