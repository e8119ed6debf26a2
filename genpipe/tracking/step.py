"""A step: its W&B run, what it says of itself, and how it ends."""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from genpipe.cells import Cell
from genpipe.errors import InputError, StepError, expected_message
from genpipe.outputs import leave_plain_files
from genpipe.tracking.account import DEFAULT_PROJECT, Account, find_account
from genpipe.tracking.progress import Progress, format_seconds
from genpipe.tracking.questions import Question
from genpipe.tracking.tracker import Tracker
from genpipe.tracking.wandb import WandbTracker


def step_name(step: str, cell: Cell | None) -> str:
    """What a step of a cell is called: ``train-vae-10``; of none: ``ingest``."""
    return f"{step}-{cell.name}" if cell else step


def run_id(run: str, name: str) -> str | None:
    """The W&B run id of a step: the same when a lost pod is tried again.

    Args:
        run: what no other pipeline run is called; without one, the id is W&B's choice.
        name: of the step and its cell.
    """
    return hashlib.sha256(f"{run}/{name}".encode()).hexdigest()[:16] if run else None


def has_succeeded(step: str) -> bool:
    """Whether W&B knows of a step of this run, one without a cell, that it ended well.

    W&B's answer is waited for as long as an upload; without one, or where the steps do not log
    online, it is False.
    """
    account = find_account()
    known = run_id(os.environ.get("GENPIPE_RUN") or os.environ.get("WANDB_RUN_GROUP", ""), step)
    if account.mode != "online" or not known:
        return False
    path = "/".join(filter(None, (account.entity, account.project or DEFAULT_PROJECT, known)))
    question = Question("state", path, seconds=math.ceil(account.upload_seconds))
    return question.wait()[0] == "finished"


def _open_cell(
    account: Account, group: str, folder: Path, cell: Cell, config: Mapping[str, Any]
) -> Any:
    config = {**cell.identity, **config}
    name = f"cell-{cell.name}"
    return _open_run(account, group, "cell", name, config, folder, reinit="create_new")


def _open_run(
    account: Account,
    group: str,
    step: str,
    name: str,
    config: Mapping[str, Any],
    folder: Path,
    **options: Any,
) -> Any:
    # W&B stages tables for upload here: with the run's files, so that nothing is left behind.
    os.environ.setdefault("WANDB_DATA_DIR", str(folder / "wandb" / "data"))
    import wandb

    return wandb.init(
        project=account.project or DEFAULT_PROJECT,
        entity=account.entity or None,
        mode="disabled" if account.mode == "disabled" else "offline",
        group=group or None,
        job_type=step,
        name=name,
        id=run_id(os.environ.get("GENPIPE_RUN") or group, name),
        resume="allow",
        config=dict(config),
        dir=folder,
        settings=wandb.Settings(
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            disable_job_creation=True,
            save_code=False,
        ),
        **options,
    )


def _send_output_to(path: Path) -> None:
    """Send all that this process and its native libraries print to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())


@contextlib.contextmanager
def open_step(
    step: str,
    *,
    cell: Callable[[], Cell] | None = None,
    config: Mapping[str, Any],
    folder: str | Path,
) -> Iterator[Tracker]:
    """Open the W&B run of one step, and say how the step goes.

    What the surroundings tell a step: W&B's own settings (see ``account``) and
    ``WANDB_RUN_GROUP``, and of a local run ``GENPIPE_RUN`` (what no other run is called, as the
    group is on a cluster), ``GENPIPE_EVENTS`` (file that events are appended to) and
    ``GENPIPE_LOGS`` (folder where the step writes its own log).

    Args:
        step: the step's name, W&B's job type.
        cell: tells the cell that the step works for, if it works for one. A function, so that a
            bad latent size or a torn model folder is told like any other bad input of the step.
        config: the step's inputs, W&B's config; the cell's family and latent size join them.
        folder: where W&B keeps the run's files; it becomes an artifact, and lies in the folder
            that holds all outputs of the step. When the run is closed, only plain files and
            folders are left in there.

    Raises:
        SystemExit: with status 1, after an expected error was printed in one line (see
            ``errors.expected_message``).
    """
    problem: InputError | StepError | None = None
    account, known = Account("disabled"), None
    try:
        account = find_account()
        known = cell() if cell else None
    except InputError as error:
        problem = error
    name = step_name(step, known)
    if known:
        config = {**known.identity, **config}
    folder = Path(folder).absolute()
    events = os.environ.get("GENPIPE_EVENTS", "")
    logs = os.environ.get("GENPIPE_LOGS", "")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if logs:
            _send_output_to(Path(logs) / f"{name}.log")
    except OSError as error:
        problem = StepError(f"the step can't write to {error.filename}: {error.strerror}")
    progress = Progress(name, events)
    began = time.monotonic()
    progress.event("start", folder=str(folder.parent))
    group = os.environ.get("WANDB_RUN_GROUP", "")
    tracker = WandbTracker(
        progress,
        group,
        functools.partial(_open_run, account, group, step, name, config, folder),
        account if account.mode == "online" else None,
        functools.partial(_open_cell, account, group, folder),
    )
    status, error_text = "failed", ""
    try:
        if problem:
            raise problem
        yield tracker
        status = "done"
    except BaseException as error:
        error_text = expected_message(error) or f"{type(error).__name__}: {error}"
        if not expected_message(error):
            raise
        tracker.say(f"error: {error_text}")
        raise SystemExit(1) from None
    finally:
        tracker.close(failed=status != "done")
        leave_plain_files(folder.parent)
        seconds = time.monotonic() - began
        if events and status == "done":
            record = json.dumps({"step": name, "seconds": seconds})
            with contextlib.suppress(OSError):  # without it the run shows less
                (folder.parent / "step.json").write_text(record, encoding="utf-8")
        progress.event("end", status=status, seconds=seconds, error=error_text)
        interrupted = isinstance(sys.exception(), KeyboardInterrupt)
        told = "interrupted" if interrupted else status
        progress.say(f"{name}: {told} after {format_seconds(seconds)}")
        # The process is about to end. Python would first look through all that TensorFlow made for
        # cycles to collect: 0.1 s instead of 0.8 s without that.
        gc.freeze()
