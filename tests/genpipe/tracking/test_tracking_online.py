"""Steps whose runs go to W&B as they go: to a stand-in for it (see ``fake_wandb``)."""

from __future__ import annotations

import base64
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from genpipe.tracking.account import UPLOAD_SECONDS
from genpipe.tracking.step import run_id
from tests.genpipe.tracking.fake_wandb import SLOW_SECONDS, FakeWandb, fake_wandb
from tests.genpipe.tracking.tracked_step import (
    DRAWN,
    GROUP,
    LOGGING,
    Step,
    end,
    environment,
    run,
    start,
)
from tests.recording_proxy import recording_proxy

KEY = "notakey" * 6
RUN = run_id(GROUP, "train-vae-10")
BECOME = """
import os, urllib.request
urllib.request.urlopen(os.environ["WANDB_BASE_URL"] + "/become/{}").read()
"""
DONE = '\nprint("worked", flush=True)'
LIMIT = 3.0
# How W&B is when a step begins, and what it becomes while the step runs.
FAULTS = ("unreachable", "slow", "401", "500", "well, then dropped", "well, then 401")


def online(url: str, seconds: float = 60) -> dict[str, str]:
    return {
        "WANDB_API_KEY": KEY,
        "WANDB_BASE_URL": url,
        "WANDB_RUN_GROUP": GROUP,
        "WANDB_FINISH_TIMEOUT": str(seconds),
    }


@dataclass
class Faulty:
    """A step that met a fault of W&B, and how long it took to end when its work was done."""

    step: Step
    seconds: float


def meet(root: Path, fault: str) -> Faulty:
    before, _, after = fault.partition(", then ")
    body = (BECOME.format(after) if after else "") + LOGGING + DONE
    with fake_wandb(before) as server:
        url = "http://127.0.0.1:9" if fault == "unreachable" else server.url
        process = start(root, body, **online(url, LIMIT))
        assert process.stdout is not None
        first = process.stdout.readline()
        began = time.monotonic()
        step = end(root, process)
        seconds = time.monotonic() - began
    step.out = first + step.out
    return Faulty(step, seconds)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Faulty]:
    """A step for each fault; all at a time, since most of them wait."""
    roots = [tmp_path_factory.mktemp("faulty") for _ in FAULTS]
    with ThreadPoolExecutor(len(FAULTS)) as pool:
        return dict(zip(FAULTS, pool.map(meet, roots, FAULTS), strict=True))


@pytest.fixture(scope="module")
def server() -> Iterator[FakeWandb]:
    with fake_wandb() as server:
        yield server


@pytest.fixture(scope="module")
def sent(server: FakeWandb, tmp_path_factory: pytest.TempPathFactory) -> Step:
    """A step that logs one of everything, and a W&B that takes it."""
    return run(tmp_path_factory.mktemp("sent"), LOGGING, **online(server.url))


def test_what_is_logged_is_sent_when_the_step_ends(sent: Step, server: FakeWandb) -> None:
    assert (sent.status, sent.error) == (0, "")
    assert "W&B" not in sent.out
    opened = server.asked("UpsertBucket")[0]
    assert (opened["name"], opened["groupName"], opened["jobType"]) == (RUN, GROUP, "train")
    history = server.history[RUN]
    assert [line["loss"] for line in history if "loss" in line] == [2.5, 1.5]
    media = [history[1]["reconstructions"], history[2]["leaderboard"], history[3]["report"]]
    assert {shown["path"] for shown in media} <= set(server.files)
    made = {given["input"]["artifactCollectionName"] for given in server.asked("CreateArtifact")}
    assert {"mnist", "vae-10"} <= made
    assert len(server.asked("UseArtifact")) == 1


def test_the_run_of_a_cell_is_sent_too(tmp_path: Path) -> None:
    with fake_wandb() as server:
        step = run(tmp_path, DRAWN, **online(server.url))

    assert "W&B" not in step.out
    asked = reversed(server.asked("UpsertBucket"))  # the first names the job type
    opened = {given["name"]: given["jobType"] for given in asked}
    assert opened == {RUN: "train", run_id(GROUP, "cell-vae-10"): "cell"}
    assert all(any(path.glob("*.wandb.synced")) for path in step.runs)


def test_what_was_sent_is_marked_with_the_place(sent: Step, server: FakeWandb) -> None:
    (mark,) = sent.runs[0].glob("*.synced")

    assert mark.read_text() == f"{server.url}/genpipe"


def test_where_the_users_settings_file_says_is_asked_and_nowhere_else(tmp_path: Path) -> None:
    """``wandb login --host`` writes the address there; the key came by the variable."""
    with fake_wandb() as server, recording_proxy() as proxy:
        settings = tmp_path / "home" / ".config" / "wandb" / "settings"
        settings.parent.mkdir(parents=True)
        settings.write_text(f"[default]\nbase_url = {server.url}\n")
        known = {**online(""), **proxy.variables, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        del known["WANDB_BASE_URL"]
        lost = tmp_path / "lost"
        shutil.copytree(tmp_path / "home", lost / "home")
        run(lost, ATTEMPT + END_AFTER.format(2, "raise SystemExit(143)"), **known)
        done = run(tmp_path, ATTEMPT, **known)

    assert (done.status, "W&B" in done.out) == (0, False)
    assert history_of(server) == [(epoch, epoch) for epoch in range(EPOCHS)]
    assert proxy.asked == []


EPOCHS = 8
ATTEMPT = f"""
for epoch in range({EPOCHS}):
    pixels = np.full((8, 9), epoch, np.uint8)
    tracker.log({{"epoch": epoch, "reconstructions": Picture(pixels)}})
"""


END_AFTER = """
    if epoch == {}:
        {}
"""


def history_of(server: FakeWandb) -> list[tuple[int, int]]:
    return [(line["_step"], line["epoch"]) for line in server.history[RUN]]


@pytest.mark.runs
def test_a_history_goes_on_through_preemptions_without_a_gap_or_a_repeat(tmp_path: Path) -> None:
    """Each pod but the last logs all rows so far, and ends as SIGTERM ends it."""
    with fake_wandb() as server:
        for rows in (3, 5):
            root = tmp_path / str(len(list(tmp_path.iterdir())))
            root.mkdir()
            body = ATTEMPT + END_AFTER.format(rows - 1, "raise SystemExit(143)")
            done = run(root, body, **online(server.url))
            assert (done.status, done.error) == (143, "")
            assert history_of(server) == [(epoch, epoch) for epoch in range(rows)]

        last = run(tmp_path, ATTEMPT, **online(server.url))

    assert (last.status, "W&B" in last.out) == (0, False)
    assert history_of(server) == [(epoch, epoch) for epoch in range(EPOCHS)]


@pytest.mark.runs
def test_a_history_goes_on_when_a_pod_is_killed(tmp_path: Path) -> None:
    """It takes W&B's client half a minute to send what a running step logs."""
    lost = tmp_path / "lost"
    lost.mkdir()
    body = ATTEMPT + END_AFTER.format(3, "import time; time.sleep(99)")
    with fake_wandb() as server:
        process = start(lost, body, **online(server.url))
        deadline = time.monotonic() + 90
        while len(server.history.get(RUN, ())) < 4 and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        assert history_of(server) == [(epoch, epoch) for epoch in range(4)]
        done = run(tmp_path, ATTEMPT, **online(server.url))

    assert (done.status, done.error) == (0, "")
    assert history_of(server) == [(epoch, epoch) for epoch in range(EPOCHS)]


def test_without_an_answer_nothing_that_is_logged_is_left_out(tmp_path: Path) -> None:
    done = run(tmp_path, ATTEMPT, **online("http://127.0.0.1:9", 0.1))

    epochs = [record["item"]["epoch"] for record in done.of("history")]
    assert epochs == list(range(EPOCHS))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_wandb_leaves_the_step_as_it_is(faulty: dict[str, Faulty], fault: str) -> None:
    step = faulty[fault].step

    assert (step.status, step.error) == (0, "")
    assert step.out.startswith("worked\n")
    assert step.events[-1]["status"] == "done"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_wandb_delays_the_end_of_a_step_by_its_limit(
    faulty: dict[str, Faulty], fault: str
) -> None:
    """Far less than one slow answer, on a machine that is busy with other tests."""
    assert faulty[fault].seconds < LIMIT + 10 < SLOW_SECONDS
    assert UPLOAD_SECONDS == 20


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_wandb_is_said_once(faulty: dict[str, Faulty], fault: str) -> None:
    said = [line for line in faulty[fault].step.out.splitlines() if "W&B" in line]

    assert len(said) == 1
    assert "all that was logged is kept: `genpipe wandb sync` sends it" in said[0]
    if fault == "well, then 401":
        assert "Fatal error while uploading data" in said[0]


@pytest.mark.parametrize("fault", FAULTS)
def test_with_a_fault_of_wandb_all_that_was_logged_is_in_the_runs_folder(
    faulty: dict[str, Faulty], fault: str
) -> None:
    step = faulty[fault].step

    assert len(step.runs) == 1
    history = [record["item"] for record in step.of("history")]
    assert [item["loss"] for item in history if "loss" in item] == [2.5, 1.5]
    files = step.runs[0] / "files"
    keys = ("reconstructions.path", "leaderboard.path", "report.path")
    assert all((files / item[key]).is_file() for item, key in zip(history[1:], keys, strict=True))
    assert {"mnist", "vae-10"} <= {artifact["name"] for artifact in step.of("artifact")}
    assert step.of("exit")[0].get("exit_code") == 0


def test_what_was_not_sent_is_sent_later(faulty: dict[str, Faulty]) -> None:
    step = faulty["well, then dropped"].step
    with fake_wandb() as server:
        sent = subprocess.run(
            [Path(sys.executable).with_name("genpipe"), "wandb", "sync", str(step.root)],
            env=environment(step.root, **online(server.url)),
            capture_output=True,
            text=True,
        )

    assert (sent.returncode, sent.stdout.splitlines()[-1]) == (0, "wandb sync went through 1 run")
    assert [line["loss"] for line in server.history[RUN] if "loss" in line] == [2.5, 1.5]
    assert f"run-{RUN}-leaderboard" in {name for name, _ in server.artifacts.values()}


def test_the_key_is_in_no_file_and_no_output(sent: Step, faulty: dict[str, Faulty]) -> None:
    basic = base64.b64encode(f"api:{KEY}".encode())
    steps = [sent, *(met.step for met in faulty.values())]
    files = [path for step in steps for path in step.root.rglob("*") if path.is_file()]

    assert len(files) > 50
    for content in [path.read_bytes() for path in files] + [
        (step.out + step.error).encode() for step in steps
    ]:
        assert KEY.encode() not in content
        assert basic not in content


def processes_of(root: Path) -> list[psutil.Process]:
    """Processes of a step: they all have its home."""
    home = environment(root)["HOME"]
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("HOME") == home:
                found.append(process)
        except (psutil.Error, OSError):  # it ended meanwhile
            continue
    return found


def assert_none_left(root: Path) -> None:
    deadline = time.monotonic() + 10
    while (left := processes_of(root)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left


def test_a_step_that_ends_leaves_no_process(faulty: dict[str, Faulty]) -> None:
    for met in faulty.values():
        assert_none_left(met.step.root)


def test_a_step_that_is_killed_leaves_no_process(tmp_path: Path, server: FakeWandb) -> None:
    body = 'print("open", flush=True)\nimport time\ntime.sleep(60)'
    process = start(tmp_path, body, **online(server.url))
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    # The step, its W&B service and the upload; the upload's own service comes a little later.
    deadline = time.monotonic() + 30
    while len(processes_of(tmp_path)) < 4 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert len(processes_of(tmp_path)) >= 4

    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)

    assert_none_left(tmp_path)
