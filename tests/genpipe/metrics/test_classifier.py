from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genpipe.data.dataset import RESCALINGS, Dataset
from genpipe.data.readers.published import IMAGE_SHAPE
from genpipe.errors import InputError
from genpipe.metrics.classifier import build_classifier, train_judge
from genpipe.metrics.references import read_references
from genpipe.metrics.samples import REAL_IMAGES, SampleEvaluator
from genpipe.tracking import Picture, Tracker
from genpipe.training.saved import SavedModel


class Recorder(Tracker):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, float | Picture]] = []

    def log(self, values: Mapping[str, float | Picture]) -> None:
        self.rows.append(dict(values))


@pytest.fixture(scope="module")
def trained(
    digits: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any], Recorder]:
    folder, tracker = tmp_path_factory.mktemp("judge") / "model", Recorder()
    # Whole floats, as KFP hands them over.
    budget: dict[str, Any] = {"epochs": 2.0, "seed": 0.0, "samples": 100.0}
    metadata = train_judge(digits.folder, folder, tracker=tracker, **budget)
    return folder, metadata, tracker


def test_the_judge_is_as_described() -> None:
    network = build_classifier(10, IMAGE_SHAPE)

    assert (network.input_shape, network.output_shape) == ((None, 28, 28, 1), (None, 10))
    shapes = [layer.output.shape[1:] for layer in network.layers]
    assert shapes[1:3] == [(14, 14, 16), (7, 7, 48)]
    assert network.get_layer("features").units == 128


def test_the_accuracy_in_model_json_is_that_on_the_test_split(
    trained: tuple[Path, dict[str, Any], Recorder], digits: Dataset
) -> None:
    folder, metadata, _ = trained
    model = SavedModel(folder)
    images = RESCALINGS["unit"].apply(digits.images("test"))
    probabilities = model.run("classifier", images)
    right = probabilities.argmax(axis=1) == digits.labels("test")

    assert json.loads((folder / "model.json").read_text()) == metadata
    assert (metadata["family"], metadata["status"], metadata["seed"]) == ("judge", "complete", 0)
    assert metadata["data"]["digest"] == digits.digest
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert metadata["metrics"]["test_accuracy"] == pytest.approx(right.mean(), abs=1e-6)
    # Guessing is right in one of ten.
    assert metadata["metrics"]["test_accuracy"] > 0.5


def test_the_features_are_what_the_last_layer_reads(
    trained: tuple[Path, dict[str, Any], Recorder], digits: Dataset
) -> None:
    model = SavedModel(trained[0])
    images = RESCALINGS["unit"].apply(digits.images("test"))
    probabilities, features = model.run("judge", images)
    kernel, bias = model.classifier.layers[-1].get_weights()
    scores = np.exp(features @ kernel + bias)

    assert features.shape == (200, 128)
    np.testing.assert_allclose(probabilities, model.run("classifier", images), atol=1e-6)
    expected = scores / scores.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)


def test_the_references_lie_between_real_images_and_noise(
    trained: tuple[Path, dict[str, Any], Recorder],
) -> None:
    references = read_references(trained[0])

    assert {name: found["images"] for name, found in references.items()} == dict.fromkeys(
        ("training_images", "validation_images", "pixel_gaussian", "noise"), 100
    )
    figures = [references[name]["metrics"] for name in ("training_images", "noise")]
    real, noise = figures
    assert real["frechet_distance"] < noise["frechet_distance"] / 10
    assert real["precision"] > 0.5
    assert real["coverage"] > 0.5 > noise["coverage"]
    # The training images are what a model that copies would draw.
    assert real["training_closeness"] == real["nearest_is_training_share"] == 1
    held_out = references["validation_images"]["metrics"]
    assert held_out["training_closeness"] == pytest.approx(0.5, abs=0.15)
    assert real["frechet_distance"] < references["pixel_gaussian"]["metrics"]["frechet_distance"]
    for found in references.values():
        for name, (low, high) in found["intervals"].items():
            assert low <= found["metrics"][name] <= high, name


def test_the_judge_keeps_what_samples_are_held_against(
    trained: tuple[Path, dict[str, Any], Recorder], digits: Dataset, tmp_path: Path
) -> None:
    images = digits.images("validation")[:100]

    def measured(folder: Path, count: int) -> list[dict[str, float]]:
        evaluator = SampleEvaluator(SavedModel(folder), digits, count)
        parts = evaluator.measure(images, deciding=True), evaluator.copying(images)
        return [part.metrics for part in parts]

    without = shutil.copytree(trained[0], tmp_path / "model")
    (without / REAL_IMAGES).unlink()
    assert measured(trained[0], 100) == measured(without, 100)
    # It has the neighbourhoods of 100 images.
    assert measured(trained[0], 50) == measured(without, 50) != measured(without, 100)

    (without / REAL_IMAGES).write_bytes((trained[0] / REAL_IMAGES).read_bytes()[:-100])
    with pytest.raises(InputError, match=f"{REAL_IMAGES} is damaged .*: train the judge again"):
        measured(without, 100)


def test_each_epoch_is_logged_and_kept(trained: tuple[Path, dict[str, Any], Recorder]) -> None:
    folder, _, tracker = trained
    history = SavedModel(folder).history()

    assert [row["epoch"] for row in tracker.rows] == history["epoch"] == [1, 2]
    for row in tracker.rows:
        assert set(row) == {
            *("epoch", "loss", "accuracy", "validation_loss", "validation_accuracy")
        }
    assert history["loss"] == pytest.approx([row["loss"] for row in tracker.rows])


@pytest.mark.parametrize(("name", "value"), [("epochs", 0), ("epochs", 1.5), ("seed", -1)])
def test_settings_out_of_range_are_refused(
    digits: Dataset, tmp_path: Path, name: str, value: float
) -> None:
    options: dict[str, Any] = {"epochs": 1, "seed": 0, "samples": 100, name: value}

    with pytest.raises(InputError, match=f"{name} must .*, got {value}"):
        train_judge(digits.folder, tmp_path / "model", tracker=Tracker(), **options)
