"""Precision and recall, density and coverage: two sets of features compared by their neighbours.

Kynkäänniemi et al. 2019, "Improved precision and recall metric for assessing generative models",
surround each point with a ball that reaches to its third neighbour within its own set; the balls
of a set are its manifold. Naeem et al. 2020, "Reliable fidelity and diversity metrics for
generative models", take the balls of the real points alone, to their fifth neighbour: a far-off
sample has a huge ball, and raises recall by it.

Both are of sets of equal size: with other sizes, and in other features, the same model has other
metrics.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

MANIFOLD_NEIGHBOURS = 3
COVERAGE_NEIGHBOURS = 5
# As many rows of distances stay in the cache: 40% faster than 1,000.
BLOCK = 200


@dataclass(frozen=True)
class Fidelity:
    """How two sets of n points each lie to each other; the metrics are the means.

    Attributes:
        precise: (n,) bool, of each sample: it lies in a ball of a real point.
        recalled: (n,) bool, of each real point: it lies in a ball of a sample.
        density: (n,) float64, of each sample: in how many balls of real points it lies, over the
            neighbours that a ball reaches to. Real samples have 1 on average.
        covered: (n,) bool, of each real point: a sample lies in its ball.
    """

    precise: np.ndarray
    recalled: np.ndarray
    density: np.ndarray
    covered: np.ndarray


class Manifold:
    """Real points with their balls.

    Args:
        points: (n, d) float32, n above 5.
        balls: the two kinds of squared radii, (n,) float32 each, if they were measured before.
    """

    def __init__(self, points: np.ndarray, balls: Sequence[np.ndarray] = ()) -> None:
        self.points = points
        self.balls = balls or radii(points, MANIFOLD_NEIGHBOURS, COVERAGE_NEIGHBOURS)

    def compare(self, samples: np.ndarray) -> Fidelity:
        """Compare (n, d) float32 samples with the real points, in blocks of samples."""
        (reach,) = radii(samples, MANIFOLD_NEIGHBOURS)
        manifold, coverage = self.balls
        count = len(self.points)
        precise, density = np.zeros(len(samples), bool), np.zeros(len(samples))
        recalled, closest = np.zeros(count, bool), np.full(count, np.inf, np.float32)
        for rows, squares in squared_distances(samples, self.points):
            precise[rows] = (squares <= manifold).any(axis=1)
            density[rows] = (squares <= coverage).sum(axis=1) / COVERAGE_NEIGHBOURS
            recalled |= (squares <= reach[rows, None]).any(axis=0)
            np.minimum(closest, squares.min(axis=0), out=closest)
        return Fidelity(precise, recalled, density, closest <= coverage)


def radii(points: np.ndarray, *neighbours: int) -> tuple[np.ndarray, ...]:
    """Squared distances, (n,) float32 each, of (n, d) points to their k-th other points."""
    found = [np.empty(len(points), np.float32) for _ in neighbours]
    for rows, squares in squared_distances(points, points):
        # Rounding leaves a point a little off itself.
        squares[np.arange(len(squares)), np.arange(len(points))[rows]] = 0
        for place, (_, distances) in enumerate(nearest(squares, max(neighbours) + 1)):
            if place in neighbours:
                found[neighbours.index(place)][rows] = distances
    return tuple(found)


def nearest(squares: np.ndarray, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The nearest of all points, the second nearest and so on, up to the ``count``-th.

    As many passes for the least as there are neighbours take a twentieth of NumPy's partition.

    Args:
        squares: (b, m) distances of b points to m others; those that were found become infinite.
        count: how many, at most m.

    Yields:
        The index and the distance of each point's next neighbour, (b,) each.
    """
    rows = np.arange(len(squares))
    for _ in range(count):
        found = squares.argmin(axis=1)
        distances = squares[rows, found]
        squares[rows, found] = np.inf
        yield found, distances


def squared_distances(
    points: np.ndarray, others: np.ndarray, block: int = BLOCK
) -> Iterator[tuple[slice, np.ndarray]]:
    """Squared distances of (n, d) to (m, d) float32: blocks of rows, each with its (b, m)."""
    lengths = np.square(others).sum(axis=1)
    for first in range(0, len(points), block):
        rows = slice(first, min(first + block, len(points)))
        squares = (-2 * points[rows]) @ others.T
        squares += lengths
        squares += np.square(points[rows]).sum(axis=1, keepdims=True)
        np.maximum(squares, 0, out=squares)
        yield rows, squares
