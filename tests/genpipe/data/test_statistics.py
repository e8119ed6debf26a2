from __future__ import annotations

import numpy as np
import pytest

from genpipe.data.statistics import mean_images, statistics_of


def test_brightness_and_contrast_are_those_of_all_pixels() -> None:
    images = np.random.default_rng(0).integers(0, 256, (12_345, 8, 8, 1), np.uint8)

    found = statistics_of({"train": (images, np.zeros(len(images), np.uint8))})["train"]

    assert found["brightness"] == pytest.approx(images.mean() / 255)
    assert found["contrast"] == pytest.approx(images.std() / 255)


def test_images_that_are_there_twice_are_counted_within_a_split_and_across() -> None:
    images = np.arange(6, dtype=np.uint8).repeat(64).reshape(6, 8, 8, 1)
    labels = np.zeros(8, np.uint8)

    found = statistics_of(
        {
            "train": (images[[0, 1, 1, 1]], labels[:4]),
            "validation": (images[[2, 3]], labels[:2]),
            "test": (images[[1, 4, 4, 0]], labels[:4]),
        }
    )

    assert [split["duplicates"] for split in found.values()] == [2, 0, 1]
    assert "in_train" not in found["train"]
    assert (found["validation"]["in_train"], found["test"]["in_train"]) == (0, 2)


def test_the_mean_image_of_a_class_without_images_is_black() -> None:
    images = np.array([10, 20, 90], np.uint8).repeat(64).reshape(3, 8, 8, 1)

    means = mean_images(images, np.array([0, 0, 2], np.uint8), 3)

    assert means[:, 0, 0, 0].tolist() == [15, 0, 90]
    assert (means.shape, means.dtype) == ((3, 8, 8, 1), np.uint8)
