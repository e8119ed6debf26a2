"""Labelled images as a reader found them, before they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from genpipe.errors import InputError

# Images that a reader holds in memory at a time.
IMAGES_A_BLOCK = 500
NAMED = 5


@dataclass(frozen=True)
class Block:
    """Some images of one split.

    Attributes:
        split: ``train``, ``validation`` or ``test``.
        images: (n, height, width, channels) uint8, or n arrays of their own shapes.
        labels: (n,) int, each image's place in the class names.
        names: of the images, where they have names.
    """

    split: str
    images: Sequence[np.ndarray] | np.ndarray
    labels: np.ndarray
    names: Sequence[str] = ()


@dataclass(frozen=True)
class Labelled:
    """Labelled images that can be read.

    Attributes:
        class_names: in the order of the labels.
        sizes: how many images each split has that the source divides them into; ``train`` holds
            what is not divided.
        blocks: reads them, each once.
        facts: what ``dataset.json`` says of the source.
        unreadable: gets a line for each image that ``blocks`` could not read.
    """

    class_names: tuple[str, ...]
    sizes: Mapping[str, int]
    blocks: Callable[[], Iterator[Block]]
    facts: Mapping[str, Any]
    unreadable: list[str] = field(default_factory=list)


def number_classes(
    values: Mapping[str, np.ndarray], names: Sequence[str] | None, where: str
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Turn the labels of a file into places in a list of classes.

    Args:
        values: whole numbers (n,) of each split.
        names: of the classes 0, 1, 2, …; without any, the values of ``train`` are the names.
        where: the source, for errors.

    Returns:
        The names, and the (n,) labels of each split.

    Raises:
        InputError: a label lies outside the names.
    """
    known = np.arange(len(names)) if names else np.unique(values["train"])
    for split, own in values.items():
        if len(outside := np.setdiff1d(own, known)):
            few = ", ".join(map(str, outside[:NAMED]))
            told = f"the {len(known)} names" if names else "those of train"
            raise InputError(f"{where}: labels of {split} are outside {told}: {few}")
    labels = {split: np.searchsorted(known, own) for split, own in values.items()}
    return tuple(names or map(str, known)), labels


def blocks_of(
    arrays: Mapping[str, tuple[Callable[[], Iterator[np.ndarray]], np.ndarray]],
) -> Iterator[Block]:
    """Blocks of splits whose images come as blocks themselves, and whose labels are there."""
    for split, (images, labels) in arrays.items():
        first = 0
        for block in images():
            yield Block(split, block, labels[first : first + len(block)])
            first += len(block)
