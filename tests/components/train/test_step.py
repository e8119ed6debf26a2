"""A training step whose pod is taken back, and what W&B has of it in the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from components.train import step
from genpipe.data.dataset import Dataset
from genpipe.errors import InputError
from genpipe.tracking import Tracker

EPOCHS = 12
PROGRAM = """
import os, sys
from types import SimpleNamespace
from components.train.step import train_cell
from components.train.train import Training
from genpipe.cells import Cell
from genpipe.families.autoencoder.spec import AutoencoderSettings
from genpipe.training.checkpoints import Checkpoints

data, folder, last, number = sys.argv[1:]
settings = AutoencoderSettings(latent_size=3, hidden_size=16, epochs=EPOCHS, batch_size=32)
log = Training.log

def log_and_end(training, row):
    log(training, row)
    if row["epoch"] == int(last):
        os.kill(os.getpid(), int(number))

def offer(checkpoints, identity, take):
    checkpoints.write(take(), identity)

Training.log = log_and_end
Checkpoints.offer = offer  # a checkpoint whenever there may be one, whatever the time
train_cell(
    lambda: (Cell("autoencoder", 3), settings),
    data=SimpleNamespace(path=data, uri=data),
    model=SimpleNamespace(path=folder + "/model", uri=folder + "/model"),
    wandb_folder=folder + "/wandb_run",
)
""".replace("EPOCHS", str(EPOCHS))


@dataclass
class Attempt:
    """One pod's attempt at the step: all that it left lies in a folder of its own."""

    folder: Path
    status: int
    output: str
    records: list[dict[str, Any]]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [record[kind] for record in self.records if record["type"] == kind]

    @property
    def rows(self) -> dict[int, dict[str, Any]]:
        """The history, by W&B's number of a row."""
        rows = [item["item"] for item in self.of("history")]
        assert len({row["_step"] for row in rows}) == len(rows)
        return {row["_step"]: row for row in rows}


def attempt(data: Path, root: Path, name: str, last: int, number: int) -> Attempt:
    """Let the step run in a new folder; a signal ends it when it has logged an epoch."""
    folder = root / name
    folder.mkdir()
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    variables = {
        "HOME": str(folder),
        "WANDB_RUN_GROUP": "run-1",
        "WANDB_MODE": "offline",
        "GENPIPE_EVENTS": str(folder / "events"),
        "GENPIPE_CHECKPOINTS": str(root / "checkpoints"),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(data), str(folder), str(last), str(number)],
        env={**kept, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    (run,) = (folder / "wandb_run" / "wandb").glob("offline-run-*")
    read = subprocess.run(
        [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(run)],
        env={**kept, "HOME": str(folder)},
        capture_output=True,
        text=True,
    )
    records = [json.loads(line) for line in read.stdout.splitlines()]
    return Attempt(folder, process.returncode, process.stdout, records)


@pytest.fixture(scope="module")
def attempts(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> list[Attempt]:
    """Killed as a lost pod is, ended by an exception, and left to finish."""
    root = tmp_path_factory.mktemp("attempts")
    return [
        attempt(digits.folder, root, "killed", 4, signal.SIGKILL),
        attempt(digits.folder, root, "ended", 8, signal.SIGINT),
        attempt(digits.folder, root, "last", EPOCHS, 0),  # no signal
    ]


pytestmark = pytest.mark.timeout(900)


@pytest.mark.runs
def test_each_attempt_goes_on_in_the_same_wandb_run(attempts: list[Attempt]) -> None:
    folders = [next((one.folder / "wandb_run" / "wandb").glob("offline-*")) for one in attempts]

    assert len({folder.name.rpartition("-")[2] for folder in folders}) == 1
    assert attempts[2].of("run")[0]["resume"] is True
    assert [one.status for one in attempts] == [-signal.SIGKILL, -signal.SIGINT, 0]
    for one in attempts[1:]:
        assert "goes on from the checkpoint of step" in one.output


@pytest.mark.runs
def test_the_history_has_each_epoch_once_without_a_gap(attempts: list[Attempt]) -> None:
    """KFP drops what a failed attempt left, so the last one's run folder is whole by itself.

    The attempts before it logged some rows of it under the same numbers, so that they are there
    once too where both come to a server.
    """
    *earlier, last = attempts

    assert list(last.rows) == list(range(EPOCHS))
    for number, row in last.rows.items():
        assert row["epoch"] == number + 1
        assert row["reconstructions.caption"] == f"epoch {number + 1}"
    assert attempts[1].rows  # of the killed one W&B may not have written any
    for one in earlier:
        for number, row in one.rows.items():
            for name in ("epoch", "loss", "validation_loss"):
                assert row[name] == last.rows[number][name]


@pytest.mark.runs
def test_nothing_is_left_of_the_checkpoints(attempts: list[Attempt]) -> None:
    assert list((attempts[0].folder.parent / "checkpoints").iterdir()) == []


def test_two_runs_and_two_cells_have_folders_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def folder_of(name: str, group: str) -> str | None:
        found = step.find_checkpoints(name, Tracker(group=group))
        return found and found.folder

    assert folder_of("train-vae-2", "run-1") is None
    monkeypatch.setenv("GENPIPE_CHECKPOINTS", str(tmp_path))
    assert folder_of("train-vae-2", "") is None
    folders = [
        folder_of(*both)
        for both in (("train-vae-2", "run-1"), ("train-vae-3", "run-1"), ("train-vae-2", "../.."))
    ]
    assert len(set(folders)) == 3
    assert {Path(str(folder)).parent for folder in folders} == {tmp_path}
    assert folder_of("train-vae-2", "run-1") == folders[0]


@pytest.mark.parametrize("asked", ["0", "-1", "nan", "inf", "soon", " "])
def test_a_pause_that_is_no_time_is_refused(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENPIPE_CHECKPOINTS", "gs://bucket/checkpoints")
    monkeypatch.setenv("GENPIPE_CHECKPOINT_SECONDS", asked)

    with pytest.raises(InputError, match="GENPIPE_CHECKPOINT_SECONDS must be a number above 0"):
        step.find_checkpoints("train-vae-2", Tracker(group="run-1"))
