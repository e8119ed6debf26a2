"""What a run came to: where its results are, or what failed, why, and what it printed last."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

import kfp
from rich.console import Console

from genpipe.errors import InputError
from pipelines.cluster.follow import Followed
from pipelines.cluster.logs import kubectl, read_log, without_chatter
from pipelines.cluster.runs import link, state_of
from pipelines.cluster.workflow import Pod, State, Workflow

LAST_LINES = 25
LOGS_SHOWN = 3  # of failures that are often the same


def show_outcome(
    client: kfp.Client, followed: Followed, environment: str, console: Console
) -> None:
    """Print how an ended run ended, and the commands that show more.

    Args:
        client: of ``connect``.
        followed: the run.
        environment: as the user named it, for the commands.
        console: where to.
    """
    run = followed.run
    of_run = f"{run.run_id} --environment {shlex.quote(environment)}"
    state = state_of(run)
    # Of a run that was stopped, all that ran then counts as failed.
    if state == "failed" and followed.workflow:
        for line in _reasons(client, run.run_id, followed.workflow, of_run):
            console.print(line, markup=False, soft_wrap=True)
    lines = [f"{run.display_name} {state}: {link(client, run.run_id)}"]
    if state == "succeeded":
        lines.append(f"  genpipe report {of_run}  # leaderboard, curves, samples; --open: the page")
    else:
        lines.append(f"  genpipe report {of_run}  # what the cells that ended scored")
        lines.append(f"  genpipe retry {of_run}   # the failed steps again, and those after them")
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def logs(
    client: kfp.Client, run_id: str, workflow: Workflow, steps: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """What steps of a run printed: of each attempt a heading and the text.

    Args:
        client: of ``connect``.
        run_id: of the run.
        workflow: of the run.
        steps: their names, or kinds such as ``evaluate``; what failed if there are none.

    Raises:
        InputError: a name fits no step, or none is given and nothing failed.
    """
    pods: list[tuple[str, Pod]]
    if steps:
        for name in steps:
            if not any(_fits(name, task.name) for task in workflow.tasks):
                known = ", ".join(task.name for task in workflow.tasks) or "none yet"
                raise InputError(f"no step {name!r} has begun in this run; there are: {known}")
        chosen = [task for task in workflow.tasks if any(_fits(name, task.name) for name in steps)]
        for task in chosen:
            if not task.pods and task.state != State.FAILED:
                yield task.name, f"no pod of it has run: {task.state}"
        pods = [
            (f"{task.name}, attempt {number} of {len(task.pods)}", pod)
            for task in chosen
            for number, pod in enumerate(task.pods, start=1)
        ]
        pods += [
            (f"driver of {task.name}", task.drivers[-1])
            for task in chosen
            if task.state == State.FAILED and not task.pods
        ]
    else:
        pods = [(failure.name, failure.pod) for failure in workflow.failures]
        if not pods:
            known = ", ".join(task.name for task in workflow.tasks) or "none has begun"
            raise InputError(f"nothing failed in this run: name a step to see its log: {known}")
    for heading, pod in pods:
        text = read_log(client, run_id, workflow.namespace, pod)
        yield f"{heading} (pod {pod.name})", text if text is not None else _elsewhere(workflow, pod)


def _fits(name: str, step: str) -> bool:
    return name in (step, step.partition("-")[0])


def _reasons(client: kfp.Client, run_id: str, workflow: Workflow, of_run: str) -> Iterator[str]:
    """Lines on what failed, why, and what the pods printed last."""
    if not workflow.failures and workflow.message:
        yield f"Argo: {workflow.message}"
    for number, failure in enumerate(workflow.failures):
        yield f"{failure.name} failed: {failure.reason}"
        if number >= LOGS_SHOWN:
            continue
        text = read_log(client, run_id, workflow.namespace, failure.pod)
        if text is None:
            yield f"  {_elsewhere(workflow, failure.pod)}"
            continue
        yield from (f"    {line}" for line in list(without_chatter(text))[-LAST_LINES:])
        if failure.step:
            run, *options = shlex.split(of_run)
            yield f"  all of it: {shlex.join(['genpipe', 'logs', run, failure.step, *options])}"


def _elsewhere(workflow: Workflow, pod: Pod) -> str:
    """What to do where no door to the logs is open from here."""
    return f"its log can't be read from here; on the cluster: {kubectl(workflow.namespace, pod)}"
