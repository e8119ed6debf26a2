"""A challenger against the champion, with the interval of the improvement."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from genpipe.families.spec import COMPARED_BY
from genpipe.metrics.bootstrap import margin, mean_interval
from genpipe.metrics.frechet import Gaussian, replicate


@dataclass(frozen=True)
class Comparison:
    """A challenger beside the champion, on the validation split of one data set.

    Attributes:
        metric: what they compare by, a name of the leaderboard.
        champion: its metric.
        challenger: its metric.
        improvement: how much better the challenger is, in the metric's unit; below 0 it is worse.
        low: lower end of the improvement's 95% interval.
        high: upper end.
        images: how many validation images, or samples of each, they were compared on.
        margin: what the lower end has to exceed, in the metric's unit: as much as two trainings of
            the same model that differ by their seeds alone may differ by.
        data: digest of the data set.
        champion_test: the champion's metric on the test split, where it was measured anew because
            it had been published on other data.
        challenger_test: the challenger's, then.
    """

    metric: str
    champion: float
    challenger: float
    improvement: float
    low: float
    high: float
    images: int
    margin: float = 0.0
    data: str = ""
    champion_test: float | None = None
    challenger_test: float | None = None

    def __post_init__(self) -> None:
        known = self.metric in COMPARED_BY and isinstance(self.images, int)
        numbers = asdict(self)
        for text in ("metric", "data"):
            del numbers[text]
        for optional in ("champion_test", "challenger_test"):
            numbers[optional] = numbers[optional] or 0
        if not known or not all(isinstance(value, (int, float)) for value in numbers.values()):
            raise ValueError("its comparison holds values that are not numbers")

    @property
    def better(self) -> bool:
        """Whether the challenger is better beyond the interval and the margin."""
        return self.low > self.margin

    @property
    def verdict(self) -> str:
        """The outcome in words."""
        if self.better:
            return f"better beyond the interval{' and the margin' if self.margin else ''}"
        if self.low > 0:
            return "better, but not by more than another seed may make of it"
        return "worse" if self.high < 0 else "not better beyond the interval"

    def __str__(self) -> str:
        return (
            f"{COMPARED_BY[self.metric]} {self.challenger:.5g} against the champion's "
            f"{self.champion:.5g} on the validation split, improvement {self.improvement:.3g} "
            f"(95% interval {self.low:.3g} to {self.high:.3g}, margin {self.margin:.3g})"
            + (", both measured on the new data" if self.champion_test is not None else "")
        )


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
