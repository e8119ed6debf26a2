"""The Argo workflow behind a run: what each of its steps is doing, and why one failed.

The API's own task states are not enough. They do not say a task's place in the tree, and stop as
soon as Argo compresses the states of a workflow's nodes, above 1 MB: nine cells reach that. The
workflow itself has both, and the API hands it out as what its version v1beta1 calls a run's
manifest (seen on KFP 2.17, compressed nodes included).
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import kfp

from genpipe.cells import Cell
from genpipe.tracking.step import step_name
from genpipe.words import one_line
from pipelines.cluster.api import ApiError, get_json
from pipelines.settings import STEPS

STEP = re.compile("|".join(STEPS))  # a DAG task's key
ATTEMPT = re.compile(r"\((\d+)\)$")  # ingest(0).executor(1): Argo numbers the attempts at a node
ITERATION = re.compile(r"\((\d+):")  # iteration-iterations(0:0)
DRIVER, EXECUTOR = "-driver", "executor"
BROKEN = ("Failed", "Error")
SECONDS_TO_BEGIN = 5.0

Path = tuple[str, ...]


class State(StrEnum):
    """What a step is doing."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    CACHED = "from the cache"
    FAILED = "failed"
    LEFT_OUT = "left out"


@dataclass(frozen=True)
class Pod:
    """One pod of a run.

    Attributes:
        name: in Kubernetes.
        phase: of its node: ``Pending``, ``Running``, ``Succeeded``, ``Failed`` or ``Error``.
        message: what Argo says of it, in one line.
    """

    name: str
    phase: str
    message: str


@dataclass(frozen=True)
class Task:
    """A step of a run, of one cell where it has cells.

    Attributes:
        name: such as ``train-vae-10``; of a loop whose cells are not known ``train-#0``.
        group: the steps that are counted together: ``train vae``, ``ingest``.
        cell: what it is called within the group: ``10``; empty where there is but one.
        state: what it is doing.
        pods: of its attempts, oldest first.
        drivers: the same for KFP's driver before it.
    """

    name: str
    group: str
    cell: str
    state: State
    pods: tuple[Pod, ...]
    drivers: tuple[Pod, ...]

    @property
    def why_waiting(self) -> str:
        """What Argo says of a pod that does not run yet."""
        newest = [*self.drivers[-1:], *self.pods[-1:]][-1:]
        return next((pod.message for pod in newest if pod.phase == "Pending"), "")


@dataclass(frozen=True)
class Failure:
    """What failed for good: a step, or another part of the run.

    Attributes:
        name: of the step, or of KFP's part (``driver of train-vae-10``).
        step: the step whose log says more; empty for a part that is not a step.
        reason: what KFP or Argo gives, in one line.
        pod: the newest one.
    """

    name: str
    step: str
    reason: str
    pod: Pod


@dataclass(frozen=True)
class Workflow:
    """A run as Argo sees it.

    Attributes:
        namespace: that its pods are in.
        phase: of the whole; empty before Argo has looked at it.
        message: what Argo says of the whole.
        tasks: the steps that have begun, in the order of the pipeline.
        failures: what failed for good.
        retry_strategy: the default of nodes without their own; None where there is none.
        readable: whether it holds its nodes. Argo may keep those of a large one in a database.
    """

    namespace: str
    phase: str
    message: str
    tasks: tuple[Task, ...]
    failures: tuple[Failure, ...]
    retry_strategy: Mapping[str, Any] | None
    readable: bool

    @property
    def retry_warning(self) -> str:
        """What `retries` of an environment do not do here, in a sentence; empty if they do all.

        A task of KFP has a limit for Argo and no policy, which this strategy adds.
        """
        strategy = self.retry_strategy or {}
        policy, limit = strategy.get("retryPolicy", "OnFailure"), strategy.get("limit")
        if policy != "Always":
            lost = policy in ("OnError", "OnTransientError")
            what = "fails or runs out of memory" if lost else "loses its pod"
            return f"a step that {what} is not tried again"
        if limit is None:
            return "a step that fails is tried again for ever"
        whole = "a step that fails is tried again with all that it is part of"
        return "" if str(limit) == "0" else whole


def read_workflow(client: kfp.Client, run_id: str, cells: Sequence[Cell] = ()) -> Workflow | None:
    """Read the workflow of a run; None before there is one, or if the API does not hand it out.

    Args:
        client: of ``connect``.
        run_id: of the run.
        cells: that its loop goes over.

    Raises:
        ApiError: the API refused, or did not answer.
    """
    try:
        answer = get_json(client, f"/apis/v1beta1/runs/{run_id}")
    except ApiError as error:
        if error.status in (404, 501):  # a server without version v1beta1
            return None
        raise
    manifest = (answer.get("pipeline_runtime") or {}).get("workflow_manifest")
    return parse_workflow(json.loads(manifest), cells) if manifest else None


def parse_workflow(manifest: Mapping[str, Any], cells: Sequence[Cell] = ()) -> Workflow:
    """Read a workflow's manifest (see ``read_workflow``)."""
    spec, status = manifest.get("spec") or {}, manifest.get("status") or {}
    nodes = status.get("nodes") or {}
    if status.get("compressedNodes"):
        nodes = json.loads(gzip.decompress(base64.b64decode(status["compressedNodes"])))
    tree = _Tree(str(manifest["metadata"]["name"]), nodes.values(), cells)
    return Workflow(
        namespace=str(manifest["metadata"].get("namespace", "")),
        phase=str(status.get("phase") or ""),
        message=one_line(status.get("message") or ""),
        tasks=tuple(tree.tasks()),
        failures=tuple(tree.failures()),
        retry_strategy=(spec.get("templateDefaults") or {}).get("retryStrategy"),
        readable=not status.get("offloadNodeStatusVersion"),
    )


def retry_warning(client: kfp.Client, run_id: str) -> str:
    """What ``Workflow.retry_warning`` says of a run that was started just now.

    Argo looks at a workflow within a second or two; if it takes longer nothing is said.

    Raises:
        ApiError: the API refused, or did not answer.
    """
    deadline = time.monotonic() + SECONDS_TO_BEGIN
    while time.monotonic() < deadline:
        workflow = read_workflow(client, run_id)
        if workflow and workflow.phase:
            return workflow.retry_warning
        time.sleep(SECONDS_TO_BEGIN / 10)
    return ""


class _Tree:
    """The nodes of a workflow by their paths: their names in the tree without attempts' numbers."""

    def __init__(
        self, workflow: str, nodes: Iterable[Mapping[str, Any]], cells: Sequence[Cell]
    ) -> None:
        self._workflow = workflow
        self._cells = cells
        self._nodes: dict[Path, list[Mapping[str, Any]]] = {}
        for node in sorted(nodes, key=lambda node: str(node.get("startedAt") or "")):
            _, *parts = str(node["name"]).split(".")
            path = tuple(ATTEMPT.sub("", part) for part in parts)
            self._nodes.setdefault(path, []).append(node)

    def tasks(self) -> Iterator[Task]:
        """The steps, in the order of the pipeline."""
        driven = {
            (*path[:-1], path[-1].removesuffix(DRIVER))
            for path in self._nodes
            if path and path[-1].endswith(DRIVER)
        }
        steps = {path for path in {*self._nodes, *driven} if path and STEP.fullmatch(path[-1])}
        for path in sorted(steps, key=self._rank):
            yield self._task(path)

    def failures(self) -> Iterator[Failure]:
        """What failed for good, and not because of something else that failed."""
        for path in sorted(self._nodes, key=lambda path: self._rank(self._owner(path))):
            pods, whole = self._pods(path), _whole(self._nodes[path])
            if not pods or whole.get("phase") not in BROKEN or pods[-1].phase == "Succeeded":
                continue
            given_up = "" if whole.get("type") == "Pod" else one_line(whole.get("message") or "")
            reason = "; ".join(filter(None, dict.fromkeys((pods[-1].message, given_up))))
            owner = self._owner(path)
            step = self._name(owner)[0] if owner else ""
            name = step if path[-1] == EXECUTOR else f"driver of {step or _loop(path)}"
            yield Failure(name, step, reason or f"its pod ended as {pods[-1].phase}", pods[-1])

    def _task(self, path: Path) -> Task:
        name, group, cell = self._name(path)
        pods = self._pods((*path, EXECUTOR))
        drivers = self._pods((*path[:-1], path[-1] + DRIVER))
        return Task(name, group, cell, self._state(path, pods, drivers), pods, drivers)

    def _state(self, path: Path, pods: Sequence[Pod], drivers: Sequence[Pod]) -> State:
        phase = _whole(self._nodes.get(path, [])).get("phase")
        driver = _whole(self._nodes.get((*path[:-1], path[-1] + DRIVER), [])).get("phase")
        if phase in BROKEN or driver in BROKEN:
            return State.FAILED
        if phase in ("Omitted", "Skipped"):
            return State.LEFT_OUT
        if phase == "Succeeded":
            return State.DONE if pods else State.CACHED
        running = pods and pods[-1].phase == "Running"
        return State.RUNNING if running else State.WAITING

    def _pods(self, path: Path) -> tuple[Pod, ...]:
        return tuple(
            Pod(
                # As Argo names them: the node's id with the template's name in it.
                f"{self._workflow}-{node['templateName']}-{node['id'].rpartition('-')[2]}",
                str(node.get("phase") or ""),
                one_line(node.get("message") or ""),
            )
            for node in self._nodes.get(path, [])
            if node.get("type") == "Pod"
        )

    def _owner(self, path: Path) -> Path:
        """The step that a pod belongs to, as its own or its driver's; empty for other nodes."""
        if path and path[-1] == EXECUTOR:
            path = path[:-1]
        elif path:
            path = (*path[:-1], path[-1].removesuffix(DRIVER))
        return path if path and STEP.fullmatch(path[-1]) else ()

    def _name(self, path: Path) -> tuple[str, str, str]:
        """A step's name, its group, and what it is called within that."""
        step, number = _place(path)
        if number is None:
            return step, step, ""
        if number >= len(self._cells):
            return f"{step}-#{number}", step, f"#{number}"
        cell = self._cells[number]
        return step_name(step, cell), f"{step} {cell.family.name}", cell.variant

    def _rank(self, path: Path) -> tuple[int, int]:
        """Where a step stands among all; other nodes come first."""
        if not path:
            return -1, -1
        step, number = _place(path)
        return STEPS.index(step), -1 if number is None else number


def _place(path: Path) -> tuple[str, int | None]:
    """A step, and in a loop the iteration."""
    numbers = [int(found[1]) for part in path if (found := ITERATION.search(part))]
    return path[-1], numbers[-1] if numbers else None


def _whole(nodes: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The node of a path that stands for all attempts, or else the newest attempt."""
    whole = [node for node in nodes if not ATTEMPT.search(str(node["name"]))]
    return (whole or nodes or [{}])[-1]


def _loop(path: Path) -> str:
    """The loop that a driver which is of no step belongs to, or the run itself."""
    return next((part for part in reversed(path) if part.startswith("for-loop")), "the run")
