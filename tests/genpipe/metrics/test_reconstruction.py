from __future__ import annotations

import numpy as np
import pytest

from genpipe.metrics.reconstruction import (
    binary_cross_entropy,
    kl_divergences,
    log_normalizer,
    pca_squared_errors,
    pixel_components,
    squared_errors,
)
from genpipe.principal_components import PrincipalComponents

PIXELS = 28 * 28


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Images that vary along a few directions, with some noise."""
    random = np.random.default_rng(0)
    patterns = random.uniform(size=(6, PIXELS))
    values = random.uniform(size=(300, 6)) @ patterns / 6 + random.normal(size=(300, PIXELS)) / 50
    return (np.clip(values, 0, 1) * 255).astype(np.uint8).reshape(-1, 28, 28, 1)


@pytest.fixture(scope="module")
def pca(images: np.ndarray) -> PrincipalComponents:
    return pixel_components(images[:200])


def as_images(*values: float) -> np.ndarray:
    """Images of one value each."""
    return (
        np.full((len(values), 28, 28, 1), 1, np.float32) * np.float32(values)[:, None, None, None]
    )


def test_the_squared_error_by_hand() -> None:
    errors = squared_errors(as_images(0, 1), as_images(0.5, 0.9))

    assert errors == pytest.approx([0.25, 0.01], rel=1e-6)


def test_the_cross_entropy_by_hand() -> None:
    expected = -(np.log(0.75) + np.log(0.9) + 0.3 * np.log(0.6) + 0.7 * np.log(0.4)) / 3

    found = binary_cross_entropy(as_images(0, 1, 0.3), as_images(0.25, 0.9, 0.6))

    assert found == pytest.approx(expected, rel=1e-6)


def test_the_cross_entropy_of_a_sure_mistake_is_finite() -> None:
    # The nearest float32 to 1e-7 and to 1 - 1e-7.
    assert binary_cross_entropy(as_images(1), as_images(0)) == pytest.approx(16.118, abs=1e-3)
    assert binary_cross_entropy(as_images(0), as_images(1)) == pytest.approx(15.942, abs=1e-3)
    assert binary_cross_entropy(as_images(0, 1), as_images(0, 1)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("mean", "log_var", "expected"),
    [
        ([[0.0, 0.0]], [[0.0, 0.0]], [0.0]),
        ([[3.0, -4.0]], [[0.0, 0.0]], [12.5]),
        ([[0.0]], [[np.log(4)]], [0.5 * (3 - np.log(4))]),
        ([[1.0], [0.0]], [[0.0], [0.0]], [0.5, 0.0]),
    ],
)
def test_the_divergence_by_hand(mean: list, log_var: list, expected: list) -> None:
    assert kl_divergences(np.array(mean), np.array(log_var)) == pytest.approx(expected)


def test_the_constant_makes_the_loss_a_gaussian_likelihood() -> None:
    """-784 mse - log_normalizer is the log density of N(rebuilt, I/2) at the image."""
    random = np.random.default_rng(0)
    image, rebuilt = random.uniform(size=(2, 1, 28, 28, 1))
    densities = np.exp(-np.square(image - rebuilt)) / np.sqrt(np.pi)

    (found,) = -PIXELS * squared_errors(image, rebuilt) - log_normalizer(image)

    assert found == pytest.approx(np.log(densities).sum(), rel=1e-9)


def test_the_error_of_pca_is_that_of_a_singular_value_decomposition(
    images: np.ndarray, pca: PrincipalComponents
) -> None:
    train, test = images[:200].reshape(200, -1) / 255, images[200:].reshape(100, -1) / 255
    mean = train.mean(axis=0)
    _, _, directions = np.linalg.svd(train - mean, full_matrices=False)

    for components in (1, 2, 10, 100):
        kept = directions[:components]
        rebuilt = mean + (test - mean) @ kept.T @ kept
        found = pca_squared_errors(pca, images[200:], components).mean()
        assert found == pytest.approx(np.square(test - rebuilt).mean(), rel=1e-4)


def test_more_components_are_never_worse(images: np.ndarray, pca: PrincipalComponents) -> None:
    seen = images[:200]
    errors = [
        pca_squared_errors(pca, seen, count).mean() for count in (0, 1, 2, 5, 20, 300, 784, 4096)
    ]

    assert errors[:-1] == sorted(errors[:-1], reverse=True)
    assert errors[0] == pytest.approx((seen / 255).var(axis=0).mean(), rel=1e-5)
    assert errors[-2:] == pytest.approx([0, 0], abs=1e-12)


@pytest.mark.parametrize("most_pixels", [100, 3072])
def test_large_images_and_few_have_the_components_of_some(
    most_pixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of fewer images than pixels both ways are the same, but for what rounding leaves."""
    images = np.random.default_rng(0).integers(0, 256, (300, 28, 28, 1), np.uint8)
    images[:, ::2] //= 3
    with monkeypatch.context() as patch:
        patch.setattr("genpipe.metrics.reconstruction.FEW_IMAGES", 0)
        by_covariance = pixel_components(images)
    monkeypatch.setattr("genpipe.metrics.reconstruction.MOST_PIXELS", most_pixels)

    few = pixel_components(images)

    assert by_covariance.directions.shape == (784, 784)
    assert few.directions.shape == (784, 299)
    for count in (1, 10, 299):
        errors = pca_squared_errors(by_covariance, images, count)
        np.testing.assert_allclose(pca_squared_errors(few, images, count), errors, atol=1e-6)


def test_pca_reads_in_blocks_and_changes_nothing_by_it() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5_700, 28, 28, 1), np.uint8)
    rows = images.reshape(len(images), -1) / 255

    pca = pixel_components(images)

    np.testing.assert_allclose(pca.mean, rows.mean(axis=0), rtol=1e-6)
    found = pca.directions.T @ np.cov(rows, rowvar=False) @ pca.directions
    variances = np.diag(found)
    assert (np.diff(pca.variances) <= 0).all()
    np.testing.assert_allclose(pca.variances, variances, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(found - np.diag(variances), 0, atol=1e-6)
