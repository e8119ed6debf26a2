"""How far a metric would move with other images: the bootstrap's standard error.

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
    """Half-width of a 95% interval, from a metric's replications."""
    return STANDARD_ERRORS * float(np.std(list(replications), ddof=1))


def resample(generator: np.random.Generator, count: int) -> np.ndarray:
    """The places, (count,) int, of as many items drawn with replacement."""
    return generator.integers(count, size=count)


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    """The 95% interval of the mean of (n,) numbers; it never leaves their range.

    Nothing is drawn: of a mean the bootstrap's standard error is known, the numbers' standard
    deviation over the root of n (Efron and Tibshirani, chapter 5).
    """
    mean = float(values.mean(dtype=np.float64))
    reach = STANDARD_ERRORS * float(values.std(dtype=np.float64)) / len(values) ** 0.5
    return max(mean - reach, float(values.min())), min(mean + reach, float(values.max()))
