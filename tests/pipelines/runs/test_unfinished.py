"""Runs that failed, or go on: what their cells scored so far, here and on a cluster."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from genpipe import storage
from genpipe.cells import Cell
from genpipe.errors import InputError
from pipelines.cluster import api as kfp_api
from pipelines.cluster import runs
from pipelines.parameters import Parameters
from pipelines.runs.board import read_board
from pipelines.runs.find import FoundRun, find_run
from tests.pipelines.cluster.fake_api import FakeApi
from tests.pipelines.console.test_results import write_run

UNKNOWN = "6f0e3a52-0c5b-4b0e-9d1f-2f6f5a1f8f11"


@pytest.fixture
def unfinished(tmp_path: Path) -> Path:
    """A run without a leaderboard: VAE 2 is evaluated and sampled, autoencoder 2 only trained."""
    run = write_run(tmp_path / "unfinished")
    shutil.rmtree(run / "compare")
    for path in run.iterdir():
        if path.name not in ("judge", "train-autoencoder-2", "train-vae-2", "sample-vae-2"):
            shutil.rmtree(path)
    cell = {"family": "vae", "latent_size": 2, "status": "complete"}
    (run / "sample-vae-2" / "samples" / "metrics.json").write_text(
        json.dumps({**cell, "metrics": {"frechet_distance": 66.1}})
    )
    evaluation = run / "evaluate-vae-2" / "evaluation"
    evaluation.mkdir(parents=True)
    metrics = {"total_loss": 38.4, "validation_total_loss": 38.1}
    (evaluation / "metrics.json").write_text(json.dumps({**cell, "metrics": metrics}))
    return run


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as server:
        yield server


def test_what_ended_is_shown_and_the_rest_is_missing(unfinished: Path) -> None:
    asked = [Cell("autoencoder", 2), Cell("vae", 2), Cell("vae", 10)]

    board = read_board(FoundRun(str(unfinished), "mine", asked))

    rows = {(row["family"], row["latent_size"]): row for row in board["cells"]}
    assert board["unfinished"] is True
    assert board["run"] == "mine"
    assert rows["vae", 2]["status"] == "complete"
    assert rows["vae", 2]["metrics"]["frechet_distance"] == 66.1
    assert rows["vae", 2]["metrics"]["total_loss"] == 38.4
    assert rows["autoencoder", 2]["status"] == rows["vae", 10]["status"] == "missing"
    assert rows["autoencoder", 2]["reason"] == "no evaluation and no samples"
    assert board["best"] == {"vae": 2}


def test_a_local_run_says_itself_which_cells_it_was_asked_for(
    unfinished: Path, genpipe: Callable[..., Any]
) -> None:
    parameters = Parameters.checked({"families": ["vae"], "latent_sizes": [2, 10]})
    arguments = json.dumps(parameters.to_dict())
    (unfinished / "arguments.json").write_text(arguments)

    status, printed, _ = genpipe("leaderboard", str(unfinished))

    assert status == 0
    assert printed.startswith("What has ended of unfinished")
    assert "vae-10 missing: no artifact arrived" in printed


@pytest.fixture
def on_cluster(
    unfinished: Path, api: FakeApi, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, str]:
    """The same run on a cluster, that has failed: its id, and the environment's file."""
    content = api.environment().model_dump(exclude_defaults=True)
    content["pipeline_root"] = f"{bucket}/root"
    file = tmp_path / "cluster.yaml"
    file.write_text(yaml.safe_dump(content))
    environment = api.environment()
    parameters = Parameters.checked({"families": ["vae"], "latent_sizes": [2, 10]})
    run = runs.submit(kfp_api.connect(environment), environment, parameters, "weekly")
    for step in unfinished.iterdir():
        task, _, rest = step.name.partition("-")
        execution = f"{abs(hash(rest)) % 10**8:08d}-aaaa-4bbb-8ccc-dddddddddddd"
        place = f"{bucket}/root/latent-fanout/{run.run_id}/{task}/{execution}"
        storage.upload_folder(step, place)
    return run.run_id, str(file)


@pytest.mark.parametrize("command", ["leaderboard", "report"])
@pytest.mark.parametrize("called", ["name", "id"])
def test_on_a_cluster_a_run_is_shown_by_name_and_by_id(
    command: str, called: str, on_cluster: tuple[str, str], genpipe: Callable[..., Any]
) -> None:
    run_id, file = on_cluster

    run = "weekly" if called == "name" else run_id
    status, printed, _ = genpipe(command, run, "--environment", file)

    assert status == 0
    assert printed.startswith("What has ended of weekly")
    assert "vae-10 missing: no artifact arrived" in printed


def test_every_command_on_artifacts_takes_the_name(
    on_cluster: tuple[str, str], genpipe: Callable[..., Any], tmp_path: Path
) -> None:
    run_id, file = on_cluster
    of_cluster = ("--environment", file)

    assert run_id in genpipe("artifacts", "list", "weekly", *of_cluster)[1]
    output = ("--output", str(tmp_path / "out"))
    assert genpipe("artifacts", "pull", "weekly", "train", *of_cluster, *output)[0] == 0
    assert (tmp_path / "out" / "train-vae-2" / "model" / "model.json").is_file()
    status, _, errors = genpipe("artifacts", "open", "weekly", *of_cluster)
    assert (status, "no report at" in errors) == (2, True)
    status, _, errors = genpipe("artifacts", "list", "daily", *of_cluster)
    assert (status, "there is no run 'daily' in experiment genpipe" in errors) == (2, True)


def test_an_id_is_enough_where_the_api_does_not_answer(
    on_cluster: tuple[str, str], api: FakeApi
) -> None:
    run_id, file = on_cluster
    api.fail("/healthz", status=403, times=99)

    found = find_run(run_id, Path("runs"), file)

    assert found.uri.endswith(run_id)
    assert found.cells == ()
    with pytest.raises(kfp_api.ApiError, match="answered 403"):
        find_run("weekly", Path("runs"), file)


def test_of_an_id_that_kfp_does_not_know_the_artifacts_are_looked_for(
    on_cluster: tuple[str, str],
) -> None:
    _, file = on_cluster

    with pytest.raises(InputError, match=f"no artifacts at .*{UNKNOWN}"):
        find_run(UNKNOWN, Path("runs"), file)
