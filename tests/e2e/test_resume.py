"""A run that is killed or stopped in the middle of a training, and goes on."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from pipelines.runs.listing import state_of

GENPIPE = Path(sys.executable).with_name("genpipe")
ARGUMENTS = (
    *("--families", "vae", "--latent-sizes", "2", "--dataset", "spots", "--source", "spots"),
    *("--vae-epochs", "150", "--param", "vae.hidden_size=64", "--param", "vae.batch_size=16"),
    *("--param", "judge_epochs=1", "--param", "samples=200"),
)
WAIT_SECONDS = 200
# Four runs, which take 200 s on a busy machine.
pytestmark = [pytest.mark.runs, pytest.mark.timeout(900)]


def start(place: Path, *arguments: str) -> subprocess.Popen[str]:
    variables = {
        "WANDB_MODE": "offline",
        "GENPIPE_CHECKPOINT_SECONDS": "0.1",
        "TMPDIR": str(place / "temporary"),
    }
    return subprocess.Popen(
        [GENPIPE, "run", *arguments],
        cwd=place,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(place: Path, *arguments: str) -> str:
    process = start(place, *arguments)
    printed, _ = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 0, printed
    return printed


def checkpoints(folder: Path) -> list[Path]:
    return [*folder.glob("checkpoints/*/*/*.npz")]


def end_at_a_checkpoint(place: Path, number: int, *arguments: str) -> str:
    """Start the run, end it once its training has a new checkpoint, and wait until it is gone."""
    folder = place / "runs" / "ended"
    known = set(checkpoints(folder))
    process = start(place, *arguments)
    deadline = time.monotonic() + WAIT_SECONDS
    while not set(checkpoints(folder)) - known:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    printed, _ = process.communicate(timeout=60)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert state_of(folder) == "interrupted"
    return printed


def model(place: Path, name: str) -> dict[str, Any]:
    return json.loads((place / "runs" / name / "train-vae-2/model/model.json").read_text())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where runs are: with pictures of two classes, and a folder for what is temporary."""
    place = tmp_path_factory.mktemp("resumed")
    (place / "temporary").mkdir()
    random = np.random.default_rng(0)
    for label, grey in (("dark", 60), ("light", 200)):
        (place / "spots" / label).mkdir(parents=True)
        for number in range(150):
            pixels = np.clip(random.normal(grey, 30, (16, 16)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(place / "spots" / label / f"{number}.png")
    return place


@pytest.fixture(scope="module")
def told(place: Path) -> tuple[str, str]:
    """What the run printed when it was stopped after it had been killed, and when it was done."""
    end_at_a_checkpoint(place, signal.SIGKILL, *ARGUMENTS, "--name", "ended")
    for path in (place / "temporary").iterdir():  # it could not clear up
        shutil.rmtree(path)
    stopped = end_at_a_checkpoint(place, signal.SIGINT, "--resume", "ended")
    return stopped, finish(place, "--resume", "latest")


def test_a_training_that_was_killed_and_stopped_ends_as_one_that_was_not(
    place: Path, told: tuple[str, str]
) -> None:
    stopped, _ = told
    whole = finish(place, *ARGUMENTS, "--name", "whole", "--no-cache")

    assert "To go on: genpipe run --resume runs/ended\n" in stopped
    steps = []
    for printed in told:
        for step in ("ingest", "judge"):
            assert re.search(rf"^ +{step} +from the cache", printed, re.M), printed
        found = re.search(r"train-vae-2 +goes on from the checkpoint of step (\d+)", printed)
        assert found, printed
        steps.append(int(found[1]))
    assert 0 < steps[0] < steps[1]
    assert "goes on" not in whole
    assert "from the cache (" not in whole
    digests = {model(place, name)["weights_digest"] for name in ("ended", "whole")}
    assert len(digests) == 1
    timed = {"train_seconds", "images_per_second"}
    metrics = [
        json.loads((place / "runs" / name / "leaderboard.json").read_text())["cells"][0]["metrics"]
        for name in ("ended", "whole")
    ]
    assert (
        len({json.dumps({k: one[k] for k in sorted(one.keys() - timed)}) for one in metrics}) == 1
    )


def test_what_went_on_serves_later_runs_from_the_cache(place: Path, told: tuple[str, str]) -> None:
    printed = finish(place, *ARGUMENTS, "--name", "later")

    assert re.search(r"^ +train-vae-2 +from the cache", printed, re.M), printed


def test_a_run_that_is_done_keeps_no_checkpoint_and_nothing_temporary(
    place: Path, told: tuple[str, str]
) -> None:
    assert not checkpoints(place / "runs" / "ended")
    assert not (place / "runs" / "ended" / "checkpoints").exists()
    assert not [*(place / "temporary").iterdir()]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--resume", "ended"], "run 'ended' is finished: `genpipe report ended` shows it"),
        (["--resume", "nothing"], "no run 'nothing' here or in runs"),
        (["--resume", "ended", "--vae-epochs", "3"], "leave out --vae-epochs"),
        (["--resume", "ended", "--param", "seed=1"], "leave out --param"),
        (["--resume", "gs://bucket/run"], "--resume takes a run of this machine"),
    ],
)
def test_what_can_not_go_on_is_told_in_one_line(
    arguments: list[str],
    error: str,
    place: Path,
    told: tuple[str, str],
    genpipe: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(place)

    status, out, errors = genpipe("run", *arguments)

    assert status == 2
    assert error in errors
    assert len((out + errors).splitlines()) == 1
