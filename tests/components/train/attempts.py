"""Train, be ended by a signal at a random moment, and try again until it is done.

    python attempts.py FAMILY DATA FOLDER SEED

Every attempt is a process of its own, forked here where TensorFlow is imported and has not run
yet: it has no thread then, and an attempt need not wait for the import. FOLDER gets ``whole`` (a
training that nothing ended, without checkpoints), ``ended`` (one that was ended again and again),
and ``attempts.json``: what became of each attempt.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import re
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.train import train
from genpipe.cells import Cell
from genpipe.families.registry import find_family
from genpipe.tracking import Picture, Tracker
from genpipe.tracking.progress import Progress
from genpipe.training import checkpoints, loop

DENSE = {"latent_size": 3, "hidden_size": 16, "epochs": 30, "batch_size": 32}
SETTINGS_OF: dict[str, dict[str, Any]] = {
    "autoencoder": DENSE,
    "vae": DENSE,
    "dcgan": {"latent_size": 3, "steps": 70, "batch_size": 4, "gen_interval": 10},
}
KILLS = 10
PROGRESS = re.compile(r"^progress (\d+)$", re.MULTILINE)
GOES_ON = re.compile(r"goes on from the checkpoint of step (\d+)")


class Recorder(Tracker):
    """Says each call's progress, and keeps what is logged; pictures by their digest."""

    def __init__(self, pause: float) -> None:
        super().__init__(Progress("train"))
        self.pause = pause
        self.rows: list[dict[str, Any]] = []

    def progress(self, done: float, total: float, **facts: float) -> None:
        self.say(f"progress {done:.0f}")
        time.sleep(self.pause)

    def log(self, values: Mapping[str, float | Picture]) -> None:
        self.rows.append({key: digest_of(value) for key, value in values.items()})


def digest_of(value: float | Picture) -> float | str:
    if isinstance(value, Picture):
        return f"{value.caption}: {hashlib.sha256(value.pixels.tobytes()).hexdigest()}"
    return value


def start(family: str, data: Path, folder: Path, log: Path, seconds: float | None) -> int:
    """Start one attempt; returns its process id. ``seconds``: between checkpoints, if any."""
    if pid := os.fork():
        return pid
    status = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        # After each call, whatever it costs, and calls of some milliseconds.
        checkpoints.LARGEST_SHARE = math.inf
        loop.SECONDS_IN_A_CALL = 0.02
        tracker = Recorder(0.0 if seconds is None else 0.03)
        kept = None
        if seconds is not None:
            kept = checkpoints.Checkpoints(str(folder / "checkpoints"), tracker.say, seconds)
        settings = find_family(family).settings(**SETTINGS_OF[family])
        train.train(
            Cell(family, settings.latent_size),
            settings,
            data,
            folder / "model",
            tracker,
            kept,
        )
        (folder / "logged.json").write_text(json.dumps(tracker.rows))
        status = 0
    finally:
        sys.stdout.flush()
        os._exit(status)


def follow(pid: int, log: Path, calls: int, number: int, delay: float) -> dict[str, Any]:
    """Send an attempt a signal after some calls (if ``number`` is one), and await its end."""
    while number and len(PROGRESS.findall(read(log))) < calls and running(pid):
        time.sleep(0.002)
    time.sleep(delay)
    if number:
        os.kill(pid, number)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    text = read(log)
    begun = GOES_ON.search(text)
    return {
        "signal": number,
        "status": status,
        "goes_on_from": int(begun[1]) if begun else 0,
        # None of an attempt that was ended before it could train.
        "images_seen": int(seen[-1]) if (seen := PROGRESS.findall(text)) else None,
    }


def read(log: Path) -> str:
    return log.read_text() if log.exists() else ""


def running(pid: int) -> bool:
    """Whether a child has not ended yet; it stays to be waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def main(family: str, data: Path, folder: Path, seed: int) -> None:
    """Make ``whole`` and ``ended``."""
    assert len(os.listdir("/proc/self/task")) == 1, "forking is safe with one thread alone"
    draw = random.Random(seed)
    for name in ("whole", "ended"):
        (folder / name).mkdir(parents=True)
    log = folder / "whole" / "0.log"
    whole = start(family, data, folder / "whole", log, None)
    attempts = []
    # The calls that an attempt lives for: with none it ends while it starts.
    plan = [(signal.SIGKILL, draw.randrange(1, 4)) for _ in range(KILLS - 1)]
    plan.insert(draw.randrange(1, KILLS), (signal.SIGKILL, 0))
    for place, (number, calls) in enumerate([*plan, (0, 0)]):
        log = folder / "ended" / f"{place}.log"
        pid = start(family, data, folder / "ended", log, 0.0)
        delay = draw.uniform(0, 0.05 if calls else 1.0) if number else 0.0
        attempts.append(follow(pid, log, calls, number, delay))
    assert os.waitpid(whole, 0)[1] == 0
    (folder / "attempts.json").write_text(json.dumps(attempts))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
