"""Every step on images of other shapes than MNIST's, grey and colour, of few and many classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.compare.compare import compare
from components.evaluate.evaluate import evaluate
from components.evaluate.explore import explore
from components.ingest.ingest import example_grid
from components.sample.sample import sample
from components.train.train import train
from genpipe.cells import Cell
from genpipe.data.dataset import SPLITS, Dataset, check_shape, open_dataset, write_dataset
from genpipe.errors import InputError
from genpipe.families.registry import all_families, find_family
from genpipe.metrics.classifier import train_judge
from genpipe.tracking import Tracker
from genpipe.training.saved import SavedModel

SMALL: dict[str, dict[str, Any]] = {
    "autoencoder": {"hidden_size": 16, "epochs": 1, "batch_size": 32},
    "vae": {"hidden_size": 16, "epochs": 1, "batch_size": 32},
    "dcgan": {"steps": 2, "batch_size": 4, "gen_interval": 2},
}


def stripes(shape: tuple[int, int, int], classes: int, count: int, seed: int) -> tuple[Any, Any]:
    """Noisy images, each class lighter than the one before."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    light = labels[:, None, None, None] * (200 / classes)
    images = np.clip(light + random.normal(0, 20, (count, *shape)), 0, 255)
    return images.astype(np.uint8), labels


@pytest.fixture(scope="module", params=[((8, 12, 1), 300), ((32, 32, 3), 12)])
def dataset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    shape, classes = request.param
    counts = dict(zip(SPLITS, (640, 320, 320), strict=True))
    arrays = {
        split: stripes(shape, classes, count, seed)
        for seed, (split, count) in enumerate(counts.items())
    }
    names = tuple(f"class {number}" for number in range(classes))
    folder = tmp_path_factory.mktemp("data")
    return write_dataset(folder, arrays, name="stripes", class_names=names, facts={"source": "."})


@pytest.fixture(scope="module")
def judge(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judge")
    train_judge(dataset.folder, folder, epochs=1, seed=0, samples=64, tracker=Tracker())
    return folder


@pytest.mark.runs
def test_a_whole_run_works_on_them(dataset: Dataset, judge: Path, tmp_path: Path) -> None:
    folders: dict[str, list[Path]] = {"models": [], "evaluations": [], "samples": []}
    cells = [Cell(family, 2) for family in all_families()]
    for cell in cells:
        model, evaluation, samples = (tmp_path / f"{cell.name}-{kind}" for kind in folders)
        settings = find_family(cell.family.name).settings(latent_size=2, **SMALL[cell.family.name])
        train(cell, settings, dataset.folder, model, Tracker())
        evaluate(dataset.folder, model, evaluation, 0, Tracker())
        explore(dataset.folder, model, evaluation, tmp_path / "page.html", Tracker())
        sample(dataset.folder, judge, model, samples, samples=64, seed=0, tracker=Tracker())
        made = np.load(samples / "samples.npy")
        assert (made.shape, made.dtype) == ((64, *dataset.image_shape), np.uint8)
        if cell.family.encoder:
            assert SavedModel(model).image_shape == dataset.image_shape
        for paths, folder in zip(folders.values(), (model, evaluation, samples), strict=True):
            paths.append(folder)

    scalars = compare(
        run="shapes",
        data=dataset.folder,
        judge=judge,
        expected=cells,
        leaderboard=tmp_path / "leaderboard",
        report=tmp_path / "report.html",
        tracker=Tracker(),
        **folders,
    )

    assert scalars["cells_complete"] == 3
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"of {len(dataset.class_names)}" in page
    assert "of 10 " not in page


def test_the_examples_show_a_row_a_class(dataset: Dataset) -> None:
    height, width, channels = dataset.image_shape

    picture = example_grid(dataset, columns=12)

    rows = min(len(dataset.class_names), 20)
    colours = (3,) if channels == 3 else ()
    assert picture.shape == (rows * height, 12 * width, *colours)


def test_labels_of_many_classes_are_kept(dataset: Dataset) -> None:
    labels = open_dataset(dataset.folder).labels("train")

    assert labels.max() == len(dataset.class_names) - 1


@pytest.mark.parametrize(
    ("shape", "near"),
    [
        ((30, 28, 1), "image_size 32x28 would do"),
        ((4, 8, 1), "image_size 8x8 would do"),
        ((100, 64, 3), "image_size 96x64 would do"),
        ((28, 28, 4), "4 channels: 1 or 3 are needed"),
    ],
)
def test_a_shape_that_no_model_reads_is_refused_with_one_that_would_do(
    shape: tuple[int, int, int], near: str
) -> None:
    with pytest.raises(InputError, match=near):
        check_shape(shape)
