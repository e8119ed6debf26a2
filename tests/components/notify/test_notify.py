"""Who is told of a run that failed, and who of one that did not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.notify import step
from tests.components.output import Output


@pytest.mark.parametrize("state", ["COMPLETE", "SUCCEEDED", "CACHED"])
def test_of_a_run_that_ended_well_nothing_is_logged(state: str, tmp_path: Path) -> None:
    step.run(Output(tmp_path / "wandb_run"), state)

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("state", ["FAILED", "RUNNING"])  # KFP hears nothing from a killed pod
def test_of_one_that_did_not_w_and_b_gets_an_alert(state: str, tmp_path: Path) -> None:
    """In a process of its own: wandb reads its variables once."""
    script = """
import sys
from pathlib import Path
from components.notify import step
from tests.components.output import Output
step.run(Output(Path(sys.argv[1])), sys.argv[2])
"""
    logged = {"WANDB_MODE": "offline", "WANDB_RUN_GROUP": "weekly-1"}

    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "wandb_run"), state],
        env={**os.environ, **logged},
        check=True,
    )

    (log,) = tmp_path.rglob("*.wandb")
    assert b"weekly-1 has failed: " in log.read_bytes()
