"""What is left of a step's output folders: plain files and folders."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from genpipe.outputs import leave_plain_files


def test_links_to_files_become_files_and_nothing_else_stays(tmp_path: Path) -> None:
    step, elsewhere = tmp_path / "step", tmp_path / "elsewhere"
    run = step / "wandb_run" / "run-1"
    run.mkdir(parents=True)
    elsewhere.mkdir()
    (run / "debug.log").write_text("inside")
    (elsewhere / "core.log").write_text("outside")
    links = {
        run / "core.log": elsewhere / "core.log",
        step / "wandb_run" / "debug.log": Path("run-1", "debug.log"),
        step / "wandb_run" / "latest-run": Path("run-1"),
        step / "wandb_run" / "root": Path("/"),
        step / "gone": tmp_path / "gone",
        step / "loop": Path("loop"),
    }
    for link, target in links.items():
        link.symlink_to(target)
    os.mkfifo(step / "pipe")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(step / "socket"))

    leave_plain_files(step)

    server.close()
    left = {path.relative_to(step).as_posix(): path for path in step.rglob("*")}
    assert set(left) == {
        *("wandb_run", "wandb_run/run-1", "wandb_run/run-1/debug.log"),
        *("wandb_run/run-1/core.log", "wandb_run/debug.log"),
    }
    assert not any(path.is_symlink() for path in left.values())
    assert left["wandb_run/run-1/core.log"].read_text() == "outside"
    assert left["wandb_run/debug.log"].read_text() == "inside"
    assert (elsewhere / "core.log").read_text() == "outside"
