"""Send runs' folders to W&B, by its own ``wandb sync`` in a process beside this one."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from genpipe.tracking.account import OF_ONE_RUN, Account
from genpipe.tracking.progress import format_seconds

# How the file ends that wandb puts beside a run's log when it has read all of it. Here it holds the
# address that the run was sent to.
SENT = ".wandb.synced"
_ERROR = "ERROR"
# How wandb's own log begins to tell of a file, or an artifact, that did not arrive.
_LOST = ("file transfer: upload: ", "sender: failed to log artifact: ")
_PROGRAM = "from genpipe.tracking.upload import run_wandb; run_wandb()"


class Upload:
    """A process that sends a step's runs as they grow, by ``wandb beta sync --live``.

    It ends with the process that started it, however that ends. What it says is in the first run's
    ``logs/upload.log``.

    Args:
        folders: of the runs, which may be open.
        place: the address that they are sent to.
        seconds: that the step waits for the rest, all in all.
    """

    def __init__(self, folders: Sequence[Path], place: str, seconds: float) -> None:
        self._folders = list(folders)
        self._place = place
        self._seconds = seconds
        self._log = folders[0] / "logs" / "upload.log"
        self._wandbs_log = folders[0] / "tmp"
        live = ["beta", "sync", "--live"]
        with self._log.open("wb") as log:
            self._process = _start(self._wandbs_log, live, folders, stdout=log)

    def finish(self, deadline: float) -> str:
        """Wait for the rest to be sent, once the runs are finished.

        Args:
            deadline: of the wait, by ``time.monotonic``.

        Returns:
            Why not all was sent, in one line; empty if all was.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, deadline - time.monotonic()))
        self._process.kill()
        self._process.wait()
        said = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        problems = _problems(said, self._wandbs_log)
        if not problems and all(map(marks_of, self._folders)):
            for folder in self._folders:
                mark_sent(folder, self._place)
            return ""
        for folder in self._folders:  # wandb marks them after a fatal error too
            for mark in marks_of(folder):
                mark.unlink()
        return problems[-1][1] if problems else f"not all was sent in {self._seconds:.0f} s"


def send(
    folders: Sequence[Path], account: Account, seconds: float, logs: Path, say: Callable[[str], Any]
) -> dict[Path, str]:
    """Send runs that are finished.

    Args:
        folders: of the runs, named after their ids as wandb names them.
        account: to send to, in place of the entity and project that the runs were made for.
        seconds: that it may take.
        logs: folder for wandb's own log.
        say: called with each line that wandb prints.

    Returns:
        The runs that were not sent whole, and why, in one line each.
    """
    if not folders:
        return {}  # wandb would look for runs by itself
    chosen = {"--project": account.project, "--entity": account.entity}
    options = [text for option, value in chosen.items() if value for text in (option, value)]
    process = _start(
        logs, ["sync", *options], folders, stdout=subprocess.PIPE, text=True, errors="replace"
    )
    assert process.stdout is not None
    limit = threading.Timer(seconds, process.kill)
    limit.start()
    said = []
    for line in process.stdout:
        said.append(line.rstrip("\n"))
        say(said[-1])
    status = process.wait()
    problems = _problems(said, logs)
    if limit.is_alive():
        limit.cancel()
        reason = problems[-1][1] if problems else f"wandb sync ended with status {status}"
    else:
        reason = f"not done after {format_seconds(seconds)}: give it a longer --timeout"
    failed = {}
    for folder in folders:
        run = folder.name.rpartition("-")[2]
        own = [why for where, why in problems if run in where]
        if own or not marks_of(folder):
            failed[folder] = own[-1] if own else reason
    return failed


def mark_sent(folder: Path, place: str) -> None:
    """Note beside a run that it was sent, and where."""
    log = next(folder.glob("*.wandb"))
    mark = log.with_name(f"{log.name}.synced")
    mark.unlink(missing_ok=True)  # it may be a link into the cache
    mark.write_text(place, encoding="utf-8")


def marks_of(folder: Path) -> list[Path]:
    """The files beside a run that say that it was sent."""
    return list(folder.glob(f"*{SENT}"))


def _problems(said: Sequence[str], logs: Path) -> list[tuple[str, str]]:
    """What was not sent: a text that names the run, and the reason in one line.

    wandb prints what ends an upload, and tells of a file or an artifact that was refused in its own
    log alone: it goes on, marks the run as sent and ends with status 0.
    """
    problems = []
    for file in logs.rglob("debug-sync*.log"):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError):  # cut off
                entry = json.loads(line)
                if entry["level"] == _ERROR and entry["msg"].startswith(_LOST):
                    problems.append((entry.get("sync_path", ""), entry["msg"]))
    return problems + [(line, line.partition(_ERROR)[2].strip()) for line in said if _ERROR in line]


def _start(
    logs: Path, command: Sequence[str], folders: Sequence[Path], **options: Any
) -> subprocess.Popen[Any]:
    return subprocess.Popen(
        [
            *(sys.executable, "-P", "-c", _PROGRAM, str(logs)),
            *command,
            *map(str, folders),
        ],
        env={name: value for name, value in os.environ.items() if name not in OF_ONE_RUN},
        stdin=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **options,
    )


def run_wandb() -> None:
    """The process: ``wandb`` with its own settings, but for its mode and its own log's place."""

    def end_with_parent() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    from wandb.cli.cli import cli
    from wandb.sdk import wandb_setup

    logs, *arguments = sys.argv[1:]
    settings = wandb_setup.singleton().settings
    settings.mode, settings.root_dir, settings.disable_git = "online", logs, True
    cli(arguments)
