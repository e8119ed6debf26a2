"""The W&B run of a step.

A run is always written to its folder, as W&B's offline runs are, so nothing logged can be lost.
Where W&B is online a process beside the step sends the folder as it grows (``Upload``); the step
waits for W&B at its first row (``SECONDS_TO_ASK`` at most) and at its end. What was not sent by
then is said, once, and `genpipe wandb sync` sends it later. W&B being down never fails a step.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from genpipe.cells import Cell
from genpipe.tracking.account import Account
from genpipe.tracking.progress import Progress
from genpipe.tracking.questions import Question
from genpipe.tracking.tracker import Picture, Tracker
from genpipe.tracking.upload import Upload

# How long the first row waits for W&B to say what it has of an attempt before.
SECONDS_TO_ASK = 5


class WandbTracker(Tracker):
    """A tracker that also logs to a W&B run.

    Args:
        progress: of the step.
        group: the pipeline run's name.
        open_run: opens the W&B run.
        account: that the runs are sent to as they grow; None where nothing is sent.
        open_cell: opens the run of a cell, beside this one.
    """

    def __init__(
        self,
        progress: Progress,
        group: str,
        open_run: Callable[[], Any],
        account: Account | None = None,
        open_cell: Callable[[Cell, Mapping[str, Any]], Any] | None = None,
    ) -> None:
        super().__init__(progress, group)
        self._run: Any = None
        self._sent: SentRows | None = None
        self._account = account
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
            for metric, goal in (best or {}).items():
                self._run.define_metric(metric, step_metric=name, summary=f"{goal},last")

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
        self, cell: Cell, config: Mapping[str, Any], metrics: Mapping[str, float | int | str]
    ) -> None:
        """See ``Tracker.cell``."""

        def log() -> None:
            if self._open_cell:
                run = self._open_cell(cell, config)
                run.summary.update(dict(metrics))
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

    def alert(self, title: str, text: str, *, warns: bool = False) -> None:
        """See ``Tracker.alert``."""
        level = "WARN" if warns else "INFO"
        self._try(lambda: self._run.alert(title=title, text=text, level=level))

    def close(self, *, failed: bool = False) -> None:
        """See ``Tracker.close``."""
        self._try(lambda: self._start_upload(self._cells))
        self._try(lambda: self._run.finish(exit_code=1 if failed else 0))
        self._try(_end_service)
        self._try(self._finish_uploads)

    def _open(self, open_run: Callable[[], Any]) -> None:
        self._run = open_run()
        if self._account:
            self._sent = SentRows(self._account.entity, self._run.project, self._run.id)
        self._start_upload([Path(self._run.dir).parent])

    def _start_upload(self, folders: Sequence[Path]) -> None:
        if folders and self._account:
            place = self._account.place("", self._run.project)
            self._uploads.append(Upload(folders, place, self._account.upload_seconds))

    def _finish_uploads(self) -> None:
        if not self._account:
            return
        deadline = time.monotonic() + self._account.upload_seconds
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
        """Make one call of wandb; the first that fails is reported, none fails the step."""
        try:
            call()
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            self._tell(f"{reason}; the step goes on without it")

    def _tell(self, text: str) -> None:
        if not self._told:
            self._told = True
            self.note(f"W&B: {text}")


class SentRows:
    """How many rows of a run's history W&B has: of a pod that was lost, or 0.

    It is asked beside the step, and has until the first row is logged, and ``SECONDS_TO_ASK``
    more. Without an answer it is taken to have none.

    Args:
        entity: of the run; empty for the account's own.
        project: of the run.
        run: its id.
    """

    def __init__(self, entity: str, project: str, run: str) -> None:
        path = "/".join(filter(None, (entity, project, run)))
        self._question = Question("history_line_count", path, seconds=SECONDS_TO_ASK)

    @functools.cached_property
    def count(self) -> int:
        """The number, which does not change after it was asked for."""
        # Whatever is wrong with W&B, the upload reports it.
        return self._question.wait(SECONDS_TO_ASK)[0] or 0


def _end_service() -> None:
    """Wait until all that was logged is in the run's folder.

    ``finish`` tells W&B's service to write it and does not wait for that; on a busy machine the
    folder was copied when its file was still empty.
    """
    import wandb

    wandb.teardown()


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

    # W&B's server takes letters, digits, "-", "_" and "." in such a name.
    artifact = wandb.Artifact(
        name.replace("@", "-seed-").replace("/", "-"), type=kind, metadata=dict(metadata)
    )
    address = uri if "://" in uri else Path(uri).absolute().as_uri()
    artifact.manifest.add_entry(ArtifactManifestEntry(path=kind, ref=address, digest=address))
    return artifact
