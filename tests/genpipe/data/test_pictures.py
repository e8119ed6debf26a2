"""Pictures of users, as a model reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genpipe.data.readers.pictures import read_pictures
from genpipe.errors import InputError

GREY, COLOUR = (8, 6, 1), (8, 6, 3)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, COLOUR, np.uint8)


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path, pixels: np.ndarray) -> None:
    for name, level in (("b.png", 200), ("a.PNG", 100)):
        Image.new("L", (6, 8), level).save(tmp_path / name, "PNG")
    (tmp_path / "notes.txt").write_text("no picture")
    np.save(tmp_path / "more.npy", np.full((2, 8, 6), 7, np.uint8))

    names, images = read_pictures([tmp_path, tmp_path / "more.npy"], GREY)

    assert [Path(name).name for name in names] == ["a.PNG", "b.png", "more.npy[0]", "more.npy[1]"]
    assert images.shape == (4, *GREY)
    assert images[:, 0, 0, 0].tolist() == [100, 200, 7, 7]


def test_colours_stay_or_become_grey_as_the_model_reads(tmp_path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(tmp_path / "one.png")

    (colour,) = read_pictures([tmp_path], COLOUR)[1]
    (grey,) = read_pictures([tmp_path], GREY)[1]

    np.testing.assert_array_equal(colour, pixels)
    assert grey.shape == GREY


def test_another_size_is_refused_or_brought_to_the_models(tmp_path: Path) -> None:
    Image.new("L", (12, 16), 50).save(tmp_path / "one.png")

    with pytest.raises(InputError, match=r"one.png is 12 x 16 pixels, the model reads 6 x 8: add"):
        read_pictures([tmp_path], GREY)
    assert (
        read_pictures([tmp_path], GREY, resize=True)[1].tolist() == np.full((1, *GREY), 50).tolist()
    )


@pytest.mark.parametrize("array", [np.zeros((2, 8, 6)), np.zeros((2, 6, 8), np.uint8)])
def test_an_array_of_another_kind_is_refused(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)

    with pytest.raises(InputError, match=r"the model reads uint8 of shape \(n, 8, 6, 1\)"):
        read_pictures([tmp_path / "a.npy"], GREY)


@pytest.mark.parametrize(
    ("name", "told"),
    [("broken.png", "can't be read as a picture"), ("broken.npy", "is not a plain NumPy array")],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / name).write_bytes(b"\x89PNG of no kind")

    with pytest.raises(InputError, match=f"{name} {told}"):
        read_pictures([tmp_path / name], GREY)


def test_arrays_that_hold_nothing_or_objects_are_told(tmp_path: Path) -> None:
    np.save(tmp_path / "none.npy", np.zeros((0, 8, 6), np.uint8))
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)

    with pytest.raises(InputError, match=r"none\.npy holds no images"):
        read_pictures([tmp_path / "none.npy"], GREY)
    with pytest.raises(InputError, match=r"objects\.npy is not a plain NumPy array"):
        read_pictures([tmp_path / "objects.npy"], GREY)
