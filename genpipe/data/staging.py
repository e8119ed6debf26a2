"""Images on their way into a data set: in a file, as they come, so that memory holds a block."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from genpipe.data.splits import SPLITS, digests


class Staging:
    """A file that images are appended to, and what is known of each. Use it as a context manager.

    Args:
        path: the file; it is gone at the end.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb")
        self.shape: tuple[int, int, int] | None = None
        self._known: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def add(self, split: str, images: np.ndarray, labels: np.ndarray) -> None:
        """Append images (n, height, width, channels) uint8, all of one shape, and labels (n,)."""
        self.shape = images.shape[1:]
        self._file.write(np.ascontiguousarray(images).data)
        number = np.full(len(images), SPLITS.index(split), np.uint8)
        self._known.append((number, np.asarray(labels, np.uint16), digests(images)))

    def known(self) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """The places of each split's images, the labels and the digests of all images."""
        nothing = (np.zeros(0, np.uint8), np.zeros(0, np.uint16), np.zeros(0, np.uint64))
        numbers, labels, digest = (
            np.concatenate(parts) for parts in zip(nothing, *self._known, strict=True)
        )
        own = {split: np.flatnonzero(numbers == number) for number, split in enumerate(SPLITS)}
        return {split: places for split, places in own.items() if len(places)}, labels, digest

    def images(self, places: np.ndarray) -> Rows:
        """The images at these places, in this order."""
        self._file.flush()
        return Rows(np.memmap(self._path, np.uint8, "r").reshape(-1, *(self.shape or ())), places)


class Rows:
    """Rows of an array in some order, gathered a slice at a time."""

    def __init__(self, array: np.ndarray, places: np.ndarray) -> None:
        self._array, self._places = array, places
        self.shape = (len(places), *array.shape[1:])

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, rows: slice) -> np.ndarray:
        return np.asarray(self._array[self._places[rows]])
