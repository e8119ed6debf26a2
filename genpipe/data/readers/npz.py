"""Images and labels in one ``.npz`` file of NumPy's."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import chain

import numpy as np

from genpipe import storage
from genpipe.data.readers.labelled import IMAGES_A_BLOCK, Labelled, blocks_of, number_classes
from genpipe.errors import InputError

# The names of images and labels of each split, as Keras's mnist.npz has them; or of all.
KEYS = {
    "train": ("x_train", "y_train"),
    "validation": ("x_val", "y_val"),
    "test": ("x_test", "y_test"),
}
UNDIVIDED = ("images", "labels")


def read_npz(address: str) -> Labelled:
    """Read ``x_train``, ``y_train`` and what there is of ``x_val``, ``x_test`` and their labels.

    Or ``images`` and ``labels``, which are then divided.

    Images are (n, height, width) or (n, height, width, channels) uint8, labels (n,) or (n, 1) whole
    numbers. ``class_names`` may name the classes 0, 1, 2, ….

    Raises:
        InputError: it is no such file.
        StepError: it can't be read.
    """
    content = storage.read_bytes(address)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            wanted = {*UNDIVIDED, *chain.from_iterable(KEYS.values()), "class_names"}
            found = file.files
            arrays = {name: file[name] for name in found if name in wanted}
    except Exception as error:  # NumPy and zipfile raise anything of a damaged file
        raise InputError(f"{address} can't be read as an .npz file: {error}") from None
    keys = KEYS if "x_train" in arrays else {"train": UNDIVIDED}
    keys = {split: pair for split, pair in keys.items() if pair[0] in arrays}
    if not keys or any(labels not in arrays for _, labels in keys.values()):
        raise InputError(
            f"{address} holds {', '.join(sorted(found)) or 'nothing'}: expected x_train, y_train "
            "(and x_test, y_test), or images, labels"
        )
    names = _names(address, arrays["class_names"]) if "class_names" in arrays else None
    images = {split: _images(address, pair, arrays) for split, pair in keys.items()}
    values = {split: arrays[pair[1]].reshape(-1) for split, pair in keys.items()}
    class_names, labels = number_classes(values, names, address)
    return Labelled(
        class_names,
        {split: len(own) for split, own in labels.items()},
        lambda: blocks_of({s: (partial(_cut, images[s]), labels[s]) for s in images}),
        {"source": address},
    )


def _names(address: str, names: np.ndarray) -> list[str]:
    if names.ndim != 1 or names.dtype.kind not in "SU":
        raise InputError(
            f"{address}: class_names is {names.dtype} of shape {names.shape}; expected text of "
            "shape (classes,)"
        )
    text = np.char.decode(names, "utf-8") if names.dtype.kind == "S" else names
    return [str(name) for name in text]


def _images(address: str, keys: tuple[str, str], arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    images, labels = (arrays[key] for key in keys)
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype != np.uint8 or images.ndim != 4:
        raise InputError(
            f"{address}: {keys[0]} is {images.dtype} of shape {images.shape}; expected uint8 (0 to "
            "255) of shape (n, height, width) or (n, height, width, channels)"
        )
    if labels.dtype.kind not in "iu" or labels.size != len(images) or len(labels) != len(images):
        raise InputError(
            f"{address}: {keys[1]} is {labels.dtype} of shape {labels.shape}; expected a whole "
            f"number for each of the {len(images):,} images"
        )
    return images


def _cut(images: np.ndarray) -> Iterator[np.ndarray]:
    for first in range(0, len(images), IMAGES_A_BLOCK):
        yield images[first : first + IMAGES_A_BLOCK]
