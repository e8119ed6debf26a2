"""The Fréchet distance between two sets of images, in the features of the judge.

Heusel et al. 2017, "GANs trained by a two time-scale update rule converge to a local Nash
equilibrium", fit a Gaussian to the features of each set and take the distance of the two (Dowson
and Landau 1982). Their features are those of a network trained on ImageNet; here they are the 128
of the judge's last hidden layer, which knows the data set. So a distance compares only with others
by the same judge, and, as its bias falls with the number of images, with others of as many.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from genpipe.data.dataset import RESCALINGS
from genpipe.metrics.bootstrap import margin, resample
from genpipe.training.saved import JUDGE, SavedModel

# Resampled together: replications of 10,000 images cost a tenth of what single images would.
GROUPS = 100
# Each takes 20 ms; for a standard error 50 are often enough (Efron and Tibshirani, chapter 6).
REPLICATIONS = 50


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian fitted to features.

    Attributes:
        mean: (d,) float64.
        covariance: (d, d) float64, with the divisor n.
    """

    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray) -> Self:
        """Fit to (n, d) float32 features."""
        mean = features.mean(axis=0, dtype=np.float64)
        centred = features - mean.astype(np.float32)
        return cls(mean, (centred.T @ centred / np.float32(len(features))).astype(np.float64))

    @cached_property
    def root(self) -> np.ndarray:
        """The symmetric square root of the covariance."""
        values, vectors = np.linalg.eigh(self.covariance)
        root: np.ndarray = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
        return root

    def distance(self, other: Gaussian) -> float:
        """The Fréchet distance, squared as Heusel et al. define it (their equation 6).

        ``|m1 - m2|^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2))``; the last trace is the sum of the roots of
        the eigenvalues of ``R C2 R`` with ``R = C1^(1/2)``, which is symmetric where ``C1 C2`` is
        not.
        """
        common = np.linalg.eigvalsh(self.root @ other.covariance @ self.root)
        spread = np.trace(self.covariance) + np.trace(other.covariance)
        distance = np.square(self.mean - other.mean).sum() + spread
        return float(max(distance - 2 * np.sqrt(np.clip(common, 0, None)).sum(), 0.0))


def distance_with_interval(
    real: np.ndarray, samples: np.ndarray
) -> tuple[float, tuple[float, float]]:
    """The distance of two sets of features, and its 95% interval.

    Both sets are resampled, in groups of images: what was drawn independently stays so in groups,
    and a replication is then a weighted sum of the groups' moments.

    Args:
        real: (n, d) float32.
        samples: (m, d) float32.
    """
    generator = np.random.default_rng(0)
    observed = Gaussian.fit(real).distance(Gaussian.fit(samples))
    replications = zip(replicate(real, generator), replicate(samples, generator), strict=True)
    reach = margin(first.distance(second) for first, second in replications)
    return observed, (max(observed - reach, 0.0), observed + reach)


def replicate(features: np.ndarray, generator: np.random.Generator) -> Iterator[Gaussian]:
    """Gaussians fitted to resamples of (n, d) features: see ``distance_with_interval``."""
    centre = features.mean(axis=0)
    # In random order: a data set's own is none (MNIST's test images come from two sets of writers,
    # one after the other), and groups of it differ by more than chance.
    shuffled = generator.permutation(features - centre)
    groups = np.array_split(shuffled, min(GROUPS, len(features)))
    sizes = np.array([len(group) for group in groups], np.float64)
    sums = np.stack([group.sum(axis=0) for group in groups]).astype(np.float64)
    products = np.stack([(group.T @ group).ravel() for group in groups])
    for _ in range(REPLICATIONS):
        times = np.bincount(resample(generator, len(groups)), minlength=len(groups))
        total = times @ sizes
        mean = times @ sums / total
        second = (times.astype(np.float32) @ products).astype(np.float64) / total
        covariance = second.reshape(len(mean), len(mean)) - np.outer(mean, mean)
        yield Gaussian(mean + centre, covariance)


def judged(judge: SavedModel, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the judge makes of (n, 28, 28, 1) uint8 images.

    Returns:
        Class probabilities, (n, classes) float32, and its last hidden layer, the features that
        sets of images are compared by: (n, 128) float32.

    Raises:
        InputError: the model is not a judge, or its file is not the one that was saved.
    """
    probabilities, features = judge.run(JUDGE, RESCALINGS["unit"].apply(np.asarray(images)))
    return probabilities, features


def judge_features(judge: SavedModel, images: np.ndarray) -> np.ndarray:
    """The features alone."""
    return judged(judge, images)[1]
