from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genpipe.reporting.images import grid, write_png


@pytest.mark.parametrize("shape", [(3, 2, 4), (3, 2, 4, 1)])
def test_images_stand_in_rows_with_grey_between(shape: tuple[int, ...]) -> None:
    images = np.arange(24, dtype=np.uint8).reshape(shape)

    picture = grid(images, 2, gap=1)

    flat = images.reshape(3, 2, 4)
    assert (picture.shape, picture.dtype) == ((5, 9), np.uint8)
    np.testing.assert_array_equal(picture[:2, :4], flat[0])
    np.testing.assert_array_equal(picture[:2, 5:], flat[1])
    np.testing.assert_array_equal(picture[3:, :4], flat[2])
    assert (picture[2] == 128).all()
    assert (picture[:, 4] == 128).all()
    assert (picture[3:, 5:] == 128).all()


def test_zoom_repeats_each_pixel() -> None:
    image = np.array([[[1, 2], [3, 4]]], np.uint8)

    assert grid(image, 1, zoom=2).tolist() == [
        [1, 1, 2, 2],
        [1, 1, 2, 2],
        [3, 3, 4, 4],
        [3, 3, 4, 4],
    ]


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_a_png_holds_the_pixels(tmp_path: Path, shape: tuple[int, ...]) -> None:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)

    write_png(tmp_path / "a.png", pixels)

    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image), pixels)
