"""A challenger against the champion, by bootstrap (``genpipe.metrics.bootstrap``)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from genpipe.metrics.bootstrap import REPLICATIONS, margin, resample
from genpipe.metrics.frechet import Gaussian
from genpipe.registry.champions import Comparison


def compare_losses(metric: str, champion: np.ndarray, challenger: np.ndarray) -> Comparison:
    """Compare two models by what the same test images cost each: a paired bootstrap.

    Args:
        metric: ``mean_squared_error``, or ``elbo`` whose losses are its negatives.
        champion: (n,) float.
        challenger: (n,) float, of the same images.
    """
    saved = champion.astype(np.float64) - challenger.astype(np.float64)
    generator = np.random.default_rng(0)
    replications = (saved[resample(generator, len(saved))].mean() for _ in range(REPLICATIONS))
    before, after = (float(losses.mean(dtype=np.float64)) for losses in (champion, challenger))
    sign = -1 if metric == "elbo" else 1
    return _comparison(
        metric, sign * before, sign * after, float(saved.mean()), replications, len(saved)
    )


def compare_samples(test: np.ndarray, champion: np.ndarray, challenger: np.ndarray) -> Comparison:
    """Compare two generators by the Fréchet distance of their samples to the test images.

    Each replication resamples the test images, the same for both, and the samples of each.

    Args:
        test: (n, d) float32 features of the test images.
        champion: (m, d) float32, by the same judge. Of the two, as many are taken as both have,
            since the distance falls with their number.
        challenger: (k, d) float32, by the same judge.
    """
    count = min(len(champion), len(challenger))
    champion, challenger = champion[:count], challenger[:count]
    generator = np.random.default_rng(0)

    def distances(*features: np.ndarray) -> tuple[float, float]:
        real, first, second = (Gaussian.fit(part) for part in features)
        return real.distance(first), real.distance(second)

    def replicate() -> float:
        parts = (part[resample(generator, len(part))] for part in (test, champion, challenger))
        first, second = distances(*parts)
        return first - second

    before, after = distances(test, champion, challenger)
    replications = (replicate() for _ in range(REPLICATIONS))
    return _comparison("frechet_distance", before, after, before - after, replications, count)


def _comparison(
    metric: str,
    champion: float,
    challenger: float,
    improvement: float,
    replications: Iterable[float],
    images: int,
) -> Comparison:
    reach = margin(replications)
    return Comparison(
        metric=metric,
        champion=champion,
        challenger=challenger,
        improvement=improvement,
        low=improvement - reach,
        high=improvement + reach,
        images=images,
    )
