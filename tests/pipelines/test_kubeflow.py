"""Submitting to a cluster and following runs there, against a server of the v2beta1 API."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kfp
import kfp_server_api as models
import pytest
import yaml

from components.errors import InputError, StepError
from pipelines import kubeflow
from pipelines.environments import Environment
from pipelines.parameters import Parameters
from tests.pipelines.fake_api import FakeApi

PARAMETERS = Parameters.checked({"families": ["vae"], "latent_sizes": [2, 10], "beta": 4})


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between tries and polls, and nothing of this machine's own settings."""
    monkeypatch.setattr(kubeflow, "BACKOFF_SECONDS", 0.0)
    monkeypatch.setattr(kubeflow, "POLL_SECONDS", 0.01)
    for name in os.environ:
        if name.startswith(("KF_PIPELINES_", "GENPIPE_")):
            monkeypatch.delenv(name)


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as server:
        yield server


@pytest.fixture
def client(api: FakeApi) -> kfp.Client:
    return kubeflow.connect(api.environment())


@pytest.fixture
def file(api: FakeApi, tmp_path: Path) -> str:
    """A file with the environment of the server."""
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(api.environment().model_dump(exclude_defaults=True)))
    return str(path)


def started(api: FakeApi, client: kfp.Client, name: str = "first") -> Any:
    return kubeflow.submit(client, api.environment(), PARAMETERS, name)


def ends(state: str) -> Callable[[Any], None]:
    """Runs end in a state as soon as they are looked at."""
    return lambda run: setattr(run, "state", state)


def task(name: str, state: str, *children: str, error: str = "") -> Any:
    """A task as the API tells of it; its id is its name."""
    return models.V2beta1PipelineTaskDetail(
        task_id=f"id of {name}",
        pod_name=name,
        display_name=name.partition(" ")[0],
        state=state,
        error=models.GoogleRpcStatus(message=error) if error else None,
        child_tasks=[models.PipelineTaskDetailChildTask(pod_name=child) for child in children],
    )


# --- the login


def test_this_machine_has_no_api() -> None:
    with pytest.raises(InputError, match=r"local has no api.*genpipe run"):
        kubeflow.connect(Environment.read("local"))


def test_a_token_is_sent_as_bearer(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENPIPE_TOKEN", " a-token\n")

    kubeflow.connect(api.environment(authentication="token"))

    assert {request.headers["authorization"] for request in api.requests} == {"Bearer a-token"}


def test_cookies_are_sent_as_they_are(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENPIPE_COOKIES", "authservice_session=abc")

    kubeflow.connect(api.environment(authentication="cookies"))

    assert api.requests[-1].headers["cookie"] == "authservice_session=abc"


def test_a_service_accounts_token_is_read_anew_for_each_request(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("first")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(token))

    client = kubeflow.connect(api.environment(authentication="service-account"))
    token.write_text("second")
    client.list_experiments()

    sent = [request.headers["authorization"] for request in api.requests]
    assert sent == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize(
    ("authentication", "told"),
    [
        ("token", "GENPIPE_TOKEN: it is not set"),
        ("cookies", "GENPIPE_COOKIES: it is not set"),
        ("service-account", "no service account token at"),
    ],
)
def test_a_login_that_is_not_there_is_refused_before_anything_is_sent(
    api: FakeApi, authentication: str, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        kubeflow.connect(api.environment(authentication=authentication))

    assert not api.requests


def test_a_token_that_no_header_can_hold_is_refused_without_being_shown(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENPIPE_TOKEN", "gehe\u00efm")

    with pytest.raises(InputError, match="GENPIPE_TOKEN holds characters") as refusal:
        kubeflow.connect(api.environment(authentication="token"))

    assert "gehe" not in str(refusal.value)


def test_an_iap_login_that_fails_is_told_in_one_line(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("could not find\ndefault credentials")

    monkeypatch.setattr("kfp.client.auth.get_auth_token", fail)

    with pytest.raises(StepError, match=r"\(iap\): could not find default credentials"):
        kubeflow.connect(api.environment(authentication="iap", client_id="mine"))


def test_nothing_but_the_environment_says_how_to_connect(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    context = tmp_path / "context.json"
    other = {"namespace": "other", "client_authentication_cookie": "other=1"}
    context.write_text(json.dumps(other))
    monkeypatch.setattr(kfp.Client, "_LOCAL_KFP_CONTEXT", str(context))
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", "http://other.example.com")
    monkeypatch.setenv("KF_PIPELINES_IAP_OAUTH2_CLIENT_ID", "other")

    client = kubeflow.connect(api.environment(namespace="kubeflow"))
    kubeflow.ensure_experiment(client, api.environment())

    assert [one.namespace for one in api.experiments.values()] == ["kubeflow"]
    assert not any({"cookie", "authorization"} & set(one.headers) for one in api.requests)


# --- what goes wrong


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"status": 401}, r"said 401 .*put a fresh token into GENPIPE_TOKEN"),
        ({"status": 403}, r"said 403 .*may not do that in namespace team"),
        ({"status": 404}, r"not as a Kubeflow Pipelines API \(404\)"),
        ({"status": 429, "times": 99}, r"said 429 .*4 times in a row: try again in a minute"),
        ({"status": 500, "times": 99}, r"said 500 .*kubectl logs --namespace team"),
        ({"status": 503, "times": 99, "body": b"<html>\nno</html>"}, r"said 503: the server"),
        ({"drop": True, "times": 99}, "dropped the connection"),
        ({"slow": 60, "times": 99}, "did not answer within 0.1 seconds"),
        (
            {"status": 302, "headers": {"Location": "http://login/?k=1"}},
            "redirects to http://login",
        ),
        ({"status": 200, "body": b"<html>Log in</html>"}, "answered with a web page"),
    ],
)
def test_each_failure_is_one_line_that_says_what_to_do(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any], told: str
) -> None:
    if "slow" in fault:
        monkeypatch.setattr(kubeflow, "READ_SECONDS", 0.1)
    monkeypatch.setenv("GENPIPE_TOKEN", "a-secret-token")
    api.fail("/healthz", **fault)

    with pytest.raises(kubeflow.ApiError, match=told) as failure:
        kubeflow.connect(api.environment(authentication="token"))

    message = str(failure.value)
    assert api.url in message
    assert "\n" not in message
    assert "a-secret-token" not in message
    assert len(api.requests) == min(fault.get("times", 1), kubeflow.TRIES)


def test_nobody_listening_here_is_told_with_the_port_forward() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    environment = FakeApi.environment_of(f"http://localhost:{port}")

    with pytest.raises(kubeflow.ApiError, match=f"ml-pipeline-ui {port}:80") as failure:
        kubeflow.connect(environment)

    assert "kubectl port-forward --namespace team service/" in str(failure.value)


def test_a_host_that_has_no_address_is_told() -> None:
    with pytest.raises(kubeflow.ApiError, match=r"kfp\.invalid can't be reached .*VPN"):
        kubeflow.connect(FakeApi.environment_of("http://kfp.invalid"))


def test_a_server_without_tls_is_told(api: FakeApi) -> None:
    with pytest.raises(kubeflow.ApiError, match=r"no secure connection .*api\.ca_file"):
        kubeflow.connect(api.environment(host=api.url.replace("http:", "https:")))


def test_an_authority_that_is_not_there_is_refused(api: FakeApi) -> None:
    with pytest.raises(InputError, match=r"api\.ca_file /none\.pem"):
        kubeflow.connect(api.environment(ca_file="/none.pem"))


@pytest.mark.parametrize("fault", [{"status": 429}, {"status": 503}, {"drop": True}])
def test_reading_is_tried_again(api: FakeApi, client: kfp.Client, fault: dict[str, Any]) -> None:
    run = started(api, client)
    api.fail(f"/runs/{run.run_id}", times=2, **fault)

    assert client.get_run(run.run_id).display_name == "first"
    assert len(api.sent("GET", f"/runs/{run.run_id}")) == 3


@pytest.mark.parametrize("fault", [{"status": 503}, {"drop": True}, {"drop": True, "after": True}])
def test_a_run_is_never_started_twice(
    api: FakeApi, client: kfp.Client, fault: dict[str, Any]
) -> None:
    api.fail("/runs$", method="POST", **fault)

    with pytest.raises(kubeflow.ApiError, match="first may have started all the same"):
        started(api, client)

    assert len(api.sent("POST", "/runs")) == 1


def test_a_run_that_came_too_early_is_sent_again(api: FakeApi, client: kfp.Client) -> None:
    api.fail("/runs$", method="POST", status=429, headers={"Retry-After": "0"})

    started(api, client)

    assert len(api.runs) == 1


# --- submit


def test_a_run_is_submitted_as_the_environment_and_the_parameters_say(
    api: FakeApi, client: kfp.Client
) -> None:
    run = api.runs[started(api, client).run_id]

    assert run.display_name == "first"
    assert run.service_account == "runner"
    assert run.runtime_config.pipeline_root == "gs://bucket/root"
    assert run.runtime_config.parameters == PARAMETERS.arguments()
    assert run.runtime_config.parameters["beta"] == 4
    experiment = api.experiments[run.experiment_id]
    assert (experiment.display_name, experiment.namespace) == ("genpipe", "team")
    version = run.pipeline_version_reference.pipeline_version_id
    compiled = next(yaml.safe_load_all(api.uploads[version]))
    assert compiled["pipelineInfo"]["name"] == "latent-fanout"
    assert "comp-train-vae" in compiled["components"]
    assert "comp-train-dcgan" not in compiled["components"]


@pytest.mark.parametrize("page_size", [1, 100])
def test_the_same_pipeline_is_uploaded_once_and_a_changed_one_anew(
    page_size: int, api: FakeApi, client: kfp.Client
) -> None:
    api.page_size = page_size
    environment = api.environment()
    changed = environment.with_tag("2")
    for target in (environment, changed, environment, changed):
        kubeflow.submit(client, target, PARAMETERS, "again")

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

    with pytest.raises(kubeflow.ApiError, match="said 403"):
        started(api, client)

    assert not api.runs


def test_the_command_prints_the_runs_id_and_link(
    api: FakeApi, file: str, genpipe: Callable[..., Any]
) -> None:
    arguments = ("--families", "vae", "--param", "latent_sizes=2,5", "--name", "mine", "--tag", "7")

    status, printed, _ = genpipe("submit", "--environment", file, *arguments, "--force")

    (run,) = api.runs.values()
    assert status == 0
    assert run.display_name == "mine"
    assert run.runtime_config.parameters["force_promote"] is True
    assert run.runtime_config.parameters["latent_sizes"] == [2, 5]
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
        (("--param", "beta=hot"), "parameter beta='hot'"),
        (("--param", "beta"), "write NAME=VALUE"),
        (("--families", "vqvae"), "vqvae"),
        (("--tag", "latest"), "tag 'latest'"),
        (("--timeout", "5"), "--timeout is for --wait"),
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
    for command in (("submit",), ("runs",), ("follow", "x"), ("stop", "x"), ("retry", "x")):
        status, _, errors = genpipe(*command)
        assert (status, "--environment" in errors) == (2, True)


# --- follow


def test_each_change_of_a_step_is_one_line(api: FakeApi, client: kfp.Client) -> None:
    run = started(api, client)
    first = [task("ingest", "RUNNING"), task("ingest-driver", "SUCCEEDED"), task("root", "RUNNING")]
    looks = iter(
        [
            ("RUNNING", first),
            ("RUNNING", first),
            ("RUNNING", [task("ingest", "SUCCEEDED"), task("judge", "PENDING")]),
            ("FAILED", [task("ingest", "SUCCEEDED"), task("judge", "FAILED", error="no\nmemory")]),
        ]
    )

    def look(run: Any) -> None:
        run.state, tasks = next(looks)
        run.run_details = models.V2beta1RunDetails(task_details=tasks)

    api.on_get_run = look
    lines: list[str] = []

    ended = kubeflow.follow(client, run.run_id, lines.append)

    assert ended.state == "FAILED"
    assert [line.split("  ", 1)[1].split() for line in lines] == [
        ["ingest", "running"],
        ["ingest", "succeeded"],
        ["judge", "pending"],
        ["judge", "failed:", "no", "memory"],
    ]


def test_steps_of_a_loop_are_named_as_in_a_local_run(api: FakeApi, client: kfp.Client) -> None:
    run = started(api, client)
    tasks = [task("for-loop-1", "RUNNING", *(f"iterations({at}:{at})" for at in (0, 1)))]
    for at in (0, 1):
        tasks += [
            task(f"iterations({at}:{at})", "RUNNING", f"train-vae-driver {at}"),
            task(f"train-vae-driver {at}", "SUCCEEDED", f"train-vae {at}"),
            task(f"train-vae {at}", "SUCCEEDED", f"executor {at}"),
            task(f"executor {at}", "SUCCEEDED", f"evaluate-2-driver {at}"),
            task(f"evaluate-2-driver {at}", "SUCCEEDED", f"evaluate-2 {at}"),
            task(f"evaluate-2 {at}", "RUNNING", "compare"),
        ]
    tasks += [task("compare", "PENDING"), task("sample", "PENDING")]

    def look(run: Any) -> None:
        run.state = "SUCCEEDED"
        run.run_details = models.V2beta1RunDetails(task_details=tasks)

    api.on_get_run = look
    lines: list[str] = []

    kubeflow.follow(client, run.run_id, lines.append)

    assert [line.split()[1] for line in lines] == [
        *("train_vae-2", "evaluate-vae-2", "train_vae-10", "evaluate-vae-10"),
        *("compare", "sample"),
    ]


def test_an_outage_is_sat_out(api: FakeApi, client: kfp.Client) -> None:
    run = started(api, client)
    api.on_get_run = ends("SUCCEEDED")
    api.fail(f"/runs/{run.run_id}", status=503, times=2 * kubeflow.TRIES)
    lines: list[str] = []

    assert kubeflow.follow(client, run.run_id, lines.append).state == "SUCCEEDED"
    (line,) = lines
    assert line.endswith("trying again")


def test_an_outage_without_an_end_is_given_up(
    api: FakeApi, client: kfp.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = started(api, client)
    monkeypatch.setattr(kubeflow, "OUTAGE_SECONDS", 0.0)
    api.fail("/runs/", status=503, times=999)

    with pytest.raises(kubeflow.ApiError, match="said 503"):
        kubeflow.follow(client, run.run_id, lambda _: None)


def test_a_login_that_expires_ends_the_following(api: FakeApi, client: kfp.Client) -> None:
    run = started(api, client)
    api.fail("/runs/", status=401)

    with pytest.raises(kubeflow.ApiError, match="said 401"):
        kubeflow.follow(client, run.run_id, lambda _: None)


@pytest.mark.parametrize(
    ("state", "status"), [("SUCCEEDED", 0), ("FAILED", 1), ("CANCELED", 1), ("SKIPPED", 1)]
)
def test_the_exit_status_says_how_the_run_ended(
    api: FakeApi, file: str, genpipe: Callable[..., Any], state: str, status: int
) -> None:
    api.on_get_run = ends(state)

    found, printed, _ = genpipe("submit", "--environment", file, "--families", "vae", "--wait")

    (run,) = api.runs.values()
    assert found == status
    assert f"{run.display_name} {state.lower()}: {api.url}/#/runs" in printed
    assert (f"pipeline/runid={run.run_id}" in printed) == (status == 1)


def test_after_the_time_out_the_run_goes_on(
    api: FakeApi,
    client: kfp.Client,
    file: str,
    genpipe: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = started(api, client)
    clock = itertools.count()
    monkeypatch.setattr("time.monotonic", lambda: next(clock))

    status, _, errors = genpipe("follow", "first", "--environment", file, "--timeout", "5")

    assert status == 3
    assert "goes on after 5 seconds" in errors
    assert f"genpipe follow {run.run_id} --environment {file}" in errors
    assert not api.sent("POST", ".*:terminate")


def test_ctrl_c_leaves_the_run_going(api: FakeApi, file: str, genpipe: Callable[..., Any]) -> None:
    api.on_get_run = lambda _: os.kill(os.getpid(), signal.SIGINT)

    status, _, errors = genpipe("submit", "--environment", file, "--families", "vae", "--wait")

    (run,) = api.runs.values()
    assert status == 130
    assert f"genpipe follow {run.run_id} --environment {file}" in errors
    assert f"genpipe stop {run.run_id} --environment {file}" in errors
    assert not api.sent("POST", ".*:terminate")


# --- stop, retry, runs


def test_a_run_is_found_by_id_and_by_the_newest_of_its_name(
    api: FakeApi, client: kfp.Client
) -> None:
    api.page_size = 1
    runs = [started(api, client, name) for name in ("twice", "other", "twice")]

    environment = api.environment()
    assert kubeflow.find_run(client, environment, runs[0].run_id).run_id == runs[0].run_id
    assert kubeflow.find_run(client, environment, "twice").run_id == runs[2].run_id


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
    ("command", "state", "told"),
    [
        ("stop", "SUCCEEDED", "first has ended already: SUCCEEDED"),
        ("retry", "RUNNING", "first is RUNNING: only one that FAILED"),
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
        [run.display_name, run.run_id, "PENDING"] for run in reversed(runs[1:])
    ]


def test_before_the_first_run_there_are_none(
    api: FakeApi, file: str, genpipe: Callable[..., Any]
) -> None:
    assert genpipe("runs", "--environment", file) == (0, "", "")
    assert not api.experiments
