"""Trainings whose processes are ended by real signals (see ``attempts.py``)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from genpipe.data.dataset import Dataset
from genpipe.families.registry import all_families
from genpipe.training.saved import SavedModel
from tests.components.train.attempts import KILLS

# Of how long a step took, and nothing else of a training differs.
TIMINGS = {"train_seconds", "images_per_second"}

pytestmark = [pytest.mark.runs, pytest.mark.timeout(1800)]


@dataclass
class Ended:
    """A training that was ended again and again, beside one that was left alone."""

    folder: Path
    attempts: list[dict[str, Any]]

    def model(self, name: str) -> SavedModel:
        return SavedModel(self.folder / name / "model")

    def logged(self, name: str) -> list[dict[str, Any]]:
        rows = json.loads((self.folder / name / "logged.json").read_text())
        return [{key: row[key] for key in row if key not in TIMINGS} for row in rows]


@pytest.fixture(scope="module")
def started(
    digits: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, tuple[Path, subprocess.Popen[bytes]]]]:
    """The three families' trainings, all side by side."""
    root = tmp_path_factory.mktemp("attempts")
    variables = {"OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    processes = {}
    for seed, family in enumerate(all_families()):
        command = [sys.executable, str(Path(__file__).with_name("attempts.py")), family]
        with (root / f"{family}.log").open("wb") as log:
            processes[family] = (
                root / family,
                subprocess.Popen(
                    [*command, str(digits.folder), str(root / family), str(seed)],
                    env={**os.environ, **variables},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                ),
            )
    yield processes
    for _, process in processes.values():
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module", params=list(all_families()))
def ended(
    request: pytest.FixtureRequest, started: dict[str, tuple[Path, subprocess.Popen[bytes]]]
) -> Ended:
    folder, process = started[request.param]
    assert process.wait() == 0, folder.with_suffix(".log").read_text()
    return Ended(folder, json.loads((folder / "attempts.json").read_text()))


def test_a_training_that_is_killed_ten_times_ends_with_the_same_bits(ended: Ended) -> None:
    """Weights, history, pictures and figures; the training beside it wrote no checkpoints."""
    statuses = [attempt["status"] for attempt in ended.attempts]
    whole, other = ended.model("whole"), ended.model("ended")

    assert statuses.count(-signal.SIGKILL) == KILLS
    assert statuses[-1] == 0
    assert whole.metadata["weights_digest"] == other.metadata["weights_digest"]
    assert whole.metadata["weights_digest"]
    for metadata in (whole.metadata, other.metadata):
        for name in ("files", *TIMINGS):  # a .keras file tells when it was written
            metadata.pop(name, None)
            metadata["training"].pop(name, None)
    assert whole.metadata == other.metadata
    histories = [
        {name: values for name, values in model.history().items() if name not in TIMINGS}
        for model in (whole, other)
    ]
    assert histories[0] == histories[1]
    assert ended.logged("ended") == ended.logged("whole")
    assert len(ended.logged("ended")) == len(next(iter(histories[0].values())))


def test_each_attempt_goes_on_where_a_checkpoint_was(ended: Ended) -> None:
    begun = [one["goes_on_from"] for one in ended.attempts if one["images_seen"]]

    assert begun == sorted(begun)
    assert len(begun) >= KILLS
    assert len(set(begun)) > KILLS // 2  # some were ended before they could write one
    assert not (ended.folder / "ended" / "checkpoints").exists()
