"""Retraining on images that change, as a schedule does it, through the whole pipeline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from genpipe import storage
from genpipe.data.dataset import SPLITS, Dataset, open_dataset
from genpipe.registry.champions import Champions, Decision

GENPIPE = Path(sys.executable).with_name("genpipe")
FAMILIES = ("vae", "dcgan")
SMALL = (
    *("--dataset", "digits", "--image-size", "16", "--latent-sizes", "2"),
    *("--families", ",".join(FAMILIES), "--vae-epochs", "1", "--dcgan-steps", "3"),
    *("--param", "judge_epochs=1", "--param", "samples=64", "--param", "dcgan.batch_size=4"),
)


class Retraining:
    """The same command again and again, as a schedule gives it."""

    def __init__(self, bucket: str, place: Path) -> None:
        self.images, self.registry, self.place = f"{bucket}/images", f"{bucket}/published", place

    def add(self, mnist: Dataset, first: int, last: int, lighter: int = 0) -> None:
        """Put pictures of MNIST into the bucket, in a folder for each class."""
        folder = self.place / f"from-{first}"
        images, labels = mnist.images("train"), mnist.labels("train")
        for number in range(first, last):
            path = folder / str(labels[number]) / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.clip(images[number, ..., 0].astype(int) + lighter, 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
        storage.upload_folder(folder, self.images, replace=True)

    def run(self, name: str) -> str:
        """Run the pipeline; returns what it printed."""
        told = ("--source", self.images, "--publish-to", self.registry, "--name", name)
        done = subprocess.run(
            [GENPIPE, "run", *SMALL, *told],
            cwd=self.place,
            env={**os.environ, "WANDB_MODE": "offline"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def data(self, name: str) -> Dataset:
        return open_dataset(self.place / "runs" / name / "ingest" / "data")

    def decisions(self) -> dict[str, Decision]:
        """The newest decision on each family."""
        return {family: Champions(self.registry, family).decisions()[-1] for family in FAMILIES}


@pytest.fixture
def retraining(bucket: str, tmp_path: Path) -> Retraining:
    return Retraining(bucket, tmp_path)


def contents(data: Dataset, split: str) -> set[bytes]:
    return {image.tobytes() for image in data.images(split)}


@pytest.mark.runs
def test_new_images_are_seen_learnt_and_judged_on_by_champion_and_challenger(
    retraining: Retraining, mnist: Dataset
) -> None:
    retraining.add(mnist, 0, 600)
    retraining.run("first")
    assert {d.outcome.value for d in retraining.decisions().values()} == {"first"}

    # Nothing new: all that can be comes from the cache, and the champions stay.
    again = retraining.run("again")
    assert again.count("from the cache") >= 2 + 3 * len(FAMILIES)
    for decision in retraining.decisions().values():
        assert (decision.outcome.value, decision.comparison) == ("kept", None)
        assert "nothing new" in decision.reason

    retraining.add(mnist, 600, 900, lighter=60)
    printed = retraining.run("new")

    before, after = retraining.data("first"), retraining.data("new")
    assert sum(after.size(split) for split in SPLITS) == 900
    for split in SPLITS:
        assert contents(before, split) <= contents(after, split)
    trained = json.loads((retraining.place / "runs/new/train-vae-2/model/model.json").read_text())
    assert trained["data"]["digest"] == after.digest != before.digest
    page = (retraining.place / "runs" / "new" / "report.html").read_text()
    for family, decision in retraining.decisions().items():
        compared: Any = decision.comparison
        assert decision.outcome.value in ("promoted", "kept")
        assert compared.data == after.digest
        assert compared.champion_test is not None
        assert decision.drift is not None
        assert sum(decision.drift.added.values()) == 300
        assert decision.drift.removed == {}
        assert decision.drift.brightness_shift > 0.2
        assert f"{family}-2" in printed
    assert "Since the data of the champion: 300 images added" in page
    assert "both measured on the new data" in printed
