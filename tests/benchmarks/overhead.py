"""What a step spends around its work, for each kind of step (part of `make bench`).

Each step is run by the very command that KFP runs in a pod and kfp.local in a process, over small
budgets, on real MNIST. ``before`` goes from the start of its process to the call of the function
that does the step's work, ``after`` from that function's return to the end of the process: KFP's
executor, imports (TensorFlow's too, where the function's module imports it) and W&B, offline. What
the function itself does, saving and exporting the model among it, is its work.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.compare.component import compare
from components.evaluate.component import evaluate
from components.ingest.component import ingest
from components.judge.component import judge
from components.publish.component import publish
from components.sample.component import sample
from components.train.component import train

ROUNDS = 5
# Seconds around the work: the goal for a step that trains, and for any other.
TRAINING_GOAL, GOAL = 6.0, 2.5
# Loaded by every Python that the step starts: tells when the function that does the work is called
# and when it returns.
WATCH = """
import builtins, functools, json, os, sys, time

WORK = {
    "components.ingest.ingest": "ingest",
    "genpipe.metrics.classifier": "train_judge",
    "components.train.train": "train",
    "components.evaluate.evaluate": "evaluate",
    "components.sample.sample": "sample",
    "components.compare.compare": "compare",
    "components.publish.publish": "publish",
}
real_import = builtins.__import__


def timed(function):
    @functools.wraps(function)
    def run(*args, **kwargs):
        began = time.time()
        try:
            return function(*args, **kwargs)
        finally:
            with open(os.environ["GENPIPE_WATCH"], "w") as file:
                json.dump([began, time.time()], file)

    return run


def importing(*args, **kwargs):
    imported = real_import(*args, **kwargs)
    for name in list(WORK):
        function = getattr(sys.modules.get(name), WORK[name], None)
        if function is not None:
            setattr(sys.modules[name], WORK.pop(name), timed(function))
    return imported


builtins.__import__ = importing
"""


@dataclass(frozen=True)
class Row:
    """What one kind of step spends around its work, in seconds, and the goal for both together."""

    step: str
    before: float
    after: float
    goal: float


@dataclass(frozen=True)
class Step:
    """A step to run: its component, its parameters, and the artifacts that it reads."""

    component: Any
    parameters: Mapping[str, Any] = field(default_factory=dict)
    reads: Mapping[str, list[str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        cell = self.parameters.get("cell", "").split()[:1]
        return "-".join([str(self.component.name), *cell])


DATA = {"data": ["ingest/data"]}
MODEL = {"model": ["train-autoencoder-2/model"]}
CELL = {
    "models": ["train-autoencoder-2/model"],
    "evaluations": ["evaluate/evaluation"],
    "samples": ["sample/samples"],
}
STEPS = (
    Step(ingest),
    Step(judge, {"epochs": 1}, DATA),
    Step(train, {"cell": "autoencoder-2 epochs=1"}, DATA),
    Step(train, {"cell": "vae-2 epochs=1"}, DATA),
    Step(train, {"cell": "dcgan-2 steps=2 gen_interval=2"}, DATA),
    Step(evaluate, {}, DATA | MODEL),
    Step(sample, {"count": 200}, DATA | MODEL | {"judge": ["judge/model"]}),
    Step(
        compare,
        {"cells": ["autoencoder-2"]},
        DATA
        | {
            "judge": ["judge/model"],
            **CELL,
        },
    ),
    Step(
        publish,
        {"target": ""},
        DATA
        | {
            "judge": ["judge/model"],
            "leaderboard": ["compare/leaderboard"],
            "compared": ["compare/report"],
            **CELL,
        },
    ),
)


def command(step: Step, root: Path) -> list[str]:
    """The command line of a step, as KFP makes it; its outputs go to ``root/<step>``."""
    spec = step.component.component_spec
    read = {
        name: _artifacts(spec.inputs[name].type, [root / path for path in paths])
        for name, paths in step.reads.items()
    }
    made = {
        name: _artifacts(output.type, [root / step.name / name])
        for name, output in spec.outputs.items()
    }
    executor_input = {
        "inputs": {"parameterValues": dict(step.parameters), "artifacts": read},
        "outputs": {
            "artifacts": made,
            "outputFile": str(root / step.name / "executor_output.json"),
        },
    }
    container = spec.implementation.container
    given = json.dumps(executor_input)
    return [str(part).replace("{{$}}", given) for part in (*container.command, *container.args)]


def _artifacts(kind: str, paths: list[Path]) -> dict[str, Any]:
    artifact = {"type": {"schemaTitle": kind.partition("@")[0]}, "metadata": {}}
    return {"artifacts": [{**artifact, "name": at.name, "uri": str(at)} for at in paths]}


def measure(step: Step, root: Path) -> tuple[float, float]:
    """Run a step; the seconds before its work and after it.

    Raises:
        RuntimeError: the step failed.
    """
    watch = root / "watch"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("WANDB_")},
        "GENPIPE_WATCH": str(root / "times.json"),
        "GENPIPE_EVENTS": str(root / "events.jsonl"),
        "PYTHONPATH": os.pathsep.join([str(watch), os.environ.get("PYTHONPATH", "")]),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "WANDB_MODE": "offline",
        "WANDB_RUN_GROUP": "overhead",
    }
    watch.mkdir(exist_ok=True)
    (watch / "sitecustomize.py").write_text(WATCH)
    started = time.time()
    done = subprocess.run(command(step, root), env=environment, capture_output=True, text=True)
    ended = time.time()
    if done.returncode:
        raise RuntimeError(f"{step.name} failed: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    work_began, work_ended = json.loads((root / "times.json").read_text())
    return work_began - started, ended - work_ended


def rows(rounds: int = ROUNDS) -> Iterator[Row]:
    """Medians over rounds; a round runs every step once, so that all meet a slow minute."""
    found: dict[str, list[tuple[float, float]]] = {step.name: [] for step in STEPS}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="genpipe-overhead-") as folder:
            for step in STEPS:
                found[step.name].append(measure(step, Path(folder)))
    for name, times in found.items():
        before, after = (statistics.median(column) for column in zip(*times, strict=True))
        yield Row(
            name, before, after, TRAINING_GOAL if name.startswith(("judge", "train")) else GOAL
        )


def main(rounds: int = ROUNDS) -> list[Row]:
    """Measure every kind of step, print a table, and return its rows."""
    print(f"{'step':<20}{'before':>9}{'after':>9}{'together':>10}{'goal':>7}   seconds")
    table = []
    for row in rows(rounds):
        table.append(row)
        both = row.before + row.after
        print(f"{row.step:<20}{row.before:>9.2f}{row.after:>9.2f}{both:>10.2f}{row.goal:>7.1f}")
    return table


if __name__ == "__main__":
    main()
