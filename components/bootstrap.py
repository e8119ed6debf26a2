"""How far a figure would move with other images: the bootstrap's standard error.

Efron 1979, "Bootstrap methods: another look at the jackknife". An interval is the standard normal
one about what was observed, 1.96 standard errors to each side (Efron and Tibshirani 1993, chapters
6 and 13; 200 replications are enough for a standard error). Not one of percentiles: a Fréchet
distance grows with the ties of a resample, and its percentiles with it.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

REPLICATIONS = 200
STANDARD_ERRORS = 1.96


def margin(replications: Iterable[float]) -> float:
    """Half the width of a 95% interval, from a figure's replications."""
    return STANDARD_ERRORS * float(np.std(list(replications), ddof=1))


def resample(generator: np.random.Generator, count: int) -> np.ndarray:
    """The places, (count,) int, of as many items drawn with replacement."""
    return generator.integers(count, size=count)


def replicate_means(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """The means of 200 resamples.

    Args:
        values: (n, m) float, m figures of each of n items, which are drawn together.
        seed: of the resampling.

    Returns:
        (200, m) float64.
    """
    count = len(values)
    generator = np.random.default_rng(seed)
    times_drawn = generator.multinomial(count, np.full(count, 1 / count), REPLICATIONS)
    means: np.ndarray = times_drawn.astype(np.float64) @ values.astype(np.float64) / count
    return means


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    """The 95% interval of the mean of (n,) numbers; it never leaves their range."""
    mean, reach = float(values.mean()), margin(replicate_means(values[:, None])[:, 0])
    return max(mean - reach, float(values.min())), min(mean + reach, float(values.max()))
