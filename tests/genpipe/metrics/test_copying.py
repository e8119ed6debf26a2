from __future__ import annotations

import numpy as np
import pytest

from genpipe.data.dataset import Dataset
from genpipe.metrics.copying import RealNeighbours, nearest_distances


def figures(digits: Dataset, images: np.ndarray) -> dict[str, float]:
    found = RealNeighbours.measure(digits, len(images)).compare(images)
    return {name: float(values.mean()) for name, values in found.items()}


def test_the_nearest_distance_is_the_least_of_all() -> None:
    images, others = np.random.default_rng(0).integers(0, 256, (2, 30, 28, 28, 1), np.uint8)
    pixels = [part.reshape(30, 784) / 255 for part in (images, others)]
    expected = np.linalg.norm(pixels[0][:, None] - pixels[1], axis=2).min(axis=1)

    np.testing.assert_allclose(nearest_distances(images, others), expected, rtol=1e-4)


def test_copies_of_training_images_are_nearer_than_any_real_image(digits: Dataset) -> None:
    copies = digits.images("train")[:200]
    faint = np.clip(copies.astype(int) + np.tile([0, 3], 392).reshape(28, 28, 1), 0, 255)

    for images in (copies, faint.astype(np.uint8)):
        found = figures(digits, images)
        assert found["training_closeness"] == pytest.approx(1, abs=0.02)
        assert found["nearest_is_training_share"] == 1


def test_real_images_that_nothing_was_trained_on_are_no_copies(digits: Dataset) -> None:
    found = figures(digits, digits.images("validation"))

    share = digits.size("train") / (digits.size("train") + digits.size("test"))
    assert found["training_closeness"] == pytest.approx(0.5, abs=0.1)
    assert found["nearest_is_training_share"] == pytest.approx(share, abs=0.12)
    assert found["duplicate_share"] < 0.06


def test_the_test_images_are_as_close_as_themselves(digits: Dataset) -> None:
    assert figures(digits, digits.images("test"))["training_closeness"] == pytest.approx(0.5)


def test_blurred_images_come_near_and_are_not_taken_for_copies(digits: Dataset) -> None:
    average = np.tile(digits.images("validation").mean(axis=0).astype(np.uint8), (100, 1, 1, 1))
    blurred = (average * 0.7 + digits.images("validation")[:100] * 0.3).astype(np.uint8)

    found = figures(digits, blurred)

    assert found["training_closeness"] > 0.6
    assert found["nearest_is_training_share"] < 0.9


def test_one_image_again_and_again_is_all_duplicates(digits: Dataset) -> None:
    same = np.tile(digits.images("validation")[:1], (50, 1, 1, 1))

    assert figures(digits, same)["duplicate_share"] == 1
