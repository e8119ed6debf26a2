from __future__ import annotations

import math

import numpy as np
import pytest

from genpipe.metrics.latent import (
    CELLS,
    active_units,
    area_shares,
    collapse_note,
    dead_units,
    geometry,
    neighbour_accuracy,
    plane_of,
)


def test_two_code_units_are_the_plane_themselves() -> None:
    codes = np.random.default_rng(0).normal(size=(20, 2))

    shown = plane_of(codes)

    np.testing.assert_array_equal(shown.points, codes)
    assert shown.axes == ("code unit 1", "code unit 2")


def test_one_code_unit_is_drawn_along_the_first_axis() -> None:
    codes = np.array([[1.0], [2.0], [4.0]])

    shown = plane_of(codes)

    assert shown.points.tolist() == [[1, 0], [2, 0], [4, 0]]
    assert shown.axes[0] == "code unit 1"


def test_more_code_units_are_seen_along_the_two_axes_of_most_variance() -> None:
    random = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(random.normal(size=(5, 5)))
    codes = random.normal(size=(500, 5)) * [1, 8, 0.1, 4, 0.1] @ rotation + 3
    centred = codes - codes.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)

    shown = plane_of(codes)

    expected = left[:, :2] * sizes[:2]
    np.testing.assert_allclose(np.abs(shown.points), np.abs(expected), rtol=1e-6, atol=1e-9)
    shares = np.square(sizes) / np.square(sizes).sum()
    assert f"({shares[0]:.0%} of the variance)" in shown.axes[0]
    assert f"({shares[1]:.0%})" in shown.axes[1]


def test_codes_that_are_all_equal_have_a_plane_too() -> None:
    assert np.isfinite(plane_of(np.ones((5, 3))).points).all()


def test_geometry_by_hand() -> None:
    codes = np.array([[3.0, 4.0], [3.0, 4.0], [3.0, 8.0], [3.0, 0.0]])

    found = geometry(codes)

    assert found["code_mean_distance"] == pytest.approx(5)
    assert found["code_spread"] == pytest.approx(np.sqrt((0 + 0 + 16 + 16) / 4))


def test_a_standard_normal_lies_at_0_with_the_root_of_the_latent_size_as_spread() -> None:
    codes = np.random.default_rng(0).normal(size=(50_000, 9))

    found = geometry(codes)

    assert found["code_mean_distance"] < 0.05
    assert found["code_spread"] == pytest.approx(3, rel=0.01)


def draws(count: int = 10_000) -> np.ndarray:
    """From a Gaussian that is neither round nor about 0."""
    return np.random.default_rng(0).multivariate_normal([5, -3], [[4, 3], [3, 9]], count)


@pytest.mark.parametrize("count", [10_000, 55_000])
def test_a_gaussian_has_no_gaps(count: int) -> None:
    """Whatever its moments, and however many codes there are."""
    _, gaps = area_shares(draws(count), np.zeros(count, int), 1)

    assert gaps < 0.002


@pytest.mark.parametrize("reach", [0.2, 0.5, 1.0])
def test_a_hole_is_a_gap_of_the_mass_that_the_gaussian_has_there(reach: float) -> None:
    """Without the codes of a band in the middle, as wide as ``reach`` to each side."""
    codes = np.random.default_rng(0).normal(size=(20_000, 2), scale=[3, 1])
    codes = codes[np.abs(codes[:, 0]) > 3 * reach]
    within = math.erf(3 * reach / codes[:, 0].std() / math.sqrt(2))

    _, gaps = area_shares(codes, np.zeros(len(codes), int), 1)

    # At either edge of the band a column of cells may lie partly outside.
    assert within - 2 / CELLS < gaps <= within + 0.002


def test_the_area_of_a_class_is_how_often_a_draw_falls_to_it() -> None:
    codes = draws()
    height = (codes[:, 0] - 5) / 2  # N(0, 1)

    shares, _ = area_shares(codes, np.digitize(height, [0.6745]), 3)

    np.testing.assert_allclose(shares, [0.75, 0.25, 0], atol=0.02)


def test_a_cell_belongs_to_the_class_with_most_codes_in_it() -> None:
    labels = np.random.default_rng(1).choice(3, size=10_000, p=[0.1, 0.8, 0.1])

    shares, _ = area_shares(draws(), labels, 3)

    assert shares[1] > 0.98


def test_areas_of_a_single_point_are_told_without_a_crash() -> None:
    shares, gaps = area_shares(np.zeros((5, 2)), np.zeros(5, int), 2)

    assert shares.tolist() == [1, 0]
    assert gaps == 1 - 1 / CELLS**2


def test_a_unit_is_dead_when_it_is_0_for_every_image() -> None:
    codes = np.array([[0.0, 0.0, 1.0, -1.0], [0.0, 0.5, 1.0, -1.0]])

    assert dead_units(codes) == 1
    assert dead_units(codes[:1]) == 2


def test_a_unit_is_active_when_its_mean_varies_by_more_than_a_hundredth() -> None:
    deviations = np.array([0.0, 0.09, 0.11, 1.0])
    z_mean = np.array([[1.0], [-1.0]]) * deviations + 7

    assert active_units(z_mean) == 2


def test_neighbours_tell_classes_that_lie_apart_and_none_that_do_not() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], 100)
    noise = random.normal(size=(2, 200, 3)).astype(np.float32)
    known, codes = noise + 20 * labels[:, None].astype(np.float32)

    assert neighbour_accuracy(known, labels, codes, labels) == 1
    assert 0.3 < neighbour_accuracy(noise[0], labels, noise[1], labels) < 0.7


def test_the_majority_of_five_neighbours_wins_over_the_nearest() -> None:
    known = np.array([[0.0], [1.0], [1.1], [1.2], [1.3], [9.0]], np.float32)
    code = np.array([[0.1]], np.float32)

    told = neighbour_accuracy(known, np.array([0, 1, 1, 1, 0, 0]), code, np.array([1]))

    assert told == 1


def test_units_that_collapsed_are_told() -> None:
    z_mean = np.random.default_rng(0).normal(size=(100, 4))
    assert collapse_note(z_mean) == ""
    z_mean[:, :3] *= 0.01
    assert collapse_note(z_mean).startswith("3 of 4 units are idle")
    assert collapse_note(0 * z_mean).startswith("posterior collapse")
