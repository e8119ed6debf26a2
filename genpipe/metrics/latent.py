"""What a latent space looks like, as numbers: where codes lie and what area each class holds."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from genpipe.metrics.neighbours import nearest, squared_distances
from genpipe.principal_components import PrincipalComponents

CELLS = 32  # along each axis, where areas are counted
ACTIVE_VARIANCE = 0.01
NEIGHBOURS = 5


@dataclass(frozen=True)
class Plane:
    """Two axes through a latent space, and the codes seen along them.

    Attributes:
        points: (n, 2) float.
        axes: what the two axes are, for the plot's labels.
    """

    points: np.ndarray
    axes: tuple[str, str]


def plane_of(codes: np.ndarray) -> Plane:
    """The plane a scatter plot shows: the space itself at size 2, else two principal components.

    Args:
        codes: (n, latent_size) float; one code unit is drawn along the first axis.
    """
    size = codes.shape[1]
    if size == 1:
        return Plane(np.column_stack([codes[:, 0], np.zeros(len(codes))]), ("code unit 1", ""))
    if size == 2:
        return Plane(codes, ("code unit 1", "code unit 2"))
    components = PrincipalComponents.fit(codes)
    first, second = components.shares[:2]
    return Plane(
        components.project(codes, 2),
        (
            f"first principal component ({first:.0%} of the variance)",
            f"second principal component ({second:.0%})",
        ),
    )


def geometry(codes: np.ndarray) -> dict[str, float]:
    """Where the codes lie: distance of their mean from 0, and how far they spread around it.

    Args:
        codes: (n, latent_size) float.

    Returns:
        ``code_mean_distance``, the length of the mean code, and ``code_spread``, the root of the
        mean squared distance of a code from it. For N(0, I): 0 and the root of latent_size.
    """
    mean = codes.mean(axis=0)
    spread = np.sqrt(np.square(codes - mean).sum(axis=1).mean())
    return {"code_mean_distance": float(np.linalg.norm(mean)), "code_spread": float(spread)}


def area_shares(codes: np.ndarray, labels: np.ndarray, classes: int) -> tuple[np.ndarray, float]:
    """How much of a latent plane each class holds, and how much is gaps.

    Measured against the Gaussian with the mean and covariance of the codes: a grid of 32 x 32
    squares along the codes' principal axes, into each of which it draws equally often. A square
    belongs to the class with the most codes in it, or to none. So Gaussian codes have no gaps (of
    10,000, one empty square in 17,000), and for any others the gaps are how often a draw falls
    where no code is.

    Args:
        codes: (n, 2) float.
        labels: (n,) class of each code.
        classes: how many classes there are.

    Returns:
        (classes,) shares of the squares with a code, which sum to 1, and the share of all squares
        without one.
    """
    components = PrincipalComponents.fit(codes)
    deviations = np.maximum(np.sqrt(components.variances), np.finfo(np.float32).tiny)
    standardized = components.project(codes, 2) / deviations
    places = np.minimum((_standard_normal_cdf(standardized) * CELLS).astype(int), CELLS - 1)
    counts = np.zeros((CELLS, CELLS, classes), int)
    np.add.at(counts, (*places.T, labels), 1)
    occupied = counts.any(axis=2)
    owners = counts.argmax(axis=2)[occupied]
    shares = np.bincount(owners, minlength=classes) / len(owners)
    return shares, float(1 - occupied.mean())


def _standard_normal_cdf(values: np.ndarray) -> np.ndarray:
    """The share of N(0, 1) that lies below each value."""
    below = np.vectorize(NormalDist().cdf, otypes=[np.float64])
    found: np.ndarray = below(values)
    return found


def dead_units(codes: np.ndarray) -> int:
    """How many code units are 0 for every image: relu units that died."""
    return int((codes == 0).all(axis=0).sum())


def active_units(z_mean: np.ndarray) -> int:
    """How many units of a VAE carry information: variance of z_mean over images above 0.01.

    Burda et al. 2015, section 5.2.
    """
    return int((z_mean.var(axis=0) > ACTIVE_VARIANCE).sum())


def neighbour_accuracy(
    known: np.ndarray, known_labels: np.ndarray, codes: np.ndarray, labels: np.ndarray
) -> float:
    """How often the five nearest known codes have a code's class, by majority.

    Needs no training, so it measures the codes alone; of a tie the lowest class wins.

    Args:
        known: (m, latent_size) float32, m at least 5.
        known_labels: (m,) classes.
        codes: (n, latent_size) float32.
        labels: (n,) classes.
    """
    votes = np.eye(int(max(known_labels.max(), labels.max())) + 1, dtype=np.int8)[known_labels]
    right = 0
    for rows, squares in squared_distances(codes, known):
        found = sum(votes[indices] for indices, _ in nearest(squares, NEIGHBOURS))
        right += int((found.argmax(axis=1) == labels[rows]).sum())
    return right / len(codes)


def collapse_note(z_mean: np.ndarray) -> str:
    """One sentence on units whose posterior has collapsed to N(0, I); empty where none has.

    Such a unit has the same code for every image, so the decoder learns to ignore it: what the KL
    divergence costs exceeds what the unit would save (Lucas et al. 2019, "Don't blame the ELBO!").
    """
    size = z_mean.shape[1]
    idle = size - active_units(z_mean)
    if not idle:
        return ""
    if idle == size:
        return "posterior collapse: no unit distinguishes images, so all samples come from one code"
    return (
        f"{idle} of {size} units are idle: their posterior is N(0, I) whatever the image, "
        "and the decoder ignores them"
    )
