from __future__ import annotations

import numpy as np
import pytest

from genpipe.metrics.neighbours import Manifold
from genpipe.metrics.samples import directions, judge_scores, means, merged


def test_the_judges_scores_by_hand() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.1, 0.9, 0.0], [0.8, 0.1, 0.1]])

    found = judge_scores(probabilities)

    assert found.metrics["mean_confidence"] == pytest.approx((0.7 + 0.5 + 0.9 + 0.8) / 4)
    assert (found.metrics["classes_covered"], found.metrics["largest_class_share"]) == (2, 0.75)
    expected = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert found.metrics["class_entropy"] == pytest.approx(expected)
    assert found.by_class == {"class_shares": [0.75, 0.25, 0]}


def test_a_digit_is_covered_by_one_sample_in_a_hundred() -> None:
    likeliest = np.array([0] * 1000)
    likeliest[:10], likeliest[10:19] = 1, 2

    assert judge_scores(np.eye(10)[likeliest]).metrics["classes_covered"] == 2


def test_even_digits_have_the_highest_entropy_and_one_digit_has_none() -> None:
    even = judge_scores(np.tile(np.eye(10), (100, 1)))
    one = judge_scores(np.tile(np.eye(10)[3], (100, 1)))

    assert even.metrics["class_entropy"] == pytest.approx(np.log(10))
    assert even.intervals["class_entropy"][1] == pytest.approx(np.log(10))
    assert one.metrics["class_entropy"] == 0
    assert one.intervals["class_entropy"] == (0, 0)


def test_the_interval_of_a_digits_share_is_the_binomial_one() -> None:
    likeliest = np.random.default_rng(0).choice(3, 4000, p=[0.5, 0.3, 0.2])

    found = judge_scores(np.eye(3)[likeliest])

    low, high = found.intervals["largest_class_share"]
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.5 * 0.5 / 4000), rel=0.15)
    assert low < found.metrics["largest_class_share"] < high


def test_figures_of_one_set_are_brought_together() -> None:
    scores = judge_scores(np.eye(10))
    found = merged(scores, means({"precision": np.array([0.0, 1.0])}))

    assert found.metrics == {**scores.metrics, "precision": 0.5}
    assert found.intervals.keys() == {*scores.intervals, "precision"}
    assert found.by_class == scores.by_class


def test_what_hardly_excites_the_judge_does_not_pass_for_real_by_being_short() -> None:
    generator = np.random.default_rng(0)
    digits = np.repeat(20 * np.eye(10, 128), 20, axis=0) + generator.normal(size=(200, 128))
    odd = 6 * np.eye(10, 128)
    real = np.concatenate([digits, odd]).astype(np.float32)
    noise = np.concatenate([np.zeros((50, 64)), np.full((50, 64), 0.3)], axis=1)
    noise = (noise + 0.1 * generator.random((50, 128))).astype(np.float32)

    assert Manifold(real).compare(noise).precise.mean() > 0.9
    assert Manifold(directions(real)).compare(directions(noise)).precise.mean() == 0
    np.testing.assert_allclose(np.linalg.norm(directions(real), axis=1), 1, rtol=1e-6)
    assert np.isfinite(directions(np.zeros((1, 128), np.float32))).all()


def test_of_many_classes_each_is_covered_with_a_tenth_of_an_even_share() -> None:
    """Of 300 classes an even share is a third of a percent."""
    likeliest = np.concatenate([np.arange(300).repeat(10), np.zeros(7000, int)])

    assert judge_scores(np.eye(300)[likeliest]).metrics["classes_covered"] == 300
    assert judge_scores(np.eye(300)[likeliest[300:]]).metrics["classes_covered"] == 271
