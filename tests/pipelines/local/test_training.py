"""`genpipe train`, as a person calls it and as W&B's sweep agent does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from genpipe.data.dataset import Dataset, write_dataset
from pipelines.cli import main
from tests.genpipe.tracking.fake_wandb import fake_wandb
from tests.genpipe.tracking.tracked_step import environment

SWEEP = Path(__file__).parents[3] / "deploy" / "wandb" / "sweep.yaml"
KEY = "notakey" * 6


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    """A data set of noise: what is tested is the command."""
    noise = np.random.default_rng(0)
    arrays = {
        split: (
            noise.integers(0, 256, (256, 28, 28, 1), np.uint8),
            noise.integers(0, 10, 256, np.uint8),
        )
        for split in ("train", "validation", "test")
    }
    names = tuple(str(digit) for digit in range(10))
    folder = tmp_path / "data"
    folder.mkdir()
    return write_dataset(folder, arrays, name="mnist", class_names=names, facts={})


def agents_command(sweep: dict[str, Any], chosen: dict[str, Any]) -> list[str]:
    """What ``wandb agent`` runs for one point of a sweep, put together by wandb's own functions."""
    # Here, since it takes a second.
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    arguments = {name: {"value": value} for name, value in chosen.items()}
    told = create_sweep_command_args({"args": arguments})
    told |= {"env": ["/usr/bin/env"], "program": [sweep["program"]]}
    command = []
    for part in create_sweep_command(list(sweep["command"])):
        command += told[part[2:-1]] if part.startswith("${") else [part]
    return command


def points(sweep: dict[str, Any]) -> list[dict[str, Any]]:
    """The points of a grid over one parameter."""
    parameters = sweep["parameters"]
    fixed = {name: one["value"] for name, one in parameters.items() if "value" in one}
    ((name, values),) = [(n, one["values"]) for n, one in parameters.items() if "values" in one]
    return [{**fixed, name: value} for value in values]


def test_the_sweep_is_the_grid_over_the_latent_sizes() -> None:
    sweep = yaml.safe_load(SWEEP.read_text())

    commands = [agents_command(sweep, point) for point in points(sweep)]

    assert sweep["method"] == "grid"
    assert {tuple(command[:3]) for command in commands} == {("/usr/bin/env", "genpipe", "train")}
    sizes = [[part for part in command if "latent" in part] for command in commands]
    assert sizes == [["--latent_size=2"], ["--latent_size=10"], ["--latent_size=100"]]


@pytest.mark.runs
def test_what_the_agent_runs_trains_a_cell_and_logs_it_to_the_sweep(
    data: Dataset, tmp_path: Path
) -> None:
    sweep = yaml.safe_load(SWEEP.read_text())
    point = {**points(sweep)[0], "data": str(data.folder), "epochs": 2}
    parameters = tmp_path / "config-run1.yaml"
    asked = {name: {"value": value} for name, value in point.items()}
    parameters.write_text(yaml.safe_dump({"wandb_version": 1, **asked}))
    with fake_wandb() as server:
        told = environment(
            tmp_path,
            WANDB_API_KEY=KEY,
            WANDB_BASE_URL=server.url,
            WANDB_SWEEP_ID="sweep1",
            WANDB_RUN_ID="run1",
            WANDB_SWEEP_PARAM_PATH=str(parameters),
            PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        )
        done = subprocess.run(
            agents_command(sweep, point), cwd=tmp_path, env=told, capture_output=True, text=True
        )
        opened = server.asked("UpsertBucket")
        history = server.history["run1"]

    assert done.returncode == 0, done.stdout + done.stderr
    assert "oneDNN" not in done.stderr
    assert {given["name"] for given in opened} == {"run1"}
    assert "sweep1" in {given.get("sweep") for given in opened}
    assert [line["epoch"] for line in history] == [1, 2]
    assert all("validation_loss" in line for line in history)
    (run,) = (tmp_path / "runs").iterdir()
    assert sorted(path.name for path in run.iterdir()) == ["train-autoencoder-2", "wandb"]
    model = run / "train-autoencoder-2" / "model"
    assert done.stdout.splitlines()[-1] == str(model.relative_to(tmp_path))
    metadata = json.loads((model / "model.json").read_text())
    assert (metadata["latent_size"], metadata["settings"]["epochs"]) == (2, 2)
    assert (model / "encoder.onnx").is_file()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--family", "gan", "--latent-size", "2"], "unknown model family 'gan'"),
        (["--family", "vae", "--latent-size", "0"], "latent_size must lie between 1 and 4096"),
        (
            ["--family", "dcgan", "--latent-size", "2", "--beta", "2"],
            "--beta does not apply to dcgan; it takes",
        ),
        (["--family", "vae", "--latent-size", "2"], "dataset.json"),
    ],
)
def test_bad_input_is_refused_before_anything_is_made(
    tmp_path: Path, arguments: list[str], error: str
) -> None:
    told = ["train", *arguments, "--data", str(tmp_path), "--runs", str(tmp_path / "runs")]

    failed = CliRunner().invoke(main, told)

    assert failed.exit_code != 0
    assert error in str(failed.exception)
    assert not (tmp_path / "runs").exists()


def test_ctrl_c_leaves_nothing(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for the step gets the signal at once."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr("pipelines.local.train.train_cell", interrupted)
    monkeypatch.setattr("pipelines.local.train.import_tensorflow_quietly", lambda: None)
    arguments = ["train", "--family", "vae", "--latent-size", "2", "--data", str(data.folder)]

    ended = CliRunner().invoke(main, [*arguments, "--runs", str(tmp_path / "runs")])

    assert (ended.exit_code, ended.output) == (130, "\ninterrupted; nothing was saved\n")
    assert not any((tmp_path / "runs").iterdir())
