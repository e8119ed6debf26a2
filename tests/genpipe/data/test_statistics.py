from __future__ import annotations

import numpy as np
import pytest

from genpipe.data.statistics import mean_images, statistics_of


def test_brightness_and_contrast_are_those_of_all_pixels() -> None:
    images = np.random.default_rng(0).integers(0, 256, (12_345, 8, 8, 1), np.uint8)

    found = statistics_of(images)

    assert found["brightness"] == pytest.approx(images.mean() / 255)
    assert found["contrast"] == pytest.approx(images.std() / 255)


def test_images_that_are_there_twice_are_counted() -> None:
    images = np.arange(6, dtype=np.uint8).repeat(64).reshape(6, 8, 8, 1)

    assert statistics_of(images[[0, 1, 1, 1, 4, 4]])["duplicates"] == 3


def test_the_mean_image_of_a_class_without_images_is_black() -> None:
    images = np.array([10, 20, 90], np.uint8).repeat(64).reshape(3, 8, 8, 1)

    means = mean_images(images, np.array([0, 0, 2], np.uint8), 3)

    assert means[:, 0, 0, 0].tolist() == [15, 0, 90]
    assert (means.shape, means.dtype) == ((3, 8, 8, 1), np.uint8)
