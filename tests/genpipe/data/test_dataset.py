from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from genpipe.data.dataset import (
    RESCALINGS,
    SPLITS,
    Dataset,
    open_dataset,
    write_dataset,
)
from genpipe.errors import InputError


def write(folder: Path, *, seed: int = 0, source: str = "wheel") -> Dataset:
    """A data set of a few random images."""
    random = np.random.default_rng(seed)
    arrays = {
        split: (
            random.integers(0, 256, (size, 28, 28, 1), dtype=np.uint8),
            random.integers(0, 10, size, dtype=np.uint8),
        )
        for split, size in zip(SPLITS, (20, 5, 10), strict=True)
    }
    folder.mkdir(parents=True)
    names = tuple("0123456789")
    return write_dataset(
        folder, arrays, name="mnist", class_names=names, facts={"source": source, "seed": seed}
    )


@pytest.mark.parametrize(
    ("name", "exact"),
    [
        ("unit", lambda pixel: Fraction(pixel, 255)),
        ("symmetric", lambda pixel: (pixel - Fraction(255, 2)) / Fraction(255, 2)),
    ],
)
def test_rescaling_is_the_nearest_float32_for_every_pixel(name: str, exact) -> None:
    rescaling, pixels = RESCALINGS[name], np.arange(256, dtype=np.uint8)
    expected = np.array([float(exact(pixel)) for pixel in range(256)]).astype(np.float32)

    values = rescaling.apply(pixels)

    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(rescaling.table[pixels], values)
    np.testing.assert_array_equal(rescaling.inverse(values), pixels)


def test_rescalings_cover_their_ranges() -> None:
    assert RESCALINGS["unit"].table[[0, 255]].tolist() == [0.0, 1.0]
    assert RESCALINGS["symmetric"].table[[0, 255]].tolist() == [-1.0, 1.0]


def test_inverse_clips_what_a_model_may_overshoot() -> None:
    assert RESCALINGS["symmetric"].inverse(np.array([-1.5, 0.0, 1.5])).tolist() == [0, 128, 255]


def test_arrays_open_memory_mapped(tmp_path: Path) -> None:
    write(tmp_path / "data")
    dataset = open_dataset(tmp_path / "data")

    for split, size in zip(SPLITS, (20, 5, 10), strict=True):
        images, labels = dataset.images(split), dataset.labels(split)
        assert isinstance(images, np.memmap)
        assert (images.shape, images.dtype) == ((size, 28, 28, 1), np.uint8)
        assert (labels.shape, labels.dtype) == ((size,), np.uint8)


def test_the_digest_depends_on_the_content_alone(tmp_path: Path) -> None:
    first = write(tmp_path / "a", source="wheel")
    same = write(tmp_path / "b" / "c", source="tfds")
    other = write(tmp_path / "d", seed=1)

    assert first.digest == same.digest
    assert first.digest != other.digest


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown split 'valid'.*validation"):
        write(tmp_path / "data").images("valid")


def test_a_folder_without_description_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is not a data set: it has no dataset\.json"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "can't be read"),
        ("[]", r"can't be read \(it must be an object, found list\)"),
        ("[" * 100_000, r"can't be read \(it is nested too deep\)"),
        ("{}", "is malformed at 'name'"),
    ],
)
def test_a_broken_description_is_refused(tmp_path: Path, text: str, told: str) -> None:
    write(tmp_path / "data")
    (tmp_path / "data" / "dataset.json").write_text(text)

    with pytest.raises(InputError, match=rf"dataset\.json {told}"):
        open_dataset(tmp_path / "data")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("digest", "sha256:0"),
        ("class_names", []),
        ("image_shape", [30, 30, 1]),
        ("splits", {"train": {}}),
        ("files", {"../../secret": "sha256:0"}),
    ],
)
def test_a_false_description_is_refused(tmp_path: Path, key: str, value: object) -> None:
    info = write(tmp_path / "data").info
    (tmp_path / "data" / "dataset.json").write_text(json.dumps({**info, key: value}))

    with pytest.raises(InputError, match=f"malformed at '{key}'"):
        open_dataset(tmp_path / "data")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    write(tmp_path / "data")
    (tmp_path / "data" / "test_labels.npy").unlink()

    with pytest.raises(InputError, match=r"test_labels\.npy is missing"):
        open_dataset(tmp_path / "data")


def test_an_altered_byte_is_found_and_named(tmp_path: Path) -> None:
    write(tmp_path / "data")
    path = tmp_path / "data" / "train_images.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    with pytest.raises(InputError, match=r"train_images\.npy was altered.*expected sha256:.*found"):
        open_dataset(tmp_path / "data")
    open_dataset(tmp_path / "data", check=False)


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.zeros((5, 28, 28, 1), np.float32), "holds float32 .* expected uint8"),
        (np.zeros((5, 28, 28), np.uint8), r"shape \(5, 28, 28\), expected .*\(5, 28, 28, 1\)"),
        (np.zeros((4, 28, 28, 1), np.uint8), r"shape \(4, 28, 28, 1\)"),
        (np.array([None] * 5), "cannot be opened"),
    ],
)
def test_another_type_or_shape_is_refused(tmp_path: Path, array: np.ndarray, told: str) -> None:
    write(tmp_path / "data")
    np.save(tmp_path / "data" / "validation_images.npy", array)

    with pytest.raises(InputError, match=rf"validation_images\.npy.* {told}"):
        open_dataset(tmp_path / "data", check=False)


def test_a_truncated_file_is_refused_even_unchecked(tmp_path: Path) -> None:
    write(tmp_path / "data")
    path = tmp_path / "data" / "test_images.npy"
    path.write_bytes(path.read_bytes()[:1000])

    with pytest.raises(InputError, match=r"test_images\.npy cannot be opened"):
        open_dataset(tmp_path / "data", check=False)


def test_reading_needs_numpy_alone() -> None:
    code = "import genpipe.data.dataset, sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    loaded = set(run.stdout.split())
    assert not loaded & {"tensorflow", "tensorflow_datasets", "wandb", "kfp", "google.cloud"}
