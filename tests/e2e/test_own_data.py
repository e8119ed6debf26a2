"""Runs on a folder of pictures, whose cells no run of test_local_run.py has trained."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.small_runs import FLOWERS, GENPIPE, TRAINING_APART, as_small, genpipe, small

pytestmark = [pytest.mark.runs, pytest.mark.usefixtures("proxy", "flowers")]


@pytest.fixture(scope="module")
def documented(place, mnist_cache, flowers):
    """Runs a command of the pages once: its folder, and what it printed."""

    @functools.cache
    def run(command):
        name = f"documented-{sorted(TRAINING_APART).index(command)}"
        arguments = [*as_small(command, place), "--name", name]
        result = genpipe(place, mnist_cache, *arguments, HOME=str(place))
        assert result.returncode == 0, result.stdout + result.stderr
        return place / "runs" / name, result.stdout

    return run


@pytest.mark.parametrize("command", sorted(TRAINING_APART))
def test_every_command_of_the_pages_that_trains_its_own_cells_runs(command, documented, proxy):
    folder, printed = documented(command)

    assert printed
    assert proxy.asked == []
    assert (folder / "report.html").is_file()


def test_several_seeds_train_a_cell_once_each_and_show_their_mean(documented):
    made, printed = documented("run --families vae --seeds 0,1,2")
    seedless, _ = documented("run --families vae --latent-sizes 2,5,20")

    def digest(folder):
        return json.loads((folder / "model" / "model.json").read_text())["weights_digest"]

    digests = [digest(made / f"train-vae-2@{seed}") for seed in (0, 1, 2)]
    assert digests[0] == digest(seedless / "train-vae-2")
    assert len(set(digests)) == 3
    board = json.loads((made / "leaderboard.json").read_text())
    assert [row["cell_seed"] for row in board["cells"]] == [0, 1, 2]
    (mean,) = board["over_seeds"]
    losses = [row["metrics"]["total_loss"] for row in board["cells"]]
    assert mean["metrics"]["total_loss"] == pytest.approx(sum(losses) / 3)
    assert "3 seeds" in (made / "report.html").read_text()
    assert "with seeds 0, 1, 2: 3 cells" in printed


def test_of_runs_at_once_in_one_folder_each_ends_right_or_is_told(place, mnist_cache):
    own = {"TFDS_DATA_DIR": str(mnist_cache), "WANDB_MODE": "offline", "HOME": str(place)}
    environment = {**os.environ, **own}
    arguments = ("run", *small("autoencoder", size="3", data=FLOWERS))
    names = ("left", "right", "right")
    processes = [
        subprocess.Popen(
            [GENPIPE, *arguments, "--name", name],
            cwd=place,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name in names
    ]
    printed = [process.communicate(timeout=250)[0] for process in processes]
    statuses = [process.returncode for process in processes]

    assert statuses[0] == 0, printed[0]
    assert sorted(statuses[1:]) == [0, 2], printed[1] + printed[2]
    assert printed[statuses.index(2)].startswith("error: run 'right' already exists")
    boards = [
        json.loads((place / "runs" / name / "leaderboard.json").read_text())["cells"]
        for name in ("left", "right")
    ]
    losses = [cell["metrics"]["mean_squared_error"] for (cell,) in boards]
    assert losses[0] == losses[1]
    # Both wrote the same entries of one cache.
    for entry in (place / "runs" / ".kfp" / "cache").iterdir():
        outputs = json.loads(entry.read_text()).values()
        assert all(Path(output["uri"]).exists() for output in outputs if "uri" in output)
