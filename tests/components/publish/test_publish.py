"""Publishing: the best cells and nothing else, to a fresh place and nowhere else."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from components import storage
from components.errors import InputError
from components.progress import Progress
from components.publish.publish import publish
from components.tracking import Tracker

CELLS = (("autoencoder", 2), ("autoencoder", 100), ("vae", 10), ("dcgan", 10))
BEST = {"autoencoder": 100, "vae": 10}


class Run:
    """A run's leaderboard, report, model and evaluation folders, and the publish step over them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.said = io.StringIO()
        self.arguments: dict[str, Any] = {"models": [], "evaluations": []}
        for family, size in CELLS:
            cell = {"family": family, "latent_size": size}
            model, evaluation = (
                root / f"{family}-{size}/model",
                root / f"{family}-{size}/evaluation",
            )
            self._write(model / "model.json", cell)
            (model / "weights.keras").write_bytes(f"{family} {size}".encode())
            self._write(evaluation / "metrics.json", cell)
            self.arguments["models"].append(model)
            self.arguments["evaluations"].append(evaluation)
        self.rank(BEST)
        (root / "report").write_text("<html>")

    def rank(self, best: dict[str, int]) -> None:
        """Write the leaderboard with these best cells."""
        self._write(self.root / "board/leaderboard.json", {"best": best})

    def publish(self, target: str | Path, run: str = "run-1") -> dict[str, str]:
        return publish(
            target=str(target),
            run=run,
            leaderboard=self.root / "board",
            report=self.root / "report",
            tracker=Tracker(Progress("publish", stream=self.said)),
            **self.arguments,
        )

    def _write(self, path: Path, content: dict[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "steps")


PUBLISHED = [
    "autoencoder/evaluation/metrics.json",
    "autoencoder/model/model.json",
    "autoencoder/model/weights.keras",
    "leaderboard.json",
    "report.html",
    "vae/evaluation/metrics.json",
    "vae/model/model.json",
    "vae/model/weights.keras",
]


def test_the_best_cell_of_each_family_goes_to_a_folder_of_the_run(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "shelf"

    published = run.publish(target)

    assert published == {f: str(target / "run-1" / f) for f in BEST}
    assert storage.list_files(target / "run-1") == PUBLISHED
    weights = target / "run-1/autoencoder/model/weights.keras"
    assert weights.read_bytes() == b"autoencoder 100"
    assert "published vae-10 to" in run.said.getvalue()


def test_the_best_cells_go_to_a_bucket(run: Run, bucket: str) -> None:
    published = run.publish(f"{bucket}/shelf/")

    assert published["vae"] == f"{bucket}/shelf/run-1/vae"
    assert storage.list_files(f"{bucket}/shelf/run-1") == PUBLISHED
    with pytest.raises(InputError, match="exists already"):
        run.publish(f"{bucket}/shelf")


def test_without_a_target_it_says_that_it_published_nothing(run: Run) -> None:
    assert run.publish("") == {}
    assert "published nothing" in run.said.getvalue()


def test_a_run_without_a_complete_cell_publishes_nothing(run: Run, tmp_path: Path) -> None:
    run.rank({})

    assert run.publish(tmp_path / "shelf") == {}
    assert not (tmp_path / "shelf").exists()
    assert "published nothing" in run.said.getvalue()


def test_a_run_that_is_published_already_is_left_as_it_is(run: Run, tmp_path: Path) -> None:
    (tmp_path / "shelf/run-1").mkdir(parents=True)
    (tmp_path / "shelf/run-1/kept").write_text("before")

    with pytest.raises(InputError, match="run-1 exists already"):
        run.publish(tmp_path / "shelf")

    assert storage.list_files(tmp_path / "shelf") == ["run-1/kept"]


def test_a_relative_target_is_refused(run: Run) -> None:
    with pytest.raises(InputError, match="'shelf/models' is relative"):
        run.publish("shelf/models")


@pytest.mark.parametrize("name", ["", "..", "../elsewhere", "a\\b"])
def test_a_run_name_that_leaves_the_target_is_refused(run: Run, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="can't name a folder"):
        run.publish(tmp_path / "shelf", run=name)

    assert not (tmp_path / "shelf").exists()


def test_nothing_is_copied_where_a_best_cells_folder_is_missing(run: Run, tmp_path: Path) -> None:
    run.arguments["evaluations"] = run.arguments["evaluations"][:2]

    with pytest.raises(InputError, match="vae-10"):
        run.publish(tmp_path / "shelf")

    assert not (tmp_path / "shelf").exists()
