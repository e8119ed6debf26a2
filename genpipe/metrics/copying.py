"""Whether a model copies: how near its samples lie to training images, and to each other.

Distances are Euclidean, of pixels in [0, 1]; digits of these data sets are centred and of one size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from genpipe.data.dataset import RESCALINGS, Dataset
from genpipe.metrics.neighbours import radii, squared_distances

LOOKED_AT = 1000
BLOCK = 5000
SAME_SHARE = 0.01


@dataclass(frozen=True)
class RealNeighbours:
    """The real images, and how near test images lie to training images and to each other.

    Attributes:
        dataset: the data set.
        training: (n,) float32, distances of the first test images to the nearest training one.
        same: the distance below which 1% of as many test images lie to another of them.
    """

    dataset: Dataset
    training: np.ndarray
    same: float

    @classmethod
    def measure(cls, dataset: Dataset, count: int) -> Self:
        """Measure the test split for sets of ``count`` images, of which 1,000 are looked at."""
        test = dataset.images("test")[: min(count, LOOKED_AT)]
        training = nearest_distances(test, dataset.images("train"))
        return cls(dataset, training, float(np.quantile(_nearest_other(test), SAME_SHARE)))

    def compare(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Look at the first 1,000 of (n, 28, 28, 1) uint8 images.

        Returns:
            Of each image, as float64 whose means are the metrics:

            ``training_closeness``: the share of test images that lie farther from their nearest
            training image than this one does (a tie counts half). The mean is the area under the
            ROC curve: 0.5 if samples lie as far off as real images that were not trained on, 1 if
            all are nearer. A blurred image is nearer to everything.

            ``nearest_is_training_share``: whether the nearest real image, of training and test
            split together, is a training image. Blur does not matter here: where nothing is copied,
            the mean is the training split's share of the two (Meehan et al. 2020, "A non-parametric
            test to detect data-copying", compare with held-out images in the same way).

            ``duplicate_share``: whether another sample lies as near as only 1% of the test images
            have another test image.
        """
        images = images[:LOOKED_AT]
        training = nearest_distances(images, self.dataset.images("train"))
        test = nearest_distances(images, self.dataset.images("test"))
        ordered = np.sort(self.training)
        farther = len(ordered) - np.searchsorted(ordered, training, "right")
        tied = len(ordered) - np.searchsorted(ordered, training, "left") - farther
        return {
            "training_closeness": (farther + tied / 2) / len(ordered),
            "nearest_is_training_share": (training < test).astype(np.float64),
            "duplicate_share": (_nearest_other(images) < self.same).astype(np.float64),
        }


def nearest_distances(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The distance of each image to the nearest of others: (n,) float32.

    Args:
        images: (n, 28, 28, 1) uint8.
        others: (m, 28, 28, 1) uint8; read in blocks, so a memory map stays one.
    """
    points, nearest = _rows(images), np.full(len(images), np.inf, np.float32)
    for first in range(0, len(others), BLOCK):
        for rows, squares in squared_distances(points, _rows(others[first : first + BLOCK])):
            nearest[rows] = np.minimum(nearest[rows], squares.min(axis=1))
    return np.sqrt(nearest)


def _nearest_other(images: np.ndarray) -> np.ndarray:
    return np.sqrt(radii(_rows(images), 1)[0])


def _rows(images: np.ndarray) -> np.ndarray:
    return RESCALINGS["unit"].apply(images).reshape(len(images), -1)
