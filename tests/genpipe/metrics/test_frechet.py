from __future__ import annotations

import numpy as np
import pytest

from genpipe.metrics.frechet import Gaussian, distance_with_interval


def normal(mean: list[float], covariance: list[list[float]]) -> Gaussian:
    return Gaussian(np.array(mean), np.array(covariance))


def test_the_distance_by_hand() -> None:
    # Of two normals along the axes: the means' squared distance and that of the deviations.
    first = normal([0.0, 1.0], [[4.0, 0.0], [0.0, 1.0]])
    second = normal([3.0, 1.0], [[1.0, 0.0], [0.0, 9.0]])

    assert first.distance(second) == pytest.approx(3**2 + (2 - 1) ** 2 + (1 - 3) ** 2)
    assert first.distance(second) == pytest.approx(second.distance(first))
    assert first.distance(first) == pytest.approx(0, abs=1e-12)


def test_the_distance_of_covariances_that_do_not_commute() -> None:
    random = np.random.default_rng(0)
    first, second = (normal([0.0] * 5, a @ a.T) for a in random.normal(size=(2, 5, 5)))
    roots = np.sqrt(np.linalg.eigvals(first.covariance @ second.covariance).astype(complex))
    expected = np.trace(first.covariance + second.covariance) - 2 * roots.real.sum()

    assert first.distance(second) == pytest.approx(expected)


def test_a_feature_that_never_fires_does_no_harm() -> None:
    features = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    features[:, 1] = 0

    found = Gaussian.fit(features).distance(Gaussian.fit(features + np.float32([0, 0, 2])))

    assert found == pytest.approx(4, rel=1e-5)


def test_the_fit_has_the_mean_and_covariance_of_the_features() -> None:
    features = np.random.default_rng(0).exponential(size=(400, 4)).astype(np.float32)

    fitted = Gaussian.fit(features)

    np.testing.assert_allclose(fitted.mean, features.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(
        fitted.covariance, np.cov(features, rowvar=False, bias=True), atol=1e-5
    )


def test_the_interval_is_as_wide_as_fresh_draws_differ() -> None:
    random = np.random.default_rng(0)

    def sets() -> tuple[np.ndarray, np.ndarray]:
        real, samples = (random.normal(mean, 1, (600, 5)) for mean in (0, 0.4))
        return real.astype(np.float32), samples.astype(np.float32)

    drawn = [sets() for _ in range(60)]
    observed = [Gaussian.fit(real).distance(Gaussian.fit(samples)) for real, samples in drawn]
    found, ends = zip(*(distance_with_interval(*both) for both in drawn[:6]), strict=True)
    low, high = zip(*ends, strict=True)

    reach = np.mean(np.array(high) - np.array(low)) / 2
    assert reach == pytest.approx(1.96 * np.std(observed), rel=0.3)
    np.testing.assert_allclose((np.array(low) + high) / 2, observed[:6])
    assert [*found] == observed[:6]


def test_fewer_images_than_groups_still_have_an_interval() -> None:
    random = np.random.default_rng(0)
    real, samples = random.normal(size=(2, 20, 3)).astype(np.float32)

    distance, (low, high) = distance_with_interval(real, samples + 3)

    assert 0 < low < distance < high


def test_the_interval_does_not_follow_the_order_of_the_images() -> None:
    """Groups in the order of a data set would each be of one kind: MNIST's halves differ."""
    random = np.random.default_rng(0)
    real, samples = random.normal(size=(2, 2000, 3)).astype(np.float32)
    ordered = real[real[:, 0].argsort()]

    reaches = [np.ptp(distance_with_interval(one, samples + 0.3)[1]) for one in (real, ordered)]

    assert reaches[1] == pytest.approx(reaches[0], rel=0.35)
