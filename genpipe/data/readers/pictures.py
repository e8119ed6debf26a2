"""Images of users: picture files, folders of them, and arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from genpipe.data.fitting import Fit
from genpipe.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
GREY = ("1", "L", "LA", "La")
MOST_PIXELS = 50_000_000


def open_picture(file: Path | BinaryIO) -> Image:
    """Decode a picture, upright as its camera says, what is transparent on black.

    Returns:
        A picture of Pillow's in mode L, or in RGB if it has colours.

    Raises:
        ValueError: it is none, or damaged, or has more than 8 bits a channel.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise ValueError(f"it has more than {MOST_PIXELS:,} pixels")
            picture = ImageOps.exif_transpose(opened)
            picture.load()
    except Exception as error:  # Pillow raises anything of a damaged file
        told = str(error).partition(" <_io")[0]  # what follows is an address in memory
        raise ValueError(told or type(error).__name__) from None
    if picture.mode.startswith(("I", "F")):
        raise ValueError(f"it has more than 8 bits a channel, mode {picture.mode}")
    mode = "L" if picture.mode in GREY else "RGB"
    if picture.has_transparency_data:
        clear = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", clear.size, (0, 0, 0, 255)), clear)
    return picture.convert(mode)


def read_pictures(
    paths: Iterable[Path], shape: tuple[int, int, int], *, resize: bool = False
) -> tuple[list[str], np.ndarray]:
    """Read images as a model reads them.

    Args:
        paths: picture files, folders of them (in the order of their names), or ``.npy`` files with
            (n, height, width) or (n, height, width, channels) uint8.
        shape: (height, width, channels) of the model; colours become grey where it has one channel.
        resize: bring pictures of another size to the model's, as ingestion does.

    Returns:
        A name for each image, and the (n, height, width, channels) uint8 images.

    Raises:
        InputError: there is none, one can't be read, or has another size.
    """
    names, images = [], []
    for path in paths:
        for name, image in _read(path, shape, resize):
            names.append(name)
            images.append(image)
    if not images:
        raise InputError("no images: give picture files, a folder of them, or a .npy file")
    return names, np.stack(images)


def _read(
    path: Path, shape: tuple[int, int, int], resize: bool
) -> Iterator[tuple[str, np.ndarray]]:
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
        if not files:
            raise InputError(f"{path} holds no pictures ({', '.join(SUFFIXES)})")
        for file in files:
            yield from _read(file, shape, resize)
    elif path.suffix == ".npy":
        for number, image in enumerate(_read_array(path, shape)):
            yield f"{path}[{number}]", image
    else:
        yield str(path), _read_picture(path, shape, resize)


def _read_array(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    try:
        images: np.ndarray = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except Exception:  # NumPy raises anything of a damaged header
        raise InputError(f"{path} is not a plain NumPy array: np.save writes one") from None
    if images.ndim == 3:
        images = images[..., None]
    if not images.size:
        raise InputError(f"{path} holds no images")
    if images.dtype != np.uint8 or images.shape[1:] != shape:
        raise InputError(
            f"{path} holds {images.dtype} of shape {images.shape}: the model reads uint8 of shape "
            f"{('n', *shape)}".replace("'n'", "n")
        )
    return images


def _read_picture(path: Path, shape: tuple[int, int, int], resize: bool) -> np.ndarray:
    height, width, channels = shape
    try:
        picture = open_picture(path)
    except ValueError as error:
        raise InputError(f"{path} can't be read as a picture: {error}") from None
    if picture.size != (width, height) and not resize:
        found = f"{picture.width} x {picture.height}"
        raise InputError(
            f"{path} is {found} pixels, the model reads {width} x {height}: add --resize"
        )
    return Fit((height, width), channels).of_picture(picture)
