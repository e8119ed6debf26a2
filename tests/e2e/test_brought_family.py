"""A family that another distribution brings, through the whole pipeline without a change here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genpipe.data.dataset import Dataset

SOURCE = Path(__file__).parents[1] / "brought_family"
GENPIPE = Path(sys.executable).with_name("genpipe")
SMALL = (
    *("--dataset", "digits", "--source", "digits.npz"),
    *("--families", "denoising", "--latent-sizes", "2", "--denoising-epochs", "1"),
    *("--param", "denoising.masked_share=0.5", "--param", "judge_epochs=1"),
    *("--param", "samples=200", "--param", "denoising.hidden_size=64"),
)

pytestmark = pytest.mark.runs


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The distribution, built and installed by pip into a folder of its own."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", folder, SOURCE], check=True, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, mnist: Dataset) -> Path:
    """Where runs are, with a ninth of MNIST."""
    place = tmp_path_factory.mktemp("runs")
    arrays = {
        f"{letter}_{name}": array[::9]
        for split, name in (("train", "train"), ("validation", "val"), ("test", "test"))
        for letter, array in (("x", mnist.images(split)), ("y", mnist.labels(split)))
    }
    np.savez(place / "digits.npz", **arrays)
    return place


@pytest.fixture(scope="module")
def genpipe(installed: Path, place: Path) -> Any:
    def run(*arguments: str) -> str:
        environment = {
            **os.environ,
            "PYTHONPATH": str(installed),
            "WANDB_MODE": "offline",
        }
        done = subprocess.run(
            [GENPIPE, *arguments], cwd=place, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def run(genpipe: Any, place: Path) -> Path:
    genpipe("run", *SMALL, "--name", "brought", "--publish-to", str(place / "published"))
    return place / "runs" / "brought"


def test_its_settings_are_parameters_and_options(genpipe: Any) -> None:
    assert "denoising.masked_share" in genpipe("parameters")
    assert "--denoising-epochs" in genpipe("run", "--help")
    assert "Denoising autoencoder: share of the pixels" in " ".join(
        genpipe("train", "--help").split()
    )


def test_it_is_trained_as_it_was_told(run: Path) -> None:
    metadata = json.loads((run / "train-denoising-2" / "model" / "model.json").read_text())

    assert metadata["family"] == "denoising"
    assert metadata["settings"]["masked_share"] == 0.5
    assert metadata["settings"]["epochs"] == 1
    assert metadata["status"] == "complete"


def test_it_stands_beside_the_others_wherever_cells_are_shown(run: Path, genpipe: Any) -> None:
    board = json.loads((run / "leaderboard.json").read_text())
    assert set(board["best"]) == {"denoising"}
    (row,) = (row for row in board["cells"] if row["family"] == "denoising")
    assert 0 < row["metrics"]["mean_squared_error"] < 0.1
    assert row["metrics"]["frechet_distance"] > 0
    page = (run / "report.html").read_text()
    assert "Denoising autoencoder" in page
    assert ".denoising { --family: var(--denoising); }" in page
    assert (run / "evaluate-denoising-2" / "evaluation" / "explorer.json").is_file()
    assert "denoising" in genpipe("report", "brought")


def test_the_best_of_it_is_champion(run: Path, genpipe: Any, place: Path) -> None:
    assert "denoising-2" in genpipe("champions", "list", str(place / "published"))


def test_it_trains_outside_a_pipeline_too(run: Path, genpipe: Any) -> None:
    data = str(run / "ingest" / "data")
    size = ("--latent-size", "2", "--hidden-size", "64")
    told = (*size, "--epochs", "1", "--masked-share", "0.1")

    printed = genpipe("train", "--family", "denoising", *told, "--data", data, "--name", "one")

    assert printed.strip().endswith("runs/one/train-denoising-2/model")
