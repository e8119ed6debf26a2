"""What W&B is asked, each time in a process of its own.

wandb's service may ask a silent server on and on, and the process that started it does not end
before that does: of 48 that asked a server whose name nobody knows, 4 hung.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

_PROGRAM = "from genpipe.tracking.questions import answer; answer()"
# What leads to the service of the process that asks.
_SERVICE = "WANDB_SERVICE"
_SECONDS_TO_START = 30


class Question:
    """A question that is on its way.

    Args:
        what: an attribute of a run, such as ``state``; or ``key``, whether W&B takes it.
        run: ``entity/project/id``, where the entity may be left out.
        seconds: that W&B has for an answer.
    """

    def __init__(self, what: str, run: str = "", *, seconds: int) -> None:
        self._deadline = time.monotonic() + seconds + _SECONDS_TO_START
        self._said = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, what, run, str(seconds)],
            env={name: value for name, value in os.environ.items() if name != _SERVICE},
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=subprocess.DEVNULL,
        )

    def wait(self, seconds: float | None = None) -> tuple[Any, str]:
        """Wait for the answer, once.

        Args:
            seconds: to wait at most, fewer than W&B has, once it was asked: that Python starts may
                take longer on a busy machine.

        Returns:
            The answer, None if there is none; and then why, empty if W&B is silent.
        """
        deadline = self._deadline
        while self._process.poll() is None and time.monotonic() < deadline:
            if seconds is not None and os.fstat(self._said.fileno()).st_size:
                deadline, seconds = min(deadline, time.monotonic() + seconds), None
            time.sleep(0.05)
        self._process.kill()
        self._process.wait()
        with self._said:
            self._said.seek(0)
            value, reason = json.loads(self._said.read().strip() or '[null, ""]')
        return value, " ".join(reason.split())


def answer() -> None:
    """The process: prints the answer, and ends without waiting for wandb's service."""
    import wandb

    what, run, seconds = sys.argv[1:]
    value, reason = None, ""
    print(flush=True)  # it is about to ask
    try:
        api = wandb.Api(timeout=int(seconds))
        value = True if what == "key" else getattr(api.run(run), what)
    except Exception as error:
        reason = str(error)
    print(json.dumps([value, reason]), flush=True)
    os._exit(0)
