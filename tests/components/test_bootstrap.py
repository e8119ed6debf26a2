from __future__ import annotations

import numpy as np
import pytest

from components.bootstrap import mean_interval, replicate_means


def test_the_interval_of_a_mean_is_as_wide_as_its_standard_error_says() -> None:
    values = np.random.default_rng(0).gamma(2, 10, 3000)

    low, high = mean_interval(values)

    assert (low + high) / 2 == pytest.approx(values.mean())
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(3000), rel=0.15)


def test_an_interval_stays_within_what_values_there_are() -> None:
    almost_all = np.ones(50)
    almost_all[0] = 0

    assert mean_interval(np.ones(50)) == (1, 1)
    assert mean_interval(almost_all)[1] == 1


def test_figures_of_one_item_are_resampled_together() -> None:
    values = np.random.default_rng(0).normal(size=(200, 1))

    means = replicate_means(np.concatenate([values, -2 * values], axis=1))

    assert means.shape == (200, 2)
    np.testing.assert_allclose(means[:, 1], -2 * means[:, 0])
    assert means[:, 0].std() > 0
