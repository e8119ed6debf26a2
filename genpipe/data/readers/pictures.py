"""Images of users: picture files, folders of them, and arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from genpipe.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")


def read_pictures(
    paths: Iterable[Path], shape: tuple[int, int, int], *, resize: bool = False
) -> tuple[list[str], np.ndarray]:
    """Read images as a model reads them.

    Args:
        paths: picture files, folders of them (in the order of their names), or ``.npy`` files with
            (n, height, width) or (n, height, width, channels) uint8.
        shape: (height, width, channels) of the model; colours become grey where it has one channel.
        resize: bring pictures of another size to the model's.

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
    except Exception as error:  # NumPy raises anything of a damaged header
        raise InputError(f"{path} can't be read as an array: {error}") from None
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype != np.uint8 or images.shape[1:] != shape:
        raise InputError(
            f"{path} holds {images.dtype} of shape {images.shape}: the model reads uint8 of shape "
            f"{('n', *shape)}".replace("'n'", "n")
        )
    return images


def _read_picture(path: Path, shape: tuple[int, int, int], resize: bool) -> np.ndarray:
    from PIL import Image

    height, width, channels = shape
    try:
        with Image.open(path) as opened:
            picture = opened.convert("L" if channels == 1 else "RGB")
    except Exception as error:  # Pillow raises anything of a damaged file
        raise InputError(f"{path} can't be read as a picture: {error}") from None
    if picture.size != (width, height):
        if not resize:
            found = f"{picture.width} x {picture.height}"
            raise InputError(
                f"{path} is {found} pixels, the model reads {width} x {height}: add --resize"
            )
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(picture).reshape(shape)
