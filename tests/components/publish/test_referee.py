"""A champion of other data, measured anew by its networks."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.evaluate.evaluate import evaluate
from components.publish.referee import NotMeasurableError, Referee
from components.train.train import train
from genpipe.cells import Cell
from genpipe.data.dataset import SPLITS, Dataset, write_dataset
from genpipe.errors import StepError
from genpipe.families.registry import find_family
from genpipe.metrics.losses import deciding_losses
from genpipe.tracking import Tracker
from genpipe.training.saved import SavedModel

SEED = 3
Made = dict[str, Path]


@pytest.fixture(scope="module")
def halves(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> list[Dataset]:
    """Two data sets of different images, in every split."""
    found = []
    for number in range(2):
        arrays = {
            split: (digits.images(split)[number::2], np.asarray(digits.labels(split))[number::2])
            for split in SPLITS
        }
        folder = tmp_path_factory.mktemp(f"half-{number}")
        names = digits.class_names
        found.append(write_dataset(folder, arrays, name="half", class_names=names, facts={}))
    return found


@pytest.fixture(scope="module")
def make(
    halves: list[Dataset], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, int], Made]:
    """Trains a family on one of them, once, and evaluates it there. Tests must not change it."""

    @functools.cache
    def made(family: str, half: int) -> Made:
        root = tmp_path_factory.mktemp(f"{family}-{half}")
        cell, data = Cell(family, 2), halves[half].folder
        settings = find_family(family).settings(
            latent_size=2, hidden_size=16, epochs=1, batch_size=32, seed=half
        )
        folders = {kind: root / kind for kind in ("model", "evaluation", "samples")}
        train(cell, settings, data, folders["model"], Tracker())
        evaluate(data, folders["model"], folders["evaluation"], SEED, Tracker())
        return folders

    return made


@pytest.mark.parametrize("family", ["autoencoder", "vae"])
def test_its_networks_are_measured_on_the_new_validation_and_test_images(
    family: str, make: Callable[[str, int], Made], halves: list[Dataset], tmp_path: Path
) -> None:
    champion, challenger = make(family, 0), make(family, 1)
    addresses = {kind: str(folder) for kind, folder in champion.items()}
    old, new = halves

    found = Referee(new.folder, tmp_path).compare(
        find_family(family), addresses, challenger, old.info
    )

    sign = -1 if family == "vae" else 1
    measured: list[Any] = [
        sign * deciding_losses(SavedModel(made["model"]), new.images(split), SEED)[1].mean()
        for made in (champion, challenger)
        for split in ("validation", "test")
    ]
    told = (found.champion, found.champion_test, found.challenger, found.challenger_test)
    assert told == pytest.approx(measured, rel=1e-5)
    assert len({round(value, 6) for value in measured}) == 4
    assert found.data == new.digest
    assert found.images == new.size("validation")


def test_a_damaged_champion_is_no_champion_of_other_data(
    make: Callable[[str, int], Made], halves: list[Dataset], tmp_path: Path
) -> None:
    whole, challenger = make("autoencoder", 0), make("autoencoder", 1)
    champion = {
        kind: shutil.copytree(folder, tmp_path / "torn" / kind)
        for kind, folder in whole.items()
        if folder.is_dir()
    }
    (champion["model"] / "encoder.onnx").write_bytes(b"torn")
    addresses = {kind: str(folder) for kind, folder in champion.items()}
    referee, family = Referee(halves[1].folder, tmp_path), find_family("autoencoder")

    with pytest.raises(StepError, match=r"can't be measured: .*model/encoder\.onnx was changed"):
        referee.compare(family, addresses, challenger, halves[0].info)
    with pytest.raises(NotMeasurableError, match="of an older version"):
        referee.compare(family, addresses, challenger, {})
    for rule in ("split_rule", "image_rule"):
        with pytest.raises(NotMeasurableError, match="divided by another rule"):
            referee.compare(family, addresses, challenger, {**halves[0].info, rule: "other"})
