"""Who is told of a run that failed, and who of one that did not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.genpipe.tracking.fake_wandb import fake_wandb

KEY = "notakey" * 6
# Each step in a process of its own: wandb reads its variables once.
NOTIFY = """
import sys
from pathlib import Path
from components.notify import step
from tests.components.output import Output
step.run(Output(Path(sys.argv[1])), sys.argv[2])
"""
PUBLISH = """
import sys
from genpipe.errors import StepError
from genpipe.tracking import open_step
with open_step("publish", config={}, folder=sys.argv[1]) as tracker:
    tracker.log({"decisions": 1})
    if sys.argv[2] == "fails":
        raise StepError("no bucket")
"""


def call(script: str, folder: Path, argument: str, **variables: str) -> int:
    logged = {"WANDB_MODE": "offline", "WANDB_RUN_GROUP": "weekly-1", **variables}
    command = [sys.executable, "-c", script, str(folder / "wandb_run"), argument]
    return subprocess.run(command, env={**os.environ, **logged}).returncode


@pytest.mark.parametrize("state", ["COMPLETE", "SUCCEEDED", "CACHED"])
def test_of_a_run_that_ended_well_nothing_is_logged(state: str, tmp_path: Path) -> None:
    assert call(NOTIFY, tmp_path, state) == 0

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("state", ["FAILED", "RUNNING"])  # KFP hears nothing from a killed pod
def test_of_one_that_did_not_an_alert_is_logged(state: str, tmp_path: Path) -> None:
    assert call(NOTIFY, tmp_path, state) == 0

    (log,) = tmp_path.rglob("*.wandb")
    assert b"weekly-1 has failed: " in log.read_bytes()


@pytest.mark.parametrize(("publish", "alerts"), [("works", 0), ("fails", 1)])
def test_what_kfp_takes_for_running_is_told_by_the_end_of_the_last_step(
    publish: str, alerts: int, tmp_path: Path
) -> None:
    """Seen on KFP 2.17: so it ends where all of a loop came from the cache, and nothing failed."""
    with fake_wandb() as server:
        online = {"WANDB_MODE": "online", "WANDB_BASE_URL": server.url, "NO_PROXY": "127.0.0.1"}
        online["WANDB_API_KEY"] = KEY
        for name, script, argument in (
            ("publish", PUBLISH, publish),
            ("notify", NOTIFY, "RUNNING"),
        ):
            (tmp_path / name).mkdir()
            call(script, tmp_path / name, argument, **online)

        assert len(server.asked("NotifyScriptableRunAlert")) == alerts
