from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from genpipe.metrics.frechet import Gaussian
from genpipe.registry.comparison import compare_losses, compare_samples


def test_the_interval_of_two_models_is_that_of_their_paired_difference() -> None:
    random = np.random.default_rng(0)
    hard = random.gamma(2, 10, 4000)  # what both find hard, far more than they differ
    champion = (hard + random.normal(0.3, 1, 4000)).astype(np.float32)

    found = compare_losses("mean_squared_error", champion, hard.astype(np.float32))

    difference = champion - hard
    margin = 1.96 * difference.std(ddof=1) / np.sqrt(4000)
    assert found.improvement == pytest.approx(difference.mean(), rel=1e-5)
    assert found.improvement - found.low == pytest.approx(margin, rel=0.15)
    assert found.high - found.improvement == pytest.approx(margin, rel=0.15)
    assert (found.champion, found.challenger) == pytest.approx((champion.mean(), hard.mean()))
    assert (found.metric, found.images, found.better) == ("mean_squared_error", 4000, True)


def test_an_elbo_is_better_the_higher_it_is() -> None:
    losses = np.random.default_rng(0).gamma(2, 50, 1000)

    found = compare_losses("elbo", losses, losses - 3)

    assert (found.champion, found.challenger) == pytest.approx((-losses.mean(), 3 - losses.mean()))
    assert (found.improvement, found.low, found.high) == pytest.approx((3, 3, 3))
    assert found.verdict == "better beyond the interval"
    assert compare_losses("elbo", losses, losses + 3).verdict == "worse"


def test_a_model_is_not_better_than_itself() -> None:
    losses = np.random.default_rng(0).gamma(2, 50, 1000)

    found = compare_losses("elbo", losses, losses)

    assert (found.low, found.improvement, found.high) == (0, 0, 0)
    assert (found.better, found.verdict) == (False, "not better beyond the interval")


def draws(random: np.random.Generator, mean: float, count: int = 1500) -> np.ndarray:
    return random.normal(mean, 1, (count, 6)).astype(np.float32)


def test_samples_nearer_to_the_test_images_are_better() -> None:
    random = np.random.default_rng(0)
    test, far, near = draws(random, 0), draws(random, 0.5), draws(random, 0.2)

    found = compare_samples(test, far, near)

    expected = [Gaussian.fit(test).distance(Gaussian.fit(drawn)) for drawn in (far, near)]
    assert [found.champion, found.challenger] == pytest.approx(expected)
    assert found.improvement == pytest.approx(expected[0] - expected[1])
    assert (found.better, found.images) == (True, 1500)
    assert compare_samples(test, near, far).verdict == "worse"


def test_the_interval_of_a_distance_is_as_wide_as_fresh_draws_differ() -> None:
    random = np.random.default_rng(0)
    differences = []
    for _ in range(30):
        found = compare_samples(*(draws(random, mean, 400) for mean in (0, 0.5, 0.4)))
        differences.append(found.improvement)

    assert (found.high - found.low) / 2 == pytest.approx(1.96 * np.std(differences), rel=0.5)


def test_a_set_with_more_samples_has_no_advantage() -> None:
    random = np.random.default_rng(0)
    test, few, many = draws(random, 0), draws(random, 0, 100), draws(random, 0, 4000)

    found = compare_samples(test, few, many)

    assert found.images == 100
    assert found == compare_samples(test, few, many[:100])


def test_what_another_seed_may_make_of_it_is_no_improvement() -> None:
    losses = np.random.default_rng(0).gamma(2, 50, 1000)
    better = compare_losses("elbo", losses, losses - 3)  # by 3, with an interval of no width

    assert replace(better, margin=2.9).verdict == "better beyond the interval and the margin"
    assert not replace(better, margin=3.1).better
    assert "not by more than another seed may" in replace(better, margin=3.1).verdict
