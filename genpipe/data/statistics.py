"""What a data set is like, in numbers that show when something is wrong with it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

BLOCK = 10_000


def statistics_of(arrays: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, Any]:
    """Describe the images of each split.

    Args:
        arrays: images (n, height, width, channels) and labels (n,), both uint8, of every split,
            ``train`` first.

    Returns:
        Of each split ``brightness`` and ``contrast``, mean and standard deviation of its pixels in
        [0, 1]; ``duplicates``, how many images are the same as an earlier one of the split; and of
        all but ``train`` ``in_train``, how many are the same as a training image.
    """
    found: dict[str, dict[str, Any]] = {}
    training: set[bytes] = set()
    for split, (images, _) in arrays.items():
        digests = [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]
        distinct = set(digests)
        mean, deviation = _moments(images)
        found[split] = {
            "brightness": mean,
            "contrast": deviation,
            "duplicates": len(digests) - len(distinct),
        }
        if split == "train":
            training = distinct
        else:
            found[split]["in_train"] = sum(digest in training for digest in digests)
    return found


def mean_images(images: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Each class's mean image, (classes, height, width, channels) uint8; black if it has none."""
    sums = np.zeros((classes, *images.shape[1:]))
    for label in range(classes):
        own = images[labels == label]
        if len(own):
            sums[label] = own.mean(axis=0)
    return np.rint(sums).astype(np.uint8)


def _moments(images: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of all pixels in [0, 1], a block of images at a time."""
    counts = np.zeros(256, np.int64)
    for first in range(0, len(images), BLOCK):
        counts += np.bincount(images[first : first + BLOCK].ravel(), minlength=256)
    values, total = np.arange(256) / 255, max(counts.sum(), 1)
    mean = float(counts @ values / total)
    return mean, float((counts @ np.square(values - mean) / total) ** 0.5)
