"""Run the compiled pipeline on this machine, through kfp.local.

``run`` lays out the run's folder, starts one worker process that does nothing but
``kfp.local``, and follows what the steps say of themselves (``genpipe.tracking.progress``). The
worker is a process of its own so that kfp's output goes to a file, and so that one signal ends it
with all the steps it started.

    runs/<name>/            what people look at: a folder for each step and cell, the report,
                            the leaderboard, logs/ and wandb/; until it is done, checkpoints/ too
    runs/.kfp/              what kfp.local made, and its cache; run folders hold copies of it, so
                            either may be changed or deleted and leaves the other as it is
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import numpy as np

from genpipe.errors import InputError, StepError, shown
from genpipe.tracking.account import OF_ONE_RUN, find_account
from pipelines.local.cache import STORE, cache_for, folder_of
from pipelines.parameters import Parameters

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
GRACE_SECONDS = 5.0
# What a run was started with beside its parameters, so that `resume` starts it again as it was.
RECORD = "run.json"
CHECKPOINTS = "checkpoints"
# Each takes 0.1 to 0.2 s: about 1% of the time (docs/reliability.md).
SECONDS_BETWEEN_CHECKPOINTS = 15
SECONDS_BETWEEN_LOOKS = 5  # at the memory of all processes, 75 ms each on a busy machine


@dataclass
class StepState:
    """What is known of one step of the run.

    Attributes:
        name: such as ``train-vae-10``.
        status: ``running``, ``done``, ``failed`` or ``cached``.
        seconds: how long it took, in the run that did the work.
        progress: the newest progress event, empty if none came.
        note: the newest line that the step said.
        images: the newest that it showed, (n, height, width, channels) uint8, by what they are.
        error: what went wrong, one line.
        folder: what kfp.local made of its outputs.
    """

    name: str
    status: str = "running"
    seconds: float = 0.0
    progress: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    images: dict[str, np.ndarray] = field(default_factory=dict)
    error: str = ""
    folder: Path | None = None


class LocalRun:
    """One run on this machine.

    Args:
        runs: the folder all runs lie in.
        name: of the run and its folder.
        parameters: of the pipeline.
        image: container image that the steps run in, as ``containers.find_image`` names it; empty
            for processes of this machine.
        caching: whether steps may come from the cache of earlier runs, and go into it.
        goes_on: what W&B knows the run by, if it began already and is to go on (see ``resume``).

    Attributes:
        account: where the steps log on W&B.
        goes_on: whether it began already.

    Raises:
        InputError: the name can't be a folder's, the run exists already, or wandb refuses one of
            its settings.
        StepError: the folder can't be written.
    """

    def __init__(
        self,
        runs: Path,
        name: str,
        parameters: Parameters,
        *,
        image: str = "",
        caching: bool = True,
        goes_on: str = "",
    ) -> None:
        self.name = checked_name(name)
        self.account = find_account()
        self.folder = runs.absolute() / name
        self.parameters = parameters
        self.image = image
        self.goes_on = bool(goes_on)
        # Names come again; what W&B knows a step's run by does not.
        self._record: dict[str, Any] = {
            "id": goes_on or uuid4().hex,
            "image": image,
            "caching": caching,
        }
        # One of its own serves it alone, when it goes on.
        self._cache = cache_for(self.account) if caching else f"outputs/{name}/cache"
        self.steps: dict[str, StepState] = {}
        self.peak_memory, self._looked = 0, 0.0
        self.seconds = 0.0
        self._store = runs.absolute() / STORE
        if goes_on:
            return
        try:
            self.folder.mkdir(parents=True)
            self.logs.mkdir()
        except FileExistsError:
            raise InputError(
                f"run {name!r} already exists in {runs}/: choose another --name, go on with it "
                f"(--resume {name}) or delete it (`genpipe runs remove {name}`)"
            ) from None
        except OSError as error:
            raise StepError(
                f"the run's folder {self.folder} can't be made: {error.strerror}"
            ) from None

    @property
    def logs(self) -> Path:
        """Where kfp's log and each step's own lie."""
        return self.folder / "logs"

    @property
    def finished(self) -> list[StepState]:
        """Steps that ended well, here or in the run that the cache has them from."""
        return [step for step in self.steps.values() if step.status in ("done", "cached")]

    @property
    def failed(self) -> list[StepState]:
        """Steps that failed."""
        return [step for step in self.steps.values() if step.status == "failed"]

    def log_of(self, step: StepState) -> Path:
        """The step's own log, or kfp's if the step died before it could write one."""
        own = self.logs / f"{step.name}.log"
        return own if own.exists() else self.logs / "kfp.log"

    def start(self) -> None:
        """Compile the pipeline and start the worker.

        Raises:
            InputError: the run is being worked on already.
            StepError: the run's folder can't be written; a new one is gone then.
        """
        self._began = time.monotonic()
        self._events = self.logs / "events.jsonl"
        documents = {"arguments.json": self.parameters.to_dict(), RECORD: self._record}
        try:
            with (self.logs / "kfp.log").open("ab") as log:
                self._lock(log)
                self._events.write_text("")
                for name, content in documents.items():
                    (self.folder / name).write_text(json.dumps(content, indent=2) + "\n")
                self._start_worker(log)
        except OSError as error:
            if not self.goes_on:
                shutil.rmtree(self.folder, ignore_errors=True)
            raise StepError(
                f"cannot write {self.folder}: {error.strerror}: check the path and the space left"
            ) from None

    def _start_worker(self, log: BinaryIO) -> None:
        # Libraries leave files there, and a step that is killed can't clear up.
        self._temporary = tempfile.TemporaryDirectory(prefix="genpipe-", ignore_cleanup_errors=True)
        environment = {
            **{name: value for name, value in os.environ.items() if name not in OF_ONE_RUN},
            "GENPIPE_EVENTS": str(self._events),
            "GENPIPE_LOGS": str(self.logs),
            "WANDB_RUN_GROUP": self.name,
            "GENPIPE_RUN": self._record["id"],
            "GENPIPE_CHECKPOINT_SECONDS": os.environ.get(
                "GENPIPE_CHECKPOINT_SECONDS", str(SECONDS_BETWEEN_CHECKPOINTS)
            ),
            **(self.account.variables() if self.image else {}),
            # Of the worker and the steps it starts. The folder that the user stands in may have
            # packages of its own called pipelines or components.
            "PYTHONSAFEPATH": "1",
            "TMPDIR": self._temporary.name,
            "PYTHONUNBUFFERED": "1",
            "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2"),
        }
        worker = [sys.executable, "-m", "pipelines.local.worker"]
        self._worker = subprocess.Popen(
            [*worker, str(self.folder), str(self._store), self.image, self._cache],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )

    def _lock(self, log: BinaryIO) -> None:
        """Take the lock that the worker then holds for as long as it lives."""
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"run {self.name!r} is running") from None
        except OSError:  # of a file system that has no locks
            pass

    def follow(self) -> Iterator[tuple[StepState, str]]:
        """Yield each step as its state changes, with what happened, until the worker ends.

        What happened is ``start``, ``progress``, ``note``, ``say`` (of less weight), ``images``,
        ``end`` or ``cached``.
        """
        with self._events.open(encoding="utf-8") as events:
            pending = ""
            while True:
                ended = self._worker.poll() is not None
                pending += events.read()
                *lines, pending = pending.split("\n")
                for line in lines:
                    yield from self._take(json.loads(line))
                if ended and not lines:
                    break
                self._measure_memory()
                time.sleep(0.2)
        for step in self.steps.values():
            if step.status == "running":
                # It ended without a word: killed, or out of memory.
                step.status, step.error = "failed", "the process ended without saying why"
                yield step, "end"

    def wait(self) -> bool:
        """Wait for the worker's end, after ``follow``; returns whether it ended well."""
        self.seconds = time.monotonic() - self._began
        # kfp takes a container that is gone before it asks for the exit status to have ended well.
        succeeded = self._worker.wait() == 0 and not self.failed
        self._temporary.cleanup()
        if succeeded:
            shutil.rmtree(self.folder / CHECKPOINTS, ignore_errors=True)
        else:
            self._note("failed")
        return succeeded

    def stop(self) -> None:
        """End the worker and all the steps it started; they get a moment to end by themselves."""
        if not hasattr(self, "_worker"):
            return  # it was not started yet
        self._note("interrupted")
        self._end_worker()
        self._temporary.cleanup()

    def _end_worker(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._worker.pid, number)
            except ProcessLookupError:
                return
            deadline = time.monotonic() + GRACE_SECONDS
            while time.monotonic() < deadline:
                self._worker.poll()
                try:
                    os.killpg(self._worker.pid, 0)
                except ProcessLookupError:
                    return
                time.sleep(0.1)

    def send_cached(self) -> str:
        """Send the W&B runs of steps that came from the cache, where they are not on W&B yet.

        Returns:
            Why not, in one line; empty if they are.
        """
        cached = [step.folder for step in self.steps.values() if step.status == "cached"]
        if self.account.mode != "online" or not cached:
            return ""
        from pipelines.runs.wandb_sync import send_unsent

        try:
            send_unsent([folder for folder in cached if folder], self.account)
        except StepError as error:
            return str(error)
        return ""

    def collect(self) -> None:
        """Lay the run's folder out: a folder for each step, the report and the leaderboard.

        Of a run that was stopped, the steps that had ended are laid out.
        """
        for step in self.steps.values():
            if step.status == "running" or step.folder is None or not step.folder.is_dir():
                continue
            place = self.folder / step.name
            shutil.copytree(step.folder, place, dirs_exist_ok=True)
            runs = place / "wandb_run" / "wandb"
            # By step, since W&B's names of folders say nothing.
            own = self.folder / "wandb" / step.name
            for logged in runs.glob("*/"):  # a run, or the files of tables
                shutil.copytree(logged, own / logged.name, dirs_exist_ok=True)
            shutil.rmtree(place / "wandb_run", ignore_errors=True)
        compared = self.folder / "compare"
        for source, name in (
            (compared / "report", "report.html"),
            (self.folder / "publish" / "report", "report.html"),  # the same, with what it decided
            (compared / "leaderboard" / "leaderboard.json", "leaderboard.json"),
            (compared / "leaderboard" / "leaderboard.csv", "leaderboard.csv"),
        ):
            if source.is_file():
                shutil.copy2(source, self.folder / name)
        from genpipe.reporting.report import in_run_folder

        report = self.folder / "report.html"
        if report.is_file():
            report.write_text(in_run_folder(report.read_text("utf-8")), "utf-8")

    def _note(self, how: str) -> None:
        """Write to the run's events how it ended, if not well."""
        with contextlib.suppress(OSError), self._events.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"event": how}) + "\n")

    def _take(self, event: dict[str, Any]) -> Iterator[tuple[StepState, str]]:
        if event["event"] == "cached":
            for entry in (self._store / self._cache).glob(f"{event['key']}*.json"):
                folder = folder_of(json.loads(entry.read_text()))
                record = json.loads((folder / "step.json").read_text()) if folder else None
                if record:
                    state = StepState(record["step"], "cached", record["seconds"], folder=folder)
                    self.steps[state.name] = state
                    yield state, "cached"
            return
        step = self.steps.setdefault(event["step"], StepState(event["step"]))
        if event["event"] == "start":
            step.status, step.folder = "running", Path(event["folder"])
        elif event["event"] == "progress":
            step.progress = event
        elif event["event"] in ("note", "say"):
            step.note = event["text"]
        elif event["event"] == "images":
            step.images = {
                told: np.frombuffer(base64.b64decode(one["pixels"]), np.uint8).reshape(one["shape"])
                for told, one in event["images"].items()
            }
        elif event["event"] == "end":
            step.status, step.seconds = event["status"], event["seconds"]
            step.error = event["error"]
        yield step, event["event"]

    def _measure_memory(self) -> None:
        """Memory of the worker and its steps; of a page that several share, each has a part."""
        if time.monotonic() < self._looked + SECONDS_BETWEEN_LOOKS:
            return
        self._looked = time.monotonic()
        import psutil

        try:
            worker = psutil.Process(self._worker.pid)
            tree = [worker, *worker.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        total = 0
        for process in tree:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                total += process.memory_full_info().pss
        self.peak_memory = max(self.peak_memory, total)


def checked_name(name: str) -> str:
    """A name that a run, its folder and its run on a cluster may have.

    Raises:
        InputError: it can't be one.
    """
    if not NAME.fullmatch(name):
        raise InputError(
            f"run name {shown(name)}: use letters, digits, '.', '_' and '-', at most 63, "
            "and begin with a letter or a digit"
        )
    return name


def new_name() -> str:
    """A name for a run: when it began, and a few letters that no other run has."""
    return f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
