"""Every step's W&B run, and its progress. No other module imports wandb.

``open_step`` is what a component's adapter enters first. It reads W&B's own environment
variables, opens the step's run, and yields a ``Tracker``.

A run is always written to its folder, as W&B's offline runs are, so nothing logged can be lost.
Where W&B is online (there is an API key) a process beside the step sends the folder as it grows;
the step waits for W&B at its first row (``SECONDS_TO_ASK`` at most) and at its end
(``UPLOAD_SECONDS``). What was not sent by then is said, once, and `genpipe wandb sync` sends it
later. W&B being down never fails a step.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import gc
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.cells import Cell
from components.errors import InputError, StepError, shown, told
from components.outputs import leave_plain_files
from components.progress import Progress, format_seconds

DEFAULT_PROJECT = "genpipe"
# How long a step that is done waits for W&B to take what was logged. WANDB_FINISH_TIMEOUT, W&B's
# own variable for that, sets another limit.
UPLOAD_SECONDS = 20.0
LONGEST_UPLOAD = 86_400.0
# How long its first row waits for W&B to say what it has of an attempt before.
SECONDS_TO_ASK = 5.0
# What WANDB_MODE may say, and what it means; W&B still knows the old names.
MODES = {
    **{mode: mode for mode in ("online", "offline", "disabled")},
    "run": "online",
    "dryrun": "offline",
}
# How the file ends that wandb puts beside a run's log when it has sent all of it.
SENT = ".wandb.synced"


@dataclass(frozen=True)
class Picture:
    """A picture to log: (height, width) or (height, width, 3) uint8, and its caption."""

    pixels: np.ndarray
    caption: str = ""


class Tracker:
    """What a step's function reports to. This one shows progress and logs nowhere.

    Notebooks and tests use it as it is; ``open_step`` yields one that logs to W&B.

    Attributes:
        group: the pipeline run's name, as W&B groups the runs of its steps.
    """

    def __init__(self, progress: Progress | None = None, group: str = "") -> None:
        self._progress = progress or Progress("step")
        self.group = group

    def say(self, text: str) -> None:
        """Print one line that a person should read."""
        self._progress.say(text)

    def note(self, text: str) -> None:
        """Print one line that whoever follows the whole run should read too."""
        self._progress.say(text)
        self._progress.event("note", text=text)

    def progress(self, done: float, total: float, **facts: float) -> None:
        """Show how far the step is (see ``Progress.update``)."""
        self._progress.update(done, total, **facts)

    def restart_clock(self, done: float = 0.0) -> None:
        """Count the rate that ``progress`` shows from now, where so much is done already."""
        self._progress.restart_clock(done)

    def axis(self, name: str, best: Mapping[str, str] | None = None) -> None:
        """Draw the history over one of its figures, and keep the best value of others.

        Called before the history begins.

        Args:
            name: the figure along x: ``epoch`` or ``step``.
            best: ``min`` or ``max``, of each figure whose best value the summary keeps beside the
                last one: ``validation_loss.min`` and ``validation_loss.last``.
        """

    def log(self, values: Mapping[str, float | Picture]) -> None:
        """Log one point of the history: numbers and pictures under documented keys."""

    def summarize(self, values: Mapping[str, float | int | str | None]) -> None:
        """Set figures of the run's summary."""

    def table(self, key: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Log a table; a ``Picture`` may stand in any place of a row."""

    def scatter(
        self, key: str, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> None:
        """Log a scatter plot of a table whose first two columns are x and y."""

    def page(self, key: str, html: str) -> None:
        """Log a self-contained HTML page."""

    def cell(
        self, cell: Cell, config: Mapping[str, Any], figures: Mapping[str, float | int | str]
    ) -> None:
        """Log a run of its own that holds all figures of a cell in its summary.

        Its job type is ``cell``. W&B draws parallel coordinates and scatter plots over runs, so
        this is what such a chart of the cells reads.
        """

    def uses(self, kind: str, name: str, uri: str) -> None:
        """Record that the run read an artifact (lineage): its kind, name and address."""

    def makes(
        self, kind: str, name: str, uri: str, metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Record that the run made an artifact (lineage): its kind, name, address and facts."""

    def close(self, *, failed: bool = False) -> None:
        """End the run; nothing is logged after it."""


class WandbTracker(Tracker):
    """A tracker that also logs to a W&B run.

    Args:
        progress: of the step.
        group: the pipeline run's name.
        open_run: opens the W&B run.
        upload_seconds: that ``close`` may wait for what was logged to be uploaded; None where
            nothing is.
        open_cell: opens the run of a cell, beside this one.
    """

    def __init__(
        self,
        progress: Progress,
        group: str,
        open_run: Callable[[], Any],
        upload_seconds: float | None = None,
        open_cell: Callable[[Cell, Mapping[str, Any]], Any] | None = None,
    ) -> None:
        super().__init__(progress, group)
        self._run: Any = None
        self._sent: SentRows | None = None
        self._upload_seconds = upload_seconds
        self._uploads: list[Upload] = []
        self._open_cell = open_cell
        self._cells: list[Path] = []
        self._told = False
        self._rows = 0
        self._try(lambda: self._open(open_run))

    def axis(self, name: str, best: Mapping[str, str] | None = None) -> None:
        """See ``Tracker.axis``."""

        def define() -> None:
            self._run.define_metric(name, hidden=True)
            self._run.define_metric("*", step_metric=name)
            for figure, goal in (best or {}).items():
                self._run.define_metric(figure, step_metric=name, summary=f"{goal},last")

        self._try(define)

    def log(self, values: Mapping[str, float | Picture]) -> None:
        """See ``Tracker.log``."""
        self._log(lambda: {key: _as_wandb(value) for key, value in values.items()})

    def summarize(self, values: Mapping[str, float | int | str | None]) -> None:
        """See ``Tracker.summarize``."""
        self._try(lambda: self._run.summary.update(dict(values)))

    def table(self, key: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """See ``Tracker.table``."""
        self._log(lambda: {key: _table(columns, rows)})

    def scatter(
        self, key: str, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> None:
        """See ``Tracker.scatter``."""
        self._log(lambda: {key: _scatter(title, columns, rows)})

    def cell(
        self, cell: Cell, config: Mapping[str, Any], figures: Mapping[str, float | int | str]
    ) -> None:
        """See ``Tracker.cell``."""

        def log() -> None:
            if self._open_cell:
                run = self._open_cell(cell, config)
                run.summary.update(dict(figures))
                run.finish()
                self._cells.append(Path(run.dir).parent)

        self._try(log)

    def page(self, key: str, html: str) -> None:
        """See ``Tracker.page``."""
        self._log(lambda: {key: _page(html)})

    def uses(self, kind: str, name: str, uri: str) -> None:
        """See ``Tracker.uses``."""
        self._try(lambda: self._use(_reference(kind, name, uri, {})))

    def makes(
        self, kind: str, name: str, uri: str, metadata: Mapping[str, Any] | None = None
    ) -> None:
        """See ``Tracker.makes``."""
        self._try(lambda: self._run.log_artifact(_reference(kind, name, uri, metadata or {})))

    def close(self, *, failed: bool = False) -> None:
        """See ``Tracker.close``."""
        self._try(lambda: self._start_upload(self._cells))
        self._try(lambda: self._run.finish(exit_code=1 if failed else 0))
        self._try(self._finish_uploads)

    def _open(self, open_run: Callable[[], Any]) -> None:
        self._run = open_run()
        if self._upload_seconds is not None:
            self._sent = SentRows(self._run.project, self._run.id)
        self._start_upload([Path(self._run.dir).parent])

    def _start_upload(self, folders: Sequence[Path]) -> None:
        if folders and self._upload_seconds is not None:
            self._uploads.append(Upload(folders, self._upload_seconds))

    def _finish_uploads(self) -> None:
        deadline = time.monotonic() + (self._upload_seconds or 0.0)
        # All are ended, whichever of them failed.
        reasons = [upload.finish(deadline) for upload in self._uploads]
        if any(reasons):
            reason = next(filter(None, reasons))
            self._tell(f"{reason}; all that was logged is kept: `genpipe wandb sync` sends it")

    def _log(self, values: Callable[[], dict[str, Any]]) -> None:
        """Log one row of the history, of a number that is its place among all that are logged.

        A step that is tried again logs the rows of its first attempt again; those that W&B has are
        left out, so that its history has neither a gap nor a repeat.
        """
        place = self._rows
        self._rows += 1
        if self._sent is None or place >= self._sent.count:
            self._try(lambda: self._run.log(values(), step=place, commit=True))

    def _use(self, artifact: Any) -> None:
        if not self._run.offline:  # disabled
            self._run.use_artifact(artifact)
        else:
            # use_artifact refuses offline; this is what it calls for an artifact that is not on
            # the server yet, and what an upload makes into lineage.
            self._run._log_artifact(artifact, use_after_commit=True)

    def _try(self, call: Callable[[], Any]) -> None:
        """Make one call of wandb; the first that fails is told, none fails the step."""
        try:
            call()
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            self._tell(f"{reason}; the step goes on without it")

    def _tell(self, text: str) -> None:
        if not self._told:
            self._told = True
            self.say(f"W&B: {text}")


class SentRows:
    """How many rows of a run's history W&B has: of a pod that was lost, or 0.

    It is asked beside the step, and has until the first row is logged, and ``SECONDS_TO_ASK``
    more. Without an answer it is taken to have none.

    Args:
        project: of the run.
        run: its id.
    """

    def __init__(self, project: str, run: str) -> None:
        self._found = 0
        self._asking = threading.Thread(target=self._ask, args=[project, run], daemon=True)
        self._asking.start()

    @functools.cached_property
    def count(self) -> int:
        """The number, which does not change after it was asked for."""
        self._asking.join(SECONDS_TO_ASK)
        return self._found

    def _ask(self, project: str, run: str) -> None:
        # The question that wandb's own service asks before it resumes a run.
        query = """query RunResumeStatus($project: String, $entity: String, $name: String!) {
            model(name: $project, entityName: $entity) {
                bucket(name: $name, missingOk: true) { historyLineCount }
            }
        }"""
        asked = {"project": project, "entity": os.environ.get("WANDB_ENTITY"), "name": run}
        key = base64.b64encode(f"api:{os.environ.get('WANDB_API_KEY', '')}".encode()).decode()
        request = urllib.request.Request(
            wandb_host().rstrip("/") + "/graphql",
            json.dumps({"query": query, "variables": asked}).encode(),
            {"Content-Type": "application/json", "Authorization": f"Basic {key}"},
        )
        # Whatever is wrong with W&B, the upload tells.
        with (
            contextlib.suppress(Exception),
            urllib.request.urlopen(request, timeout=SECONDS_TO_ASK) as answer,
        ):
            self._found = int(json.load(answer)["data"]["model"]["bucket"]["historyLineCount"])


class Upload:
    """A process that sends runs' folders to W&B as they grow, by ``wandb beta sync --live``.

    It ends with the process that started it, however that ends: its standard input is a pipe, which
    closes then. What it says is in the first run's ``logs/upload.log``.

    Args:
        folders: of the runs, which may be open.
        seconds: that the step waits for the rest, all in all.
    """

    def __init__(self, folders: Sequence[Path], seconds: float) -> None:
        self._folders = list(folders)
        self._seconds = seconds
        self._log = folders[0] / "logs" / "upload.log"
        temporary = str(folders[0] / "tmp")
        # It has a W&B service of its own, so that nobody minds when it is ended.
        environment = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "components.tracking", *map(str, folders)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**environment, "WANDB_MODE": "online", "WANDB_DIR": temporary},
            )

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
        log = self._log.read_text(encoding="utf-8", errors="replace")
        errors = [
            line.partition("ERROR")[2].strip() for line in log.splitlines() if "ERROR" in line
        ]
        sent = [list(folder.glob(f"*{SENT}")) for folder in self._folders]
        if all(sent) and not errors:
            return ""
        for marks in sent:  # wandb puts them there after a fatal error too
            for mark in marks:
                mark.unlink()
        return errors[-1] if errors else f"not all was sent in {self._seconds:.0f} s"


def _send(folders: Sequence[str]) -> None:
    """The process of an ``Upload``."""

    def end_with_parent() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    from wandb.cli.cli import cli

    cli(["beta", "sync", "--live", *folders])


def _as_wandb(value: Any) -> Any:
    if not isinstance(value, Picture):
        return value
    import wandb

    return wandb.Image(value.pixels, caption=value.caption or None)


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Any:
    import wandb

    data = [[_as_wandb(value) for value in row] for row in rows]
    return wandb.Table(columns=list(columns), data=data)


def _scatter(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Any:
    import wandb

    return wandb.plot.scatter(_table(columns, rows), columns[0], columns[1], title)


def _page(html: str) -> Any:
    import wandb

    return wandb.Html(html, inject=False)


def _reference(kind: str, name: str, uri: str, metadata: Mapping[str, Any]) -> Any:
    """An artifact of W&B that points at the pipeline's own: lineage without a second copy.

    Its digest is its address, so that the run that makes it and the runs that use it meet.
    ``Artifact.add_reference`` would open the address, with a client for each kind of storage.
    """
    import wandb
    from wandb.sdk.artifacts.artifact_manifest_entry import ArtifactManifestEntry

    artifact = wandb.Artifact(name, type=kind, metadata=dict(metadata))
    address = uri if "://" in uri else Path(uri).absolute().as_uri()
    artifact.manifest.add_entry(ArtifactManifestEntry(path=kind, ref=address, digest=address))
    return artifact


def step_name(step: str, cell: Cell | None) -> str:
    """What a step of a cell is called: ``train_vae-10``, ``evaluate-vae-10``, ``ingest``."""
    if cell is None:
        return step
    return f"{step}-{cell.latent_size if cell.family.value in step else cell.name}"


def run_id(group: str, name: str) -> str | None:
    """The W&B run id of a step in a pipeline run: the same when a lost pod is tried again."""
    return hashlib.sha256(f"{group}/{name}".encode()).hexdigest()[:16] if group else None


def wandb_host() -> str:
    """Where W&B is: what its own variable says, else the installed client's default."""
    import wandb

    return os.environ.get("WANDB_BASE_URL") or str(wandb.Settings().base_url)


def _mode() -> str:
    """W&B's mode: what its own variable says, else online where there is a key.

    Where W&B's sweep agent runs the step there is one, if only in the agent's own files.

    Raises:
        InputError: ``WANDB_MODE`` is no mode.
    """
    key = os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_SWEEP_ID")
    asked = os.environ.get("WANDB_MODE") or ("online" if key else "offline")
    if asked not in MODES:
        raise InputError(f"WANDB_MODE is {shown(asked)}: choose online, offline or disabled")
    return MODES[asked]


def _upload_seconds(mode: str) -> float | None:
    """How long a step waits for its upload; None where nothing is uploaded.

    Raises:
        InputError: ``WANDB_FINISH_TIMEOUT`` is not a number of seconds.
    """
    if mode != "online":
        return None
    given = os.environ.get("WANDB_FINISH_TIMEOUT") or str(UPLOAD_SECONDS)
    with contextlib.suppress(ValueError):
        if 0 <= (seconds := float(given)) <= LONGEST_UPLOAD:
            return seconds
    raise InputError(f"WANDB_FINISH_TIMEOUT is {shown(given)}: give seconds, as 20")


def _open_cell(mode: str, group: str, folder: Path, cell: Cell, config: Mapping[str, Any]) -> Any:
    config = {"family": cell.family.value, "latent_size": cell.latent_size, **config}
    name = f"cell-{cell.name}"
    return _open_run(mode, group, "cell", name, config, folder, reinit="create_new")


def _open_run(
    mode: str,
    group: str,
    step: str,
    name: str,
    config: Mapping[str, Any],
    folder: Path,
    **options: Any,
) -> Any:
    # W&B stages tables for upload here: with the run's files, so that nothing is left behind.
    os.environ.setdefault("WANDB_DATA_DIR", str(folder / "data"))
    import wandb

    return wandb.init(
        project=os.environ.get("WANDB_PROJECT") or DEFAULT_PROJECT,
        mode="disabled" if mode == "disabled" else "offline",
        group=group or None,
        job_type=step,
        name=name,
        id=run_id(group, name),
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

    What the surroundings tell a step comes from environment variables, all optional: W&B's own
    (``WANDB_API_KEY``, ``WANDB_BASE_URL``, ``WANDB_PROJECT``, ``WANDB_ENTITY``, ``WANDB_MODE``,
    ``WANDB_RUN_GROUP``), and of a local run ``GENPIPE_EVENTS`` (file that events are appended to)
    and ``GENPIPE_LOGS`` (folder where the step writes its own log).

    Args:
        step: the step's name, W&B's job type.
        cell: tells the cell that the step works for, if it works for one. A function, so that a
            bad latent size or a torn model folder is told like any other bad input of the step.
        config: the step's inputs, W&B's config; the cell's family and latent size join them.
        folder: where W&B keeps the run's files; it becomes an artifact, and lies in the folder
            that holds all outputs of the step. When the run is closed, only plain files and
            folders are left in there.

    Raises:
        SystemExit: with status 1, after an expected error (see ``errors.told``) was told in one
            line.
    """
    problem: InputError | StepError | None = None
    mode, known, upload_seconds = "disabled", None, None
    try:
        asked = _mode()
        upload_seconds = _upload_seconds(asked)
        mode = asked
        known = cell() if cell else None
    except InputError as error:
        problem = error
    name = step_name(step, known)
    if known:
        config = {"family": known.family.value, "latent_size": known.latent_size, **config}
    folder = Path(folder).absolute()
    events = os.environ.get("GENPIPE_EVENTS", "")
    logs = os.environ.get("GENPIPE_LOGS", "")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if logs:
            _send_output_to(Path(logs) / f"{name}.log")
    except OSError as error:
        problem = StepError(f"{error}: the step can't write where it is to")
    progress = Progress(name, events)
    began = time.monotonic()
    progress.event("start", folder=str(folder.parent))
    group = os.environ.get("WANDB_RUN_GROUP", "")
    open_run = functools.partial(_open_run, mode, group, step, name, config, folder)
    open_cell = functools.partial(_open_cell, mode, group, folder)
    tracker = WandbTracker(progress, group, open_run, upload_seconds, open_cell)
    status, error_text = "failed", ""
    try:
        if problem:
            raise problem
        yield tracker
        status = "done"
    except BaseException as error:
        error_text = told(error) or f"{type(error).__name__}: {error}"
        if not told(error):
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
        progress.say(f"{name}: {status} after {format_seconds(seconds)}")
        # The process is about to end. Python would first look through all that TensorFlow made for
        # cycles to collect: 0.1 s instead of 0.8 s without that.
        gc.freeze()


if __name__ == "__main__":
    _send(sys.argv[1:])
