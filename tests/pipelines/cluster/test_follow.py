"""Following runs: what real ones did is shown as it was, to the end and with the reasons."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import signal
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import kfp
import pytest
import yaml
from rich.console import Console

from genpipe.cells import read_cell
from genpipe.families.registry import all_families
from pipelines.cluster import follow as module
from pipelines.cluster.api import TRIES, ApiError
from pipelines.cluster.follow import follow, progress
from pipelines.cluster.workflow import State, parse_workflow
from tests.pipelines.cluster.fake_api import RECORDED, FakeApi, started


def recorded(name: str, number: int = -1) -> Any:
    """The workflow of one recorded look, as it is read."""
    look = json.loads((RECORDED / f"{name}.json").read_text())[number]
    return parse_workflow(look["workflow"], [read_cell(cell)[0] for cell in look["cells"]])


def followed(client: kfp.Client, run_id: str, **options: Any) -> list[str]:
    """The lines that following a run prints in a file, without their times."""
    file = io.StringIO()
    follow(client, run_id, Console(file=file, width=200), **options)
    return [line.split("  ", 1)[1] for line in file.getvalue().splitlines()]


def test_each_group_of_steps_is_counted_to_its_end(api: FakeApi, client: kfp.Client) -> None:
    """Nine cells, more than the API's own task states can tell: they stand still from the third
    look on, and after the run has succeeded they say that compare has yet to begin.
    """
    run = started(api, client)
    api.play("deleted_pod")

    lines = followed(client, run.run_id)

    tasks = api.runs[run.run_id].run_details.task_details
    still = {(task.display_name, task.state) for task in tasks}
    assert {("compare-driver", "RUNNING"), ("compare-driver(0)", "PENDING")} <= still
    last = {line[:22].strip(): line[22:] for line in lines}
    for kind, family in itertools.product(("train", "evaluate", "sample"), all_families()):
        cached = "" if family == "vae" else " (3 from the cache)"
        assert last[f"{kind} {family}"] == f"3 of 3 done{cached}"
    assert last["ingest"] == last["judge"] == "from the cache"
    assert last["compare"] == last["publish"] == "done"
    assert "train vae             0 of 3 done, 3 running: 2, 10, 100" in lines


def test_what_a_pod_waits_for_is_told() -> None:
    """In Argo's words, as it was seen to say where no GPU was free."""
    look = json.loads((RECORDED / "deleted_pod.json").read_text())[1]
    cells = [read_cell(cell)[0] for cell in look["cells"]]
    message = "Unschedulable: 0/2 nodes are available: 1 Insufficient nvidia.com/gpu"
    nodes = look["workflow"]["status"]["nodes"].values()
    running = [node for node in nodes if node["type"] == "Pod" and node["phase"] == "Running"]
    running[0].update(phase="Pending", message=message)

    rows = progress(parse_workflow(look["workflow"], cells).tasks, cells)

    (text,) = (row.text for row in rows if message in row.text)
    assert re.match(r"0 of 3 done, 2 running: [\d, ]+, 1 waiting: \d+, Unschedulable", text)


def test_nothing_is_told_twice(api: FakeApi, client: kfp.Client) -> None:
    run = started(api, client)
    api.play("deleted_pod", 0, 0, 0, 1, 1, 2, 2, 2, 3)

    lines = followed(client, run.run_id)

    assert len(set(lines)) == len(lines)
    lost = [line for line in lines if "tried again" in line]
    assert lost == ["train-vae-100: attempt 1 ended (pod deleted); tried again"]


def test_on_a_terminal_the_table_is_drawn_anew(api: FakeApi, client: kfp.Client) -> None:
    run = started(api, client)
    api.play("deleted_pod")
    file = io.StringIO()

    follow(client, run.run_id, Console(file=file, width=100, force_terminal=True))

    drawn = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", file.getvalue())
    assert drawn.count("train-vae-100: attempt 1 ended") == 1
    (*_, last) = drawn.split("\r")
    assert re.search(r"train vae +3 of 3 done", drawn)
    assert "followed for" in last or "followed for" in drawn


def test_steps_have_the_names_of_a_local_run_and_the_order_of_the_pipeline() -> None:
    workflow = recorded("no_defaults")

    assert [task.name for task in workflow.tasks] == [
        *("ingest", "judge"),
        *("train-vae-3", "train-vae-4", "train-dcgan-3", "train-dcgan-4"),
        *("evaluate-vae-3", "evaluate-vae-4", "evaluate-dcgan-3", "evaluate-dcgan-4"),
        *("sample-vae-3", "sample-vae-4", "sample-dcgan-3", "sample-dcgan-4"),
        *("compare", "publish"),
    ]
    states = {task.name: task.state for task in workflow.tasks}
    assert states["train-vae-3"] is State.CACHED
    assert states["train-dcgan-3"] is State.FAILED
    assert states["evaluate-dcgan-3"] is states["compare"] is State.LEFT_OUT


def test_cells_that_are_not_told_leave_numbers() -> None:
    look = json.loads((RECORDED / "no_defaults.json").read_text())[-1]

    names = [task.name for task in parse_workflow(look["workflow"]).tasks]

    assert {"train-#0", "evaluate-#3"} <= set(names)


def test_pods_have_the_names_that_they_have_in_kubernetes() -> None:
    trained = next(task for task in recorded("out_of_memory").tasks if task.name == "train-dcgan-3")

    name = "latent-fanout-9ckhs-metadata-0-1-retry-system-container-impl"
    assert [pod.name for pod in trained.pods] == [f"{name}-1966788290", f"{name}-1362646911"]


@pytest.mark.parametrize(
    ("name", "failures"),
    [
        (
            "out_of_memory",
            {
                "train-dcgan-3": "main: OOMKilled (exit code 1); No more retries left",
                "train-dcgan-4": "main: OOMKilled (exit code 1); No more retries left",
            },
        ),
        ("no_defaults", {"train-dcgan-3": "pod deleted"}),
        (
            "refused",
            {
                f"driver of train-{cell}": "main: Error (exit code 1); No more retries left"
                for cell in ("vae-3", "vae-4", "dcgan-3", "dcgan-4")
            },
        ),
    ],
)
def test_what_failed_is_named_with_its_reason(name: str, failures: dict[str, str]) -> None:
    assert {one.name: one.reason for one in recorded(name).failures} == failures


def test_a_pod_that_kubernetes_refuses_is_told_with_its_reason() -> None:
    *_, failure = recorded("invalid_pod").failures

    assert failure.name == failure.step == "train-dcgan-4"
    assert 'Invalid value: "512Mi": must be less than or equal to memory limit' in failure.reason


def test_an_outage_is_sat_out(api: FakeApi, client: kfp.Client) -> None:
    run = started(api, client)
    api.play("no_defaults")
    api.fail(f"/runs/{run.run_id}", status=503, times=2 * TRIES)

    lines = followed(client, run.run_id)

    assert lines[0].endswith("trying again")
    assert lines[-1].split() == ["publish", "left", "out"]


def test_an_outage_without_an_end_is_given_up(
    api: FakeApi, client: kfp.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = started(api, client)
    monkeypatch.setattr(module, "OUTAGE_SECONDS", 0.0)
    api.fail("/runs/", status=503, times=999)

    with pytest.raises(ApiError, match="answered 503"):
        followed(client, run.run_id)


def test_a_login_that_expires_ends_the_following(api: FakeApi, client: kfp.Client) -> None:
    run = started(api, client)
    api.fail("/runs/", status=401)

    with pytest.raises(ApiError, match="answered 401"):
        followed(client, run.run_id)


@pytest.mark.parametrize("kind", ["a server without v1beta1", "nodes in a database"])
def test_where_the_steps_are_not_told_that_is_said_once(
    kind: str, api: FakeApi, client: kfp.Client
) -> None:
    run = started(api, client)
    states = iter(["RUNNING", "RUNNING", "SUCCEEDED"])
    api.on_get_run = lambda run: setattr(run, "state", next(states))
    if kind == "nodes in a database":
        status = {"phase": "Running", "offloadNodeStatusVersion": "fnv:1"}
        api.workflows[run.run_id] = {"metadata": {"name": "w"}, "status": status}
    else:
        api.fail("/apis/v1beta1/", status=404, times=99)

    (line,) = followed(client, run.run_id)

    assert line.startswith("this API does not report the steps of a run")


@pytest.mark.parametrize(
    ("state", "told", "status"),
    [
        ("SUCCEEDED", "succeeded", 0),
        ("FAILED", "failed", 1),
        ("CANCELED", "stopped", 1),
        ("SKIPPED", "skipped", 1),
    ],
)
def test_the_exit_status_says_how_the_run_ended(
    api: FakeApi, file: str, genpipe: Callable[..., Any], state: str, told: str, status: int
) -> None:
    api.on_get_run = lambda run: setattr(run, "state", state)

    found, printed, _ = genpipe("submit", "--environment", file, "--families", "vae", "--wait")

    (run,) = api.runs.values()
    assert found == status
    assert f"{run.display_name} {told}: {api.url}/#/runs" in printed
    of_run = f"{run.run_id} --environment {file}"
    assert f"genpipe report {of_run}" in printed
    assert (f"genpipe retry {of_run}" in printed) == (status == 1)


def test_why_a_run_failed_is_told_with_what_its_pods_printed_last(
    api: FakeApi, client: kfp.Client, file: str, genpipe: Callable[..., Any]
) -> None:
    run = started(api, client)
    api.play("refused")
    failures = recorded("refused").failures
    # As the driver was seen to end.
    refusal = 'failed to resolve inputs: input parameter "cell" type mismatch'
    api.logs[failures[0].pod.name] = (
        'time=2026-11-26T01:43:36.2Z level=INFO msg="capturing logs" argo=true\n'
        "I1126 01:43:36.357337      16 main.go:67] Setting log level to: '1'\n"
        '[KFP Executor 2026-11-26 01:30:30,747 INFO]: Got executor_input:\n{\n    "inputs": {}\n}\n'
        f"F1126 01:43:36.357337      16 main.go:127] KFP driver: {refusal}\n"
        "Error: exit status 1\n"
    )

    status, printed, _ = genpipe("follow", "first", "--environment", file)

    assert status == 1
    lines = [line.strip() for line in printed.splitlines()]
    at = lines.index(
        "driver of train-vae-3 failed: main: Error (exit code 1); No more retries left"
    )
    assert lines[at + 1 : at + 4] == [
        f"F1126 01:43:36.357337      16 main.go:127] KFP driver: {refusal}",
        "Error: exit status 1",
        f"all of it: genpipe logs {run.run_id} train-vae-3 --environment {file}",
    ]
    # The other one's pod is gone, and no kubeconfig leads to a cluster.
    pod = failures[1].pod.name
    assert f"kubectl logs --namespace kubeflow --container main {pod}" in printed


def test_logs_of_a_step_are_those_of_each_attempt(
    api: FakeApi, client: kfp.Client, file: str, genpipe: Callable[..., Any]
) -> None:
    run = started(api, client)
    api.play("out_of_memory")
    tasks = {task.name: task for task in recorded("out_of_memory").tasks}
    first, second = tasks["train-dcgan-3"].pods
    noise = "I1126 01:39:47.064788      17 object_store.go:231] uploadFile\n"
    api.logs = {first.name: f"{noise}one\ntwo\nKilled\n", second.name: "again\nKilled\n"}

    status, printed, _ = genpipe("logs", run.run_id, "train-dcgan-3", "--environment", file)
    assert status == 0
    assert printed.splitlines() == [
        *(f"== train-dcgan-3, attempt 1 of 2 (pod {first.name})", "one", "two", "Killed"),
        *(f"== train-dcgan-3, attempt 2 of 2 (pod {second.name})", "again", "Killed"),
    ]
    options = ("--environment", file, "--tail", "1")
    assert "two" not in genpipe("logs", "first", "train-dcgan-3", *options)[1]
    assert noise in genpipe("logs", "first", "train-dcgan-3", "--raw", "--environment", file)[1]
    # Without a step, what failed.
    printed = genpipe("logs", "first", *options)[1]
    assert printed.count("== ") == 2
    assert f"== train-dcgan-3 (pod {second.name})\nKilled\n" in printed
    # Of a kind, and of what came from the cache.
    printed = genpipe("logs", "first", "train", *options)[1]
    assert "== train-vae-3\nno pod of it has run: from the cache\n" in printed
    status, _, errors = genpipe("logs", "first", "trian", *options)
    assert (status, "no step 'trian' has begun in this run; there are: ingest" in errors) == (
        2,
        True,
    )


def test_logs_come_from_the_cluster_of_a_kubeconfig_too(
    api: FakeApi,
    client: kfp.Client,
    file: str,
    genpipe: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where ``api.host`` is the API server's own, which has no logs."""
    started(api, client)
    api.play("out_of_memory")
    asked = []

    class Kubernetes(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"Killed\n")

        def log_message(self, *_: object) -> None:
            """Say nothing on stderr."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Kubernetes) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        named = {"name": "here"}
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [
                {**named, "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
            ],
            "users": [{**named, "user": {}}],
            "contexts": [{**named, "context": {"cluster": "here", "user": "here"}}],
        }
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
        monkeypatch.setattr(
            "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION",
            str(tmp_path / "kubeconfig"),
        )
        printed = genpipe("logs", "first", "--environment", file)[1]
        server.shutdown()

    assert printed.count("Killed") == 2
    pod = recorded("out_of_memory").failures[0].pod.name
    assert asked[0] == f"/api/v1/namespaces/kubeflow/pods/{pod}/log?container=main"


def test_nothing_failed_is_told_with_the_steps(
    api: FakeApi, client: kfp.Client, file: str, genpipe: Callable[..., Any]
) -> None:
    started(api, client)
    api.play("deleted_pod")

    status, _, errors = genpipe("logs", "first", "--environment", file)

    assert status == 2
    assert errors.startswith(
        "error: nothing failed in this run: name a step to see its log: ingest"
    )


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

    status, _, errors = genpipe("follow", "first", "--environment", file, "--timeout", "9")

    assert status == 3
    assert "goes on after 9 seconds" in errors
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
