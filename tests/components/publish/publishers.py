"""Publishers in processes of their own: killed at each of their writes, or all at once.

    python -m tests.components.publish.publishers killed ROOT TARGET
    python -m tests.components.publish.publishers together ROOT TARGET COUNT

The first kills a publisher at its first write to the file system or to the storage server, another
at its second, and so on until one comes to its end; each has a target of its own, below TARGET,
with a champion in it. It prints how many were killed. The second starts COUNT publishers of better
and better models on one target at the same moment.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from genpipe import storage
from tests.components.publish.made_run import MadeRun

FAMILY = "vae"
WRITES = ("os.rename", "os.mkdir", "os.rmdir", "os.remove", "http.client.send")


def champion(root: Path) -> MadeRun:
    """The run whose model is champion in every target of ``killed``."""
    return MadeRun(root, "champion", {FAMILY: 100.0})


def challenger(root: Path, cost: float = 50.0) -> MadeRun:
    """A run whose model is better."""
    return MadeRun(root, f"challenger-{cost:g}", {FAMILY: cost})


def killed(root: Path, target: str) -> int:
    """Kill a publisher at each of its writes; returns how many were."""
    first, better = champion(root), challenger(root)
    count = 0
    while True:
        place = storage.join(target, str(count))
        first.publish(place)
        process = os.fork()
        if process == 0:
            _kill_at(count, place)
            better.publish(place)
            os._exit(0)
        _, status = os.waitpid(process, 0)
        if not os.WIFSIGNALED(status):
            assert os.waitstatus_to_exitcode(status) == 0
            return count
        assert os.WTERMSIG(status) == signal.SIGKILL
        count += 1


def together(root: Path, target: str, count: int) -> None:
    """Let publishers begin at the same moment, and wait for them."""
    runs = [challenger(root, 100.0 - 5 * number) for number in range(count)]
    storage.exists(target)  # the libraries are loaded before the processes part
    waiting, go = os.pipe()
    processes = []
    for run in runs:
        process = os.fork()
        if process == 0:
            os.close(go)
            os.read(waiting, 1)  # until the pipe closes
            run.publish(target)
            os._exit(0)
        processes.append(process)
    os.close(go)
    for process in processes:
        _, status = os.waitpid(process, 0)
        assert os.waitstatus_to_exitcode(status) == 0


def _kill_at(number: int, place: str) -> None:
    """End this process, as SIGKILL does, when it is about to make that write, counted from 0."""
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if not _writes(event, arguments, place):
            return
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 1

    sys.addaudithook(hook)


def _writes(event: str, arguments: tuple[Any, ...], place: str) -> bool:
    if event == "open":
        path, _, flags = arguments
        return str(path).startswith(place) and bool(flags & (os.O_WRONLY | os.O_RDWR))
    if event == "http.client.send":
        return not bytes(arguments[1]).startswith(b"GET ")
    return event in WRITES and str(arguments[0]).startswith(place)


if __name__ == "__main__":
    if sys.argv[1] == "killed":
        print(killed(Path(sys.argv[2]), sys.argv[3]))
    else:
        together(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
