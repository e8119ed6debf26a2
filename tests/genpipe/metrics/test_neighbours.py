"""Precision, recall, density and coverage by closed forms, and as their definitions read."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from genpipe.metrics.neighbours import Manifold, radii


def draws(seed: int, mean: float = 0.0, count: int = 450, size: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1, (count, size)).astype(np.float32)


def figures(real: np.ndarray, samples: np.ndarray) -> dict[str, float]:
    found = Manifold(real).compare(samples)
    return {
        "precision": float(found.precise.mean()),
        "recall": float(found.recalled.mean()),
        "density": float(found.density.mean()),
        "coverage": float(found.covered.mean()),
    }


def test_a_set_lies_wholly_within_itself() -> None:
    points = draws(0)

    found = figures(points, points)

    # Each ball holds its centre and five neighbours: six, over five. The last is at its edge.
    assert found["density"] == pytest.approx(6 / 5, abs=0.02)
    assert (found["precision"], found["recall"], found["coverage"]) == (1, 1, 1)


def test_sets_far_apart_share_nothing() -> None:
    assert figures(draws(0), draws(1, mean=50)) == dict.fromkeys(
        ("precision", "recall", "density", "coverage"), 0
    )


def test_one_image_made_again_and_again_is_precise_and_covers_nothing_more() -> None:
    real = draws(0)

    found = figures(real, np.tile(real[:1], (450, 1)))

    assert found["precision"] == 1
    assert found["recall"] == 1 / 450  # its balls have no extent
    assert found["coverage"] < 0.05


def test_real_samples_cover_what_naeem_et_al_derive() -> None:
    # Their appendix: the k nearest of 2n - 1 others are all real with this probability.
    n, k = 450, 5
    expected = 1 - comb(n - 1, k) / comb(2 * n - 1, k)

    found = [figures(draws(seed), draws(seed + 100)) for seed in range(4)]

    assert np.mean([figure["coverage"] for figure in found]) == pytest.approx(expected, abs=0.01)
    assert np.mean([figure["density"] for figure in found]) == pytest.approx(1, abs=0.05)


def test_the_figures_are_those_of_the_definitions() -> None:
    real, samples = draws(0, count=70, size=3), draws(1, mean=0.8, count=70, size=3)

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.sqrt(np.sum((a - b) ** 2, dtype=np.float64)))

    def reach(points: np.ndarray, k: int) -> list[float]:
        return [sorted(distance(a, b) for b in points)[k] for a in points]

    pairs = [[distance(sample, point) for point in real] for sample in samples]
    third, fifth, own = reach(real, 3), reach(real, 5), reach(samples, 3)
    places = range(70)
    precision = [any(pairs[i][j] <= third[j] for j in places) for i in places]
    recall = [any(pairs[i][j] <= own[i] for i in places) for j in places]
    density = [sum(pairs[i][j] <= fifth[j] for j in places) / 5 for i in places]
    coverage = [any(pairs[i][j] <= fifth[j] for i in places) for j in places]

    found = Manifold(real).compare(samples)

    assert found.precise.tolist() == precision
    assert found.recalled.tolist() == recall
    assert found.density.tolist() == pytest.approx(density)
    assert found.covered.tolist() == coverage


def test_a_radius_reaches_to_the_kth_other_point() -> None:
    points = np.float32([[0], [1], [3], [7], [15]])

    first, second = radii(points, 1, 2)

    assert first.tolist() == [1, 1, 4, 16, 64]
    assert second.tolist() == [9, 4, 9, 36, 144]
