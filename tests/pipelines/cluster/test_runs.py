"""Submitting to a cluster, and finding, listing, stopping and retrying its runs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kfp
import kfp_server_api as models
import pytest
import yaml

from pipelines.cluster import runs
from pipelines.cluster.api import ApiError
from pipelines.cluster.runs import find_run
from tests.pipelines.cluster.fake_api import PARAMETERS, FakeApi, started
from tests.pipelines.golden import documents

# --- submit


def test_a_run_is_submitted_as_the_environment_and_the_parameters_say(
    api: FakeApi, client: kfp.Client
) -> None:
    run = api.runs[started(api, client).run_id]

    assert run.display_name == "first"
    assert run.service_account == "runner"
    assert run.runtime_config.pipeline_root == "gs://bucket/root"
    assert run.runtime_config.parameters == PARAMETERS.arguments()
    assert run.runtime_config.parameters["cells"] == ["vae-2 beta=4.0", "vae-10 beta=4.0"]
    experiment = api.experiments[run.experiment_id]
    assert (experiment.display_name, experiment.namespace) == ("genpipe", "team")
    version = run.pipeline_version_reference.pipeline_version_id
    compiled = documents(api.uploads[version])[0]
    assert compiled["pipelineInfo"]["name"] == "latent-fanout"


@pytest.mark.parametrize("page_size", [1, 100])
def test_the_same_pipeline_is_uploaded_once_and_a_changed_one_anew(
    page_size: int, api: FakeApi, client: kfp.Client
) -> None:
    api.page_size = page_size
    environment = api.environment()
    changed = environment.with_tag("2")
    for target in (environment, changed, environment, changed):
        runs.submit(client, target, PARAMETERS, "again")

    assert (len(api.pipelines), len(api.experiments), len(api.runs)) == (1, 1, 4)
    assert len(api.versions) == len(api.sent("POST", "/pipelines/upload_version")) == 2
    used = [run.pipeline_version_reference.pipeline_version_id for run in api.runs.values()]
    assert used[0] == used[2] != used[1] == used[3]


@pytest.mark.parametrize("path", ["/pipelines$", "/upload_version$", "/experiments$"])
@pytest.mark.parametrize("fault", [{"status": 409}, {"drop": True}, {"status": 500}])
def test_what_was_created_although_the_answer_was_lost_is_used(
    api: FakeApi, client: kfp.Client, path: str, fault: dict[str, Any]
) -> None:
    api.fail(path, method="POST", after=True, **fault)

    started(api, client)

    counts = {len(api.pipelines), len(api.versions), len(api.experiments), len(api.runs)}
    assert counts == {1}


def test_a_refused_upload_starts_nothing(api: FakeApi, client: kfp.Client) -> None:
    api.fail("/upload_version", status=403)

    with pytest.raises(ApiError, match="answered 403"):
        started(api, client)

    assert not api.runs


def test_the_command_prints_the_runs_id_and_link(
    api: FakeApi, file: str, genpipe: Callable[..., Any]
) -> None:
    arguments = ("--families", "vae", "--param", "latent_sizes=2,5", "--name", "mine", "--tag", "7")
    arguments += ("--force", "--param", "publish_to=gs://models/best", "--no-preflight")

    status, printed, _ = genpipe("submit", "--environment", file, *arguments)

    (run,) = api.runs.values()
    assert status == 0
    assert run.display_name == "mine"
    assert run.runtime_config.parameters["force_promote"] is True
    assert run.runtime_config.parameters["cells"] == ["vae-2", "vae-5"]
    assert b"genpipe-cpu:7" in next(iter(api.uploads.values()))
    assert printed.splitlines() == [
        f"mine  {run.run_id}",
        f"{api.url}/#/runs/details/{run.run_id}",
        f"genpipe follow {run.run_id} --environment {file}",
    ]


def test_the_printed_command_is_one_in_a_shell_whatever_the_file_is_called(
    api: FakeApi, file: str, genpipe: Callable[..., Any]
) -> None:
    hostile = Path(file).with_name("my $(touch x); 'cluster'.yaml")
    Path(file).rename(hostile)

    _, printed, _ = genpipe("submit", "--environment", str(hostile))

    *command, option, given = shlex.split(printed.splitlines()[-1])
    assert (command[:2], option, given) == (["genpipe", "follow"], "--environment", str(hostile))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--param", "latent_size=2"), "did you mean latent_sizes"),
        (("--param", "vae.beta=hot"), "parameter vae.beta must be a number, got 'hot'"),
        (("--param", "vae.beta"), "write NAME=VALUE"),
        (("--families", "vqvae"), "vqvae"),
        (("--tag", "latest"), "--tag latest is not allowed"),
        (("--timeout", "5"), "--timeout requires --wait"),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_sent(
    api: FakeApi, file: str, genpipe: Callable[..., Any], arguments: tuple[str, ...], told: str
) -> None:
    status, _, errors = genpipe("submit", "--environment", file, *arguments)

    assert status == 2
    assert told in errors
    assert not api.requests


def test_no_environment_is_assumed(genpipe: Callable[..., Any]) -> None:
    for command in (("submit",), ("follow", "x"), ("stop", "x"), ("retry", "x")):
        status, _, errors = genpipe(*command)
        assert (status, "--environment" in errors) == (2, True)


# --- stop, retry, runs


def test_a_run_is_found_by_id_and_by_the_newest_of_its_name(
    api: FakeApi, client: kfp.Client
) -> None:
    api.page_size = 1
    runs = [started(api, client, name) for name in ("twice", "other", "twice")]

    environment = api.environment()
    assert find_run(client, environment, runs[0].run_id).run_id == runs[0].run_id
    assert find_run(client, environment, "twice").run_id == runs[2].run_id


@pytest.mark.parametrize("run", ["none", "", "../x", "6f0e3a52-0c5b-4b0e-9d1f-2f6f5a1f8f11"])
def test_a_run_that_is_not_there_is_refused(
    api: FakeApi, client: kfp.Client, file: str, genpipe: Callable[..., Any], run: str
) -> None:
    started(api, client)

    for command in ("follow", "stop", "retry"):
        status, _, errors = genpipe(command, run, "--environment", file)
        assert status == 2
        assert f"there is no run {run!r} in experiment genpipe" in errors


def test_a_run_is_stopped_and_retried(
    api: FakeApi, client: kfp.Client, file: str, genpipe: Callable[..., Any]
) -> None:
    run = api.runs[started(api, client).run_id]

    assert genpipe("stop", "first", "--environment", file)[0] == 0
    assert run.state == "CANCELING"
    run.state = "CANCELED"
    assert genpipe("retry", run.run_id, "--environment", file)[0] == 0
    assert run.state == "RUNNING"


@pytest.mark.parametrize(
    ("states", "told"),
    [
        (["PENDING", "RUNNING"], "running"),
        (["RUNNING", "FAILED"], "failed"),
        (["RUNNING", "CANCELING"], "stopping"),
        (["RUNNING", "CANCELING", "FAILED"], "stopped"),
        (["RUNNING", "CANCELED"], "stopped"),
        (["RUNNING", "CANCELING", "SUCCEEDED"], "succeeded"),
        (["RUNNING", "CANCELING", "FAILED", "RUNNING", "FAILED"], "failed"),
    ],
)
def test_a_run_that_was_stopped_is_told_from_one_that_failed(
    api: FakeApi,
    client: kfp.Client,
    file: str,
    genpipe: Callable[..., Any],
    states: list[str],
    told: str,
) -> None:
    """As KFP 2.17 told of a run that was stopped on a cluster; RUNNING after FAILED is a retry."""
    run = api.runs[started(api, client).run_id]
    run.state = states[-1]
    run.state_history = [models.V2beta1RuntimeStatus(state=state) for state in states]

    _, printed, _ = genpipe("runs", "--environment", file, "--output", "json")

    assert [one["state"] for one in json.loads(printed)["runs"]] == [told]


@pytest.mark.parametrize(
    ("command", "state", "told"),
    [
        ("stop", "SUCCEEDED", "first has ended already: succeeded"),
        ("retry", "RUNNING", "first is running: only one that failed"),
    ],
)
def test_what_makes_no_sense_for_a_run_is_refused(
    api: FakeApi,
    client: kfp.Client,
    file: str,
    genpipe: Callable[..., Any],
    command: str,
    state: str,
    told: str,
) -> None:
    api.runs[started(api, client).run_id].state = state

    status, _, errors = genpipe(command, "first", "--environment", file)

    assert (status, told in errors) == (1, True)
    assert not api.sent("POST", "/runs/.*")


def test_the_newest_runs_are_listed_first(
    api: FakeApi, client: kfp.Client, file: str, genpipe: Callable[..., Any]
) -> None:
    api.page_size = 2
    runs = [started(api, client, f"run-{at}") for at in range(4)]

    status, printed, _ = genpipe("runs", "--environment", file, "--limit", "3")

    assert status == 0
    rows = [line.split() for line in printed.splitlines()]
    assert [row[:3] for row in rows] == [
        [run.display_name, run.run_id, "pending"] for run in reversed(runs[1:])
    ]


def test_a_long_name_does_not_run_into_the_id(
    api: FakeApi, client: kfp.Client, file: str, genpipe: Callable[..., Any]
) -> None:
    """As KFP names the runs of a schedule."""
    names = ("short", "weekly-with-a-name-that-is-long-1-3041183921")
    runs = [started(api, client, name) for name in names]

    _, printed, _ = genpipe("runs", "--environment", file)

    lines = printed.splitlines()
    assert [line.split()[:2] for line in lines] == [
        [one.display_name, one.run_id] for one in reversed(runs)
    ]
    assert len({line.index(line.split()[1]) for line in lines}) == 1


def test_before_the_first_run_the_command_that_starts_one_is_told(
    api: FakeApi, file: str, genpipe: Callable[..., Any]
) -> None:
    status, printed, errors = genpipe("runs", "--environment", file)

    assert (status, errors) == (0, "")
    assert printed == (
        f"no runs yet in experiment genpipe of fake: `genpipe submit --environment {file}` starts "
        "one\n"
    )
    assert not api.experiments


@pytest.mark.parametrize(
    ("strategy", "told"),
    [
        ({"limit": "0", "retryPolicy": "Always"}, ""),
        ({"limit": "2", "retryPolicy": "OnError"}, "fails or runs out of memory is not tried"),
        (None, "a step that loses its pod is not tried again"),
        ({"retryPolicy": "Always"}, "a step that fails is tried again for ever"),
        ({"limit": 2, "retryPolicy": "Always"}, "tried again with all that it is part of"),
    ],
)
def test_a_cluster_that_retries_otherwise_than_the_environment_says_is_told(
    strategy: Any, told: str, api: FakeApi, file: str, genpipe: Callable[..., Any]
) -> None:
    """What each setting does was seen on a cluster, with real kills."""
    content = yaml.safe_load(Path(file).read_text())
    Path(file).write_text(yaml.safe_dump({**content, "retries": {"count": 2}}))
    template = {"templateDefaults": {"retryStrategy": strategy}} if strategy else {}
    manifest = {"metadata": {"name": "w"}, "spec": template, "status": {"phase": "Running"}}
    api.workflow_of_any = manifest

    status, _, errors = genpipe("submit", "--environment", file, "--no-preflight")

    assert status == 0
    _, *warnings = errors.splitlines()  # the first says where it is sent
    assert (told in warnings[0]) if told else not warnings
    assert not told or warnings[0].startswith("retries: on this cluster ")


def test_latest_is_the_newest_run_of_the_experiment(api: FakeApi, client: kfp.Client) -> None:
    for name in ("first", "second"):
        started(api, client, name)

    assert find_run(client, api.environment(), "latest").display_name == "second"


def test_where_a_run_is_sent_is_said_before(
    api: FakeApi, file: str, genpipe: Callable[..., Any]
) -> None:
    _, _, errors = genpipe("submit", "--environment", file, "--no-preflight")

    assert errors.splitlines()[0] == f"to fake: {api.url}, namespace team, experiment genpipe"


def test_an_example_that_was_not_edited_is_asked_about(
    api: FakeApi, genpipe: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    content = api.environment().model_dump(exclude_defaults=True)
    for place in (shipped / "example.yaml", tmp_path / "copy.yaml"):
        place.write_text(yaml.safe_dump(content))
    (tmp_path / "edited.yaml").write_text(yaml.safe_dump({**content, "experiment": "mine"}))
    monkeypatch.setattr("pipelines.environments.shipped_environments", lambda: shipped)
    monkeypatch.chdir(tmp_path)

    (tmp_path / "weekly.txt").write_text("name: weekly\ncron: '@weekly'\n")

    for command in (["submit"], ["schedule", "apply", "weekly.txt"]):
        command += ["--tag", "3f2a91c", "--environment"]
        for name in ("example", "copy.yaml"):
            status, _, errors = genpipe(*command, name)
            assert status == 2
            assert "fake is an example that nobody has edited. Is this your cluster? " in errors
            assert "add --yes" in errors
        assert not api.sent("POST", "/.*")
        assert genpipe(*command, "edited.yaml")[0] == 0
        assert genpipe(*command, "example", "--yes")[0] == 0
        api.requests.clear()
    assert (
        genpipe("schedule", "apply", "weekly.txt", "--environment", "example", "--dry-run")[0] == 0
    )
    assert (len(api.runs), len(api.recurring_runs)) == (2, 1)
