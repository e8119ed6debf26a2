"""A challenger against the champion, with the interval of the improvement."""

from __future__ import annotations

import numpy as np

from genpipe.metrics.bootstrap import margin, mean_interval
from genpipe.metrics.frechet import Gaussian, replicate
from genpipe.registry.champions import Comparison


def compare_losses(metric: str, champion: np.ndarray, challenger: np.ndarray) -> Comparison:
    """Compare two models by what the same images cost each, image by image.

    Args:
        metric: ``mean_squared_error``, or ``elbo`` whose losses are its negatives.
        champion: (n,) float.
        challenger: (n,) float, of the same images.
    """
    saved = champion.astype(np.float64) - challenger.astype(np.float64)
    before, after = (float(losses.mean(dtype=np.float64)) for losses in (champion, challenger))
    sign = -1 if metric == "elbo" else 1
    low, high = mean_interval(saved)
    return Comparison(
        metric, sign * before, sign * after, float(saved.mean()), low, high, len(saved)
    )


def compare_samples(real: np.ndarray, champion: np.ndarray, challenger: np.ndarray) -> Comparison:
    """Compare two generators by the Fréchet distance of their samples to real images.

    Each replication resamples the real images, the same for both, and the samples of each.

    Args:
        real: (n, d) float32 features of real images.
        champion: (m, d) float32, by the same judge. Of the two, as many are taken as both have,
            since the distance falls with their number.
        challenger: (k, d) float32, by the same judge.
    """
    count = min(len(champion), len(challenger))
    parts = real, champion[:count], challenger[:count]
    target, first, second = (Gaussian.fit(part) for part in parts)
    before, after = target.distance(first), target.distance(second)
    generator = np.random.default_rng(0)
    replications = zip(*(replicate(part, generator) for part in parts), strict=True)
    reach = margin(
        target.distance(first) - target.distance(second) for target, first, second in replications
    )
    improvement = before - after
    low, high = improvement - reach, improvement + reach
    return Comparison("frechet_distance", before, after, improvement, low, high, count)
