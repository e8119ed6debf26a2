"""What a run's steps made: list it, pull it, and open its report.

A run is an address: a folder as ``pipelines.local.run`` lays it out
(``<step>-<cell>/<artifact>``), or a prefix in a bucket as Kubeflow Pipelines does. There an
artifact lies under ``<task>/<uuid of the execution>/<artifact>``; older backends left the uuid out.
Neither names the cell of a task in a loop, so it is read from what the step wrote.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from genpipe import storage
from genpipe.cells import Cell, Status
from genpipe.documents import parse_document
from genpipe.errors import InputError
from genpipe.tracking.progress import format_seconds
from genpipe.tracking.step import step_name
from genpipe.words import counted
from pipelines.runs.listing import what_is_unfinished
from pipelines.settings import OPTIONAL, STEPS

EXECUTION = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Beside the steps' folders in a local run, and beside the artifacts in a step's.
NOT_STEPS = ("checkpoints", "logs", "wandb")
NOT_ARTIFACTS = ("executor_output.json", "step.json")
# The files that name a cell; a larger one is not ours, and not worth reading for a listing.
METADATA = ("model/model.json", "evaluation/metrics.json", "samples/metrics.json")
METRICS = "metrics"
LARGEST_CARD = 2**20
SECONDS_BETWEEN_LINES = 10.0


@dataclass(frozen=True)
class Step:
    """What one step made for one cell, or for the whole run.

    Attributes:
        name: such as ``train-vae-10``; no two steps of a run share it.
        kind: the pipeline's name of the step, such as ``train``.
        cell: that it worked for, if it did for one.
        status: how the cell ended, where the step says so.
        artifacts: the files of each, by the artifact's name and then by the name in it, which is
            empty where the artifact is a single file.
        metrics: the step's scalars.
    """

    name: str
    kind: str
    cell: Cell | None = None
    status: str = ""
    artifacts: Mapping[str, Mapping[str, storage.File]] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)

    def files(self) -> dict[str, storage.File]:
        """All files, by the name below the run that a local run gives them."""
        return {
            storage.join(self.name, artifact, inner): file
            for artifact, files in self.artifacts.items()
            for inner, file in files.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """The step as `genpipe artifacts list --output json` prints it (docs/scripting.md)."""
        return {
            "name": self.name,
            "step": self.kind,
            "cell": self.cell.name if self.cell else None,
            "status": self.status or None,
            "metrics": dict(self.metrics),
            "artifacts": [
                {"name": name, "files": len(files), "bytes": size_of(files.values())}
                for name, files in self.artifacts.items()
            ],
        }


def size_of(files: Iterable[storage.File]) -> int:
    """Bytes of all files."""
    return sum(file.size for file in files)


def read_run(uri: str) -> list[Step]:
    """All steps of a run that left something, in the order of the pipeline.

    Raises:
        InputError: there are no steps of a run at the address.
        StepError: it can't be read.
    """
    found: dict[tuple[str, str], dict[str, dict[str, storage.File]]] = {}
    # Whatever else the folder of no run holds is not looked through.
    if not storage.is_remote(uri) and not any(
        _kind(at.name) in STEPS for at in Path(uri).iterdir()
    ):
        raise _no_steps(uri)
    for file in storage.scan(uri):
        task, _, rest = file.name.partition("/")
        execution, _, below = rest.partition("/")
        if not EXECUTION.fullmatch(execution):
            execution, below = "", rest
        artifact, _, inner = below.partition("/")
        unfinished = file.name.endswith(".partial")
        if not artifact or unfinished or task in NOT_STEPS or artifact in NOT_ARTIFACTS:
            continue
        found.setdefault((task, execution), {}).setdefault(artifact, {})[inner] = file
    if not any(_kind(task) in STEPS for task, _ in found):
        raise _no_steps(uri)

    contents = _read_metadata(uri, found.values())
    steps = [_read_step(uri, task, files, contents) for (task, _), files in found.items()]
    taken = Counter(step.name for step in steps)
    for number, (_, execution) in enumerate(found):
        step = steps[number]
        if execution and taken[step.name] > 1:
            # Of a loop whose steps died before they wrote their cell, or of one that ran again.
            steps[number] = replace(step, name=f"{step.name}.{execution[:8]}")
    return sorted(steps, key=_place)


def choose(steps: Sequence[Step], names: Sequence[str]) -> list[Step]:
    """The steps asked for: by name, by kind (``evaluate``) or by cell (``vae-10``); all for none.

    Raises:
        InputError: a name fits no step.
    """

    def names_of(step: Step) -> set[str]:
        return {step.name, step.kind} | ({step.cell.name} if step.cell else set())

    for name in names:
        if not any(name in names_of(step) for step in steps):
            known = ", ".join(step.name for step in steps)
            raise InputError(f"no step {name!r} in this run: choose from {known}")
    return [step for step in steps if not names or names_of(step) & set(names)]


def show_run(uri: str, steps: Sequence[Step]) -> None:
    """Print a tree of steps, cells and artifacts, with sizes and the steps' metrics."""
    from rich.filesize import decimal
    from rich.markup import escape
    from rich.tree import Tree

    from genpipe.metrics.registry import METRICS, format_metric
    from pipelines.console.terminal import link, open_console

    def shown(name: str, value: float) -> str:
        # KFP's metrics are floats, counts too.
        is_count = name not in METRICS and float(value).is_integer()
        return f"{value:,.0f}" if is_count else format_metric(name, value)

    console = open_console()
    total = size_of(file for step in steps for file in step.files().values())
    place = escape(uri) if storage.is_remote(uri) else link(Path(uri))
    tree = Tree(f"[bold]{place}[/bold]  {decimal(total)}")
    branches: dict[str, Tree] = {}
    for step in steps:
        if step.kind not in branches:
            branches[step.kind] = tree.add(f"[bold]{escape(step.kind)}[/bold]")
        branch = branches[step.kind]
        facts = "  ".join(f"{name} {shown(name, value)}" for name, value in step.metrics.items())
        if step.status not in ("", Status.COMPLETE):
            facts = f"{step.status}  {facts}"
        facts = f"[dim]{escape(facts)}[/dim]"
        if step.name != step.kind:
            cell = step.cell.name if step.cell else step.name
            branch = branch.add(f"{escape(cell)}  {facts}")
        elif step.metrics:
            branch.label = f"{branch.label}  {facts}"
        for artifact, files in step.artifacts.items():
            count = "" if "" in files else f", {counted(len(files), 'file')}"
            size = decimal(size_of(files.values()))
            branch.add(f"[cyan]{escape(artifact)}[/cyan]  {size}{count}")
    console.print(tree)
    there = {step.kind for step in steps}
    missing = [kind for kind in STEPS if kind not in {*there, *OPTIONAL}]
    if missing and storage.is_remote(uri):
        console.print(
            f"no artifacts of {', '.join(missing)}: not run, not ended yet, or taken from the "
            "cache (those lie under the run that made them)",
            soft_wrap=True,
        )


def pull(uri: str, steps: Sequence[Step], output: Path) -> int:
    """Copy what steps made to ``<output>/<step>-<cell>/<artifact>``, as a local run lays it out.

    Files that are there whole already are left as they are.

    Returns:
        How many files there are.

    Raises:
        StepError: a file can't be read or written (see ``storage.pull``).
    """
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    from pipelines.console.terminal import open_console

    files = {name: file for step in steps for name, file in step.files().items()}
    total = size_of(files.values())
    console = open_console()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task("pull", total=total)
    last_line = time.monotonic()

    def done(file: storage.File) -> None:
        nonlocal last_line
        bar.advance(task, file.size)
        if not console.is_terminal and time.monotonic() - last_line >= SECONDS_BETWEEN_LINES:
            last_line = time.monotonic()
            shown = bar.tasks[task]
            console.print(
                f"pull  {shown.percentage:.0f}%  {(shown.speed or 0) / 1e6:.1f} MB/s  "
                f"{format_seconds(shown.time_remaining)} left"
            )

    with bar:
        storage.pull(uri, output, files, done)
    return len(files)


def fetch_report(uri: str) -> Path:
    """The report of a run as a file that a browser opens; a temporary one unless it has its name.

    Raises:
        InputError: the run has no report.
        StepError: it can't be read.
    """
    if not storage.is_remote(uri) and (Path(uri) / "report.html").is_file():
        return (Path(uri) / "report.html").absolute()
    for step in reversed(read_run(uri)):
        report = step.artifacts.get("report", {}).get("")
        if report:
            folder = page_folder(uri)
            storage.pull(uri, folder, {"report.html": report})
            return folder / "report.html"
    raise InputError(f"no report at {uri}: did the run's compare step end?")


def _no_steps(uri: str) -> InputError:
    """What to say of an address without steps of a run."""
    if storage.is_remote(uri):
        return InputError(f"no steps of a run at {uri}: check the name or the address")
    if not Path(uri, "arguments.json").is_file():
        return InputError(f"{uri} is not a run's folder: it has no finished steps of a run")
    told = what_is_unfinished(Path(uri)) or "name another run (`genpipe runs` lists them)"
    return InputError(
        f"run {Path(uri).absolute().name} has nothing to show yet: its logs are in "
        f"{Path(uri, 'logs')}; {told}"
    )


def page_folder(*uris: str) -> Path:
    """Where a page on runs is kept for the browser, in place of the last one on them."""
    name = hashlib.sha256("\n".join(uris).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return storage.cache_folder("pages") / name


def _kind(task: str) -> str:
    """The step of a task (``evaluate-2``) or of a local folder (``train-vae-10``)."""
    kind = re.split(r"[-_.]", task, maxsplit=1)[0]
    return kind if kind in STEPS else task


def _read_step(
    uri: str,
    task: str,
    artifacts: Mapping[str, Mapping[str, storage.File]],
    contents: Mapping[str, dict[str, Any]],
) -> Step:
    """A step with what its own files say of it."""
    kind = _kind(task)
    documents = [contents[file.name] for file in _metadata_files(artifacts, METADATA)]
    metadata: dict[str, Any] = next(filter(None, documents), {})
    try:
        cell = Cell.parse(metadata)
    except (KeyError, InputError):  # not of a cell, as the judge
        cell = None
    metrics = next((contents[file.name] for file in _metadata_files(artifacts, [METRICS])), {})
    # A local folder has the step's name; a task's number says nothing once the cell is known.
    known = storage.is_remote(uri) and kind in STEPS
    return Step(
        name=step_name(kind, cell) if known else task,
        kind=kind,
        cell=cell,
        status=str(metadata.get("status", "")),
        artifacts=artifacts,
        metrics={
            name: value
            for name, value in metrics.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool)
        },
    )


def _metadata_files(
    artifacts: Mapping[str, Mapping[str, storage.File]], names: Iterable[str]
) -> list[storage.File]:
    """The files of a step by these names that are small enough to be read."""
    places = (name.partition("/") for name in names)
    files = (artifacts.get(artifact, {}).get(inner) for artifact, _, inner in places)
    return [file for file in files if file and file.size <= LARGEST_CARD]


def _read_metadata(
    uri: str, steps: Iterable[Mapping[str, Mapping[str, storage.File]]]
) -> dict[str, dict[str, Any]]:
    """The steps' small JSON documents, by the files' names; empty where one is not an object."""
    names = [
        file.name
        for artifacts in steps
        for file in _metadata_files(artifacts, [*METADATA, METRICS])
    ]
    return {name: _parse(content) for name, content in storage.read_files(uri, names).items()}


def _parse(content: bytes) -> dict[str, Any]:
    try:
        return parse_document(content)
    except ValueError:
        return {}


def _place(step: Step) -> tuple[int, str, bool, Any, str]:
    """Where a step stands in a listing: as in the pipeline, then by cell."""
    order = list(STEPS)
    place = order.index(step.kind) if step.kind in order else len(order)
    return place, step.kind, step.cell is not None, step.cell, step.name
