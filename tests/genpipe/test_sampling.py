from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genpipe.errors import InputError
from genpipe.sampling import (
    FITTED,
    FittedGaussian,
    FittedMixture,
    GaussianMixture,
    StandardNormal,
    read_sampler,
    write_sampler,
)


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_prior_is_the_generators_own_standard_normal() -> None:
    drawn = StandardNormal(3).draw(40, random(5))

    np.testing.assert_array_equal(drawn, random(5).standard_normal((40, 3), np.float32))


def test_the_fitted_gaussian_has_the_mean_and_covariance_of_the_codes() -> None:
    random = np.random.default_rng(0)
    codes = random.exponential(size=(400, 3)) @ random.normal(size=(3, 3)) + [5, 0, -2]

    drawn = FittedGaussian.fit(codes).draw(200_000, random)

    assert (drawn.shape, drawn.dtype) == ((200_000, 3), np.float32)
    covariance = np.cov(codes, rowvar=False)
    largest = covariance.max()
    np.testing.assert_allclose(drawn.mean(axis=0), codes.mean(axis=0), atol=0.02 * largest**0.5)
    np.testing.assert_allclose(np.cov(drawn, rowvar=False), covariance, atol=0.02 * largest)


def test_dead_and_doubled_units_keep_their_ties_in_the_fitted_gaussian() -> None:
    unit = np.random.default_rng(0).normal(size=100).astype(np.float32)
    codes = np.column_stack([unit, 2 * unit, np.zeros(100, np.float32)])

    drawn = FittedGaussian.fit(codes).draw(1000, np.random.default_rng(1))

    np.testing.assert_allclose(drawn[:, 1], 2 * drawn[:, 0], atol=1e-4)
    np.testing.assert_allclose(drawn[:, 2], 0, atol=1e-6)
    assert drawn[:, 0].std() == pytest.approx(unit.std(), rel=0.1)


def test_a_single_unit_can_be_fitted() -> None:
    codes = np.full((50, 1), 3.0, np.float32)

    for sampler in (FittedGaussian.fit(codes), FittedMixture.fit(codes, random())):
        assert sampler.draw(7, random()).tolist() == [[3.0]] * 7


def two_clusters(count: int = 6000) -> np.ndarray:
    """A third about (-3, 0), long and slanted; two thirds about (3, 1), round and tight."""
    noise = random().standard_normal((count, 2))
    left = noise @ np.array([[0.3, 0.8], [0.0, 0.4]]) + [-3, 0]
    right = noise * 0.2 + [3, 1]
    points: np.ndarray = np.where(np.arange(count)[:, None] % 3 == 0, left, right)
    return points


def test_the_mixture_finds_the_clusters_that_points_were_drawn_from() -> None:
    points = two_clusters()

    found = GaussianMixture.fit(points, 2, random())

    order = found.means[:, 0].argsort()
    clusters = (points[::3], np.delete(points, slice(None, None, 3), 0))
    for place, own in zip(order, clusters, strict=True):
        assert found.weights[place] == pytest.approx(len(own) / len(points), abs=1e-3)
        np.testing.assert_allclose(found.means[place], own.mean(axis=0), atol=0.01)
        # The ridge of 0.001 is on the diagonal.
        expected = np.cov(own, rowvar=False) + 0.001 * np.eye(2)
        np.testing.assert_allclose(found.covariances[place], expected, atol=0.003)


def test_a_component_alone_is_the_fitted_gaussian() -> None:
    points = random().normal(size=(500, 4))

    found = GaussianMixture.fit(points, 1, random())

    gaussian = FittedGaussian.fit(points)
    np.testing.assert_allclose(found.weights, [1])
    np.testing.assert_allclose(found.means[0], gaussian.mean, atol=1e-4)
    expected = gaussian.covariance * 499 / 500 + 0.001 * np.eye(4)
    np.testing.assert_allclose(found.covariances[0], expected, atol=1e-4)


def test_the_fit_ends_where_another_step_of_it_written_plainly_gains_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("genpipe.sampling.PASSES", 300)
    monkeypatch.setattr("genpipe.sampling.TOLERANCE", 0)
    points = two_clusters(600)

    found = GaussianMixture.fit(points, 5, random())

    densities = np.zeros((600, 5))
    for k in range(5):
        off = points - found.means[k]
        mahalanobis = (off @ np.linalg.inv(found.covariances[k]) * off).sum(axis=1)
        volume = np.sqrt(np.linalg.det(2 * np.pi * found.covariances[k]))
        densities[:, k] = found.weights[k] * np.exp(-mahalanobis / 2) / volume
    share = densities / densities.sum(axis=1, keepdims=True)
    sums = share.sum(axis=0)
    np.testing.assert_allclose(found.weights, sums / 600, atol=2e-3)
    np.testing.assert_allclose(found.means, share.T @ points / sums[:, None], atol=2e-3)


def test_draws_of_a_mixture_have_its_mean_and_covariance() -> None:
    codes = two_clusters()

    drawn = FittedMixture.fit(codes, random()).draw(100_000, random(1))

    assert (drawn.shape, drawn.dtype) == ((100_000, 2), np.float32)
    np.testing.assert_allclose(drawn.mean(axis=0), codes.mean(axis=0), atol=0.05)
    np.testing.assert_allclose(np.cov(drawn, rowvar=False), np.cov(codes, rowvar=False), rtol=0.05)
    # And no draw where no code is, which a single Gaussian has most of.
    gap = np.abs(drawn[:, 0]) < 1
    gaussian = FittedGaussian.fit(codes).draw(100_000, random(1))
    assert gap.mean() < 0.001 < 0.1 < (np.abs(gaussian[:, 0]) < 1).mean()


def test_units_beyond_the_mixtures_components_keep_their_spread_and_ties() -> None:
    units = random().normal(size=(3000, 40)) * np.linspace(2, 1, 40)
    codes = np.concatenate([units, units[:, :2] * 3, np.zeros((3000, 1))], axis=1)

    drawn = FittedMixture.fit(codes, random()).draw(20_000, random(1))

    np.testing.assert_allclose(drawn[:, 40:42], 3 * drawn[:, :2], atol=1e-3)
    np.testing.assert_allclose(drawn[:, 42], 0, atol=1e-6)
    np.testing.assert_allclose(drawn[:, :40].std(axis=0), codes[:, :40].std(axis=0), rtol=0.08)


@pytest.mark.parametrize("kind", FITTED)
def test_a_fitted_sampler_is_kept_and_draws_the_same(kind: str, tmp_path: Path) -> None:
    codes = random().normal(size=(500, 3)).astype(np.float32)
    sampler = (
        FittedGaussian.fit(codes)
        if kind == "fitted_gaussian"
        else FittedMixture.fit(codes, random())
    )

    write_sampler(tmp_path, kind, sampler)
    read = read_sampler(tmp_path, kind)

    np.testing.assert_array_equal(read.draw(40, random(1)), sampler.draw(40, random(1)))


def test_a_sampler_that_is_not_there_or_damaged_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"no fitted mixture lies beside the model, in .*: add --codes-from"
    ):
        read_sampler(tmp_path, "mixture")
    (tmp_path / "sampler_mixture.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match="holds no sampler"):
        read_sampler(tmp_path, "mixture")
