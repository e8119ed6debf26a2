from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genpipe.cells import Status
from genpipe.data.dataset import Dataset, open_dataset
from genpipe.metrics.reconstruction import pixel_components
from genpipe.training import saved
from tests.benchmarks.applications import (
    auroc,
    held_out_auroc,
    inpaint,
    invert,
    linear_rebuilder,
    measure,
    without,
)

SIDE = (28, 28, 1)


def test_an_odd_image_is_told_by_a_higher_score_and_a_tie_is_half_told() -> None:
    usual = np.array([1.0, 2.0, 3.0])

    assert auroc(usual, np.array([4.0, 5.0])) == 1
    assert auroc(usual, np.array([0.0])) == 0
    assert auroc(usual, np.array([2.0])) == 0.5


def test_what_is_hidden_is_filled_in_and_never_read() -> None:
    picture = np.random.default_rng(0).random(SIDE, np.float32)
    images = np.stack([shade * picture for shade in (0.2, 0.9)])
    hidden = np.zeros(SIDE, bool)
    hidden[14:] = True
    direction = picture / np.linalg.norm(picture)

    def rebuild(seen: np.ndarray) -> np.ndarray:
        return (seen * direction).sum(axis=(1, 2, 3), keepdims=True) * direction

    filled = inpaint(rebuild, images, hidden)

    np.testing.assert_allclose(filled, images, atol=1e-3)
    np.testing.assert_array_equal(filled, inpaint(rebuild, np.where(hidden, 9, images), hidden))


def test_components_rebuild_what_they_span_and_tell_noise_by_its_error() -> None:
    generator = np.random.default_rng(0)
    shapes = generator.random((3, 784))
    images = (generator.random((300, 3)) @ shapes / 3).reshape(-1, *SIDE).astype(np.float32)
    rebuild = linear_rebuilder(pixel_components(np.rint(images * 255).astype(np.uint8)), 3)

    denoised, lower, detected = measure(rebuild, images, {"noise": generator.random((50, *SIDE))})

    assert denoised < 0.005
    assert lower < np.square(images - images.mean(axis=0))[:, 14:].mean()
    assert detected == 1


def test_the_code_behind_a_generated_image_is_found(tmp_path: Path) -> None:
    import keras

    keras.utils.set_random_seed(0)
    layers = [keras.Input((2,)), keras.layers.Dense(784, "tanh"), keras.layers.Reshape(SIDE)]
    networks = {"generator": keras.Sequential(layers)}
    metadata = {"latent_size": 2}
    saved.save(
        tmp_path,
        family="dcgan",
        status=Status.COMPLETE,
        networks=networks,
        history=[],
        metadata=metadata,
    )
    model = saved.SavedModel(tmp_path)
    codes = np.array([[0.5, -1.0], [-0.3, 0.8]], np.float32)
    images = (model.run("generator", codes) + 1) / 2

    assert invert(model, images) == pytest.approx(0, abs=1e-4)
    assert (invert(model, np.zeros_like(images)) > 0.01).all()


def test_a_digit_is_held_out_of_every_split_and_the_others_stay(
    digits: Dataset, tmp_path: Path
) -> None:
    without(digits, 4, tmp_path)

    left = open_dataset(tmp_path)
    for split in ("train", "validation", "test"):
        labels = np.asarray(digits.labels(split))
        np.testing.assert_array_equal(left.labels(split), labels[labels != 4])
        np.testing.assert_array_equal(left.images(split), digits.images(split)[labels != 4])


def test_a_model_that_never_saw_a_digit_rebuilds_it_worse(digits: Dataset) -> None:
    assert held_out_auroc(digits, 0, "autoencoder", epochs=60) > 0.6
