"""Bounds of log p(x), held against a model whose log p(x) is known: a line plus noise."""

from __future__ import annotations

import numpy as np
import pytest

from genpipe.metrics.likelihood import importance_weighted_bounds

PIXELS = 784
PICTURE = np.random.default_rng(0).normal(scale=0.05, size=PIXELS).astype(np.float32)
IMAGES = np.random.default_rng(1).random((250, 28, 28, 1), np.float32)
PRECISION = 1 + 2 * float(PICTURE @ PICTURE)
MEANS = 2 * IMAGES.reshape(-1, PIXELS) @ PICTURE / PRECISION


def decode(codes: np.ndarray) -> np.ndarray:
    return (codes * PICTURE).reshape(-1, 28, 28, 1)


def log_likelihoods() -> np.ndarray:
    """log N(x; 0, I/2 + ww'), by the determinant lemma and Sherman and Morrison's formula."""
    rows = IMAGES.reshape(-1, PIXELS).astype(np.float64)
    square = (rows**2).sum(axis=1) - MEANS.astype(np.float64) ** 2 * PRECISION / 2
    return -square - PIXELS / 2 * np.log(np.pi) - np.log(PRECISION) / 2


def bounds(shift: float, samples: int) -> np.ndarray:
    z_mean = (MEANS + shift)[:, None].astype(np.float32)
    z_log_var = np.full_like(z_mean, -np.log(PRECISION))
    return importance_weighted_bounds(decode, IMAGES, z_mean, z_log_var, samples=samples)


@pytest.mark.parametrize("samples", [1, 7])
def test_with_the_true_posterior_any_bound_is_the_likelihood(samples: int) -> None:
    np.testing.assert_allclose(bounds(0.0, samples), log_likelihoods(), atol=1e-2)


def test_with_another_one_it_rises_towards_the_likelihood_with_k() -> None:
    gaps = [float((log_likelihoods() - bounds(1.0, samples)).mean()) for samples in (1, 5, 50)]

    # At k = 1 the gap is the divergence of two Gaussians of one variance.
    assert gaps[0] == pytest.approx(PRECISION / 2, rel=0.2)
    assert gaps[0] > 1.5 * gaps[1] > 2 * gaps[2] > 0
