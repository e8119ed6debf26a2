"""Principal component analysis, of codes and of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True)
class PrincipalComponents:
    """The directions along which points vary, those of the largest variance first.

    Attributes:
        mean: (d,) float64.
        directions: (d, k) float64, orthonormal columns; of as many points as there are
            dimensions or more, k is d.
        variances: (k,) float64 along them, none negative.
    """

    mean: np.ndarray
    directions: np.ndarray
    variances: np.ndarray

    @classmethod
    def fit(cls, points: np.ndarray) -> Self:
        """Fit to (n, d) float points."""
        covariance = np.atleast_2d(np.cov(points, rowvar=False, dtype=np.float64))
        return cls.of_moments(points.mean(axis=0, dtype=np.float64), covariance)

    @classmethod
    def of_moments(cls, mean: np.ndarray, covariance: np.ndarray) -> Self:
        """Fit to points of which only the (d,) mean and the (d, d) covariance are at hand."""
        variances, directions = np.linalg.eigh(covariance)
        return cls(mean, directions[:, ::-1], np.clip(variances[::-1], 0, None))

    @classmethod
    def of_few(cls, points: np.ndarray) -> Self:
        """Fit to (n, d) points, fewer than they have dimensions: n directions."""
        mean = points.mean(axis=0, dtype=np.float64)
        centred = points - mean.astype(points.dtype)
        products = (centred @ centred.T).astype(np.float64) / len(points)
        variances, weights = np.linalg.eigh(products)
        # The last is 0, since the points were centred; what is no more than rounding has none.
        there = variances > variances[-1] * 1e-7
        variances, weights = variances[there][::-1], weights[:, there][:, ::-1]
        scale = np.sqrt(variances * len(points))
        return cls(mean, (centred.T @ weights.astype(points.dtype)) / scale, variances)

    @property
    def shares(self) -> np.ndarray:
        """(d,) share of the whole variance that each direction has."""
        return self.variances / max(self.variances.sum(), 1e-12)

    def project(self, points: np.ndarray, count: int) -> np.ndarray:
        """(n, d) points along the first directions: (n, count)."""
        projected: np.ndarray = (points - self.mean) @ self.directions[:, :count]
        return projected
