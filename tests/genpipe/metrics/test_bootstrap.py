from __future__ import annotations

import numpy as np
import pytest

from genpipe.metrics.bootstrap import margin, mean_interval, resample


def test_the_interval_of_a_mean_is_the_one_that_resampling_comes_to() -> None:
    generator = np.random.default_rng(0)
    values = generator.gamma(2, 10, 3000)
    reach = margin(values[resample(generator, 3000)].mean() for _ in range(1000))

    low, high = mean_interval(values)

    assert (low + high) / 2 == pytest.approx(values.mean())
    assert high - low == pytest.approx(2 * reach, rel=0.1)


def test_an_interval_stays_within_what_values_there_are() -> None:
    almost_all = np.ones(50)
    almost_all[0] = 0

    assert mean_interval(np.ones(50)) == (1, 1)
    assert mean_interval(almost_all)[1] == 1
