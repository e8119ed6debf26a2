"""Follow a run of a cluster: how many of its steps are done, and what went wrong."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import kfp
import kfp_server_api
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from genpipe.cells import Cell, read_cell
from genpipe.errors import InputError, StepError
from genpipe.tracking.progress import format_seconds
from pipelines.cluster.api import ApiError
from pipelines.cluster.runs import ENDED
from pipelines.cluster.workflow import State, Task, Workflow, read_workflow

POLL_SECONDS = 5.0
OUTAGE_SECONDS = 300.0  # a port-forward restarted, a control plane upgraded
# Of the time that passes: a workflow of many cells is some megabytes.
LARGEST_SHARE = 0.1
LABEL_WIDTH = 22
LONGEST_REASON = 100


class TimedOutError(StepError):
    """The time to wait for a run was over before the run was."""


@dataclass
class Followed:
    """A run that was followed.

    Attributes:
        run: as the API has it.
        workflow: as Argo had it last; None where the API does not hand it out.
    """

    run: kfp_server_api.V2beta1Run
    workflow: Workflow | None


def follow(
    client: kfp.Client, run_id: str, console: Console, timeout: float | None = None
) -> Followed:
    """Show how many of a run's steps are done, until it ends; an outage of minutes is sat out.

    On a terminal that is a table, elsewhere a line for each change.

    Args:
        client: of ``connect``.
        run_id: of the run.
        console: where to.
        timeout: seconds to wait at most; None for as long as it takes.

    Returns:
        The run, ended: its state is one of ``ENDED``.

    Raises:
        TimedOutError: the run goes on after ``timeout``.
        ApiError: the API refused, or was away for more than ``OUTAGE_SECONDS``.
    """
    began = last_answer = time.monotonic()
    away = False
    with _Display(console) as display:
        while True:
            asked = time.monotonic()
            try:
                followed = look(client, run_id)
            except ApiError as error:
                if not error.passing or time.monotonic() - last_answer > OUTAGE_SECONDS:
                    raise
                if not away:
                    display.say(f"{error}; trying again")
                away = True
            else:
                away, last_answer = False, time.monotonic()
                display.update(followed, began)
                if followed.run.state in ENDED:
                    return followed
            left = max(POLL_SECONDS, (time.monotonic() - asked) / LARGEST_SHARE)
            if timeout is not None:
                left = min(left, began + timeout - time.monotonic())
                if left <= 0:
                    raise TimedOutError(f"the run goes on after {timeout:g} seconds")
            time.sleep(left)


def look(client: kfp.Client, run_id: str) -> Followed:
    """A run, and then its workflow, so that of an ended run that is its last state.

    Raises:
        ApiError: the API refused, or did not answer.
    """
    run = client.get_run(run_id)
    return Followed(run, read_workflow(client, run_id, cells_of(run)))


def cells_of(run: kfp_server_api.V2beta1Run) -> Sequence[Cell]:
    """What the loop of a run goes over; empty where that is left to the pipeline's default."""
    given = (run.runtime_config.parameters if run.runtime_config else None) or {}
    try:
        return [read_cell(cell)[0] for cell in given.get("cells") or ()]
    except InputError:  # of a family that is not installed here
        return ()


@dataclass(frozen=True)
class Row:
    """How far a group of steps is.

    Attributes:
        group: such as ``train vae``.
        text: such as ``2 of 3 done, 1 running: 100``.
        style: that a terminal shows it in.
    """

    group: str
    text: str
    style: str


def progress(tasks: Sequence[Task], cells: Sequence[Cell]) -> list[Row]:
    """How far each group of steps is.

    Args:
        tasks: those that have begun, in order.
        cells: what the loop goes over, where that is known.
    """
    families = Counter(cell.family.name for cell in cells)
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        groups.setdefault(task.group, []).append(task)
    return [
        _row(own, max(families[group.rpartition(" ")[2]], len(own)) if own[0].cell else 1)
        for group, own in groups.items()
    ]


def _row(tasks: Sequence[Task], of: int) -> Row:
    """How many of a group are done, and what the others do, with their cells."""
    own = {state: [task for task in tasks if task.state == state] for state in State}
    cached, waiting = len(own[State.CACHED]), own[State.WAITING]
    done = len(own[State.DONE]) + cached
    if tasks[0].cell:
        parts = [f"{done} of {of} done" + (f" ({cached} from the cache)" if cached else "")]
        for state in (State.RUNNING, State.WAITING, State.FAILED, State.LEFT_OUT):
            if own[state]:
                cells = ", ".join(task.cell for task in own[state])
                parts.append(f"{len(own[state])} {state}: {cells}")
    else:
        parts = [str(tasks[0].state)]
    reason = waiting[0].why_waiting if waiting else ""
    if reason:  # why they wait, as Argo says it
        parts.append(reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]}...")
    style = "red" if own[State.FAILED] else "dim" if done == of else ""
    return Row(tasks[0].group, ", ".join(parts), style)


@dataclass
class _Display:
    """A table that changes on a terminal, and lines elsewhere."""

    console: Console
    shown: dict[str, Row] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    live: Live | None = None

    def __enter__(self) -> _Display:
        if self.console.is_terminal:
            self.live = Live(console=self.console, auto_refresh=False)
            self.live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self.live:
            self.live.__exit__(None, None, None)

    def say(self, text: str) -> None:
        """Print a line that stays, once."""
        if text not in self.told:
            self.told.add(text)
            line = f"{time.strftime('%H:%M:%S')}  {text}"
            self.console.print(line, markup=False, soft_wrap=True)

    def update(self, followed: Followed, began: float) -> None:
        """Show what has changed."""
        workflow = followed.workflow
        if workflow is None and followed.run.state == "PENDING":
            return
        if workflow is None or not workflow.readable:
            self.say("this API does not report the steps of a run: see its page, in the link")
            return
        for line in _lost(workflow.tasks):
            self.say(line)
        rows = progress(workflow.tasks, cells_of(followed.run))
        if self.live:
            self.live.update(_table(rows, time.monotonic() - began), refresh=True)
            return
        for row in rows:
            if self.shown.get(row.group) != row:
                self.shown[row.group] = row
                line = f"{time.strftime('%H:%M:%S')}  {row.group:<{LABEL_WIDTH}}{row.text}"
                self.console.print(line, markup=False, soft_wrap=True)


def _lost(tasks: Sequence[Task]) -> Iterator[str]:
    """A line for each attempt that was not the last: a lost pod, or a failure."""
    for task in tasks:
        for number, pod in enumerate(task.pods[:-1], start=1):
            reason = pod.message or pod.phase.lower()
            yield f"{task.name}: attempt {number} ended ({reason}); tried again"


def _table(rows: Sequence[Row], seconds: float) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for row in rows:
        table.add_row(f"  {row.group}", escape(row.text), style=row.style)
    table.add_row("", f"followed for {format_seconds(seconds)}", style="dim")
    return table
