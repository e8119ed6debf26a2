"""What a data set is like, in numbers that show when something is wrong with it."""

from __future__ import annotations

from typing import Any

import numpy as np

from genpipe.data.splits import digests

BLOCK = 10_000


def statistics_of(images: np.ndarray) -> dict[str, Any]:
    """Describe the images of a split, (n, height, width, channels) uint8.

    Returns:
        ``brightness`` and ``contrast``, mean and standard deviation of its pixels in [0, 1], and
        ``duplicates``, how many images are the same as an earlier one.
    """
    mean, deviation = _moments(images)
    distinct = len(np.unique(digests(images)))
    return {"brightness": mean, "contrast": deviation, "duplicates": len(images) - distinct}


def mean_images(images: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Each class's mean image, (classes, height, width, channels) uint8; black if it has none."""
    sums = np.zeros((classes, *images.shape[1:]))
    for first in range(0, len(images), BLOCK):
        block, own = images[first : first + BLOCK], labels[first : first + BLOCK]
        for label in np.unique(own):
            sums[label] += block[own == label].sum(axis=0, dtype=np.int64)
    counts = np.bincount(labels, minlength=classes)
    return np.rint(sums / np.maximum(counts, 1)[:, None, None, None]).astype(np.uint8)


def _moments(images: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of all pixels in [0, 1], a block of images at a time."""
    counts = np.zeros(256, np.int64)
    for first in range(0, len(images), BLOCK):
        counts += np.bincount(images[first : first + BLOCK].ravel(), minlength=256)
    values, total = np.arange(256) / 255, max(counts.sum(), 1)
    mean = float(counts @ values / total)
    return mean, float((counts @ np.square(values - mean) / total) ** 0.5)
