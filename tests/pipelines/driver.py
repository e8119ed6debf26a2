"""What KFP 2.17's driver does to the inputs of tasks: resolves them, and refuses a wrong type.

Written after ``resolveInputs`` of backend/src/v2/driver/resolve.go, which was seen on a cluster to
refuse a task with "expect NUMBER_INTEGER, got string". The compiler checks less: it takes any loop
item for a string that it is not told more about.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

# The types of the IR that a value may have, by what JSON calls it.
FITTING = {
    str: {"STRING"},
    bool: {"BOOLEAN"},
    int: {"NUMBER_INTEGER", "NUMBER_DOUBLE"},
    float: {"NUMBER_INTEGER", "NUMBER_DOUBLE"},
    list: {"LIST"},
    dict: {"STRUCT", "TASK_FINAL_STATUS"},
}


class Refusal(Exception):  # noqa: N818
    """The driver would end the task here."""


def run(spec: Mapping[str, Any], arguments: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Drive all tasks of a compiled pipeline; yields each executor's task with its parameters.

    Args:
        spec: the pipeline's IR.
        arguments: of the run; the pipeline's defaults fill in the rest.

    Raises:
        Refusal: the driver would refuse a task's inputs.
    """
    definitions = spec["root"]["inputDefinitions"]["parameters"]
    values = {name: one.get("defaultValue") for name, one in definitions.items()} | arguments
    yield from _drive(spec, spec["root"], _typed("root", definitions, values), {})


def _drive(
    spec: Mapping[str, Any],
    component: Mapping[str, Any],
    values: Mapping[str, Any],
    artifacts: Mapping[str, Any],
) -> Iterator[tuple[str, Any]]:
    if "dag" not in component:
        return
    tasks = component["dag"]["tasks"]
    for name, task in tasks.items():
        called = spec["components"][task["componentRef"]["name"]]
        inputs = called.get("inputDefinitions", {})
        given = {
            parameter: _value(one, values)
            for parameter, one in task.get("inputs", {}).get("parameters", {}).items()
        }
        fed = {
            artifact: _artifact(spec, tasks, one, artifacts)
            for artifact, one in task.get("inputs", {}).get("artifacts", {}).items()
        }
        for artifact, kind in fed.items():
            wanted = inputs["artifacts"][artifact]["artifactType"]["schemaTitle"]
            if kind != wanted:
                raise Refusal(f"{name}: input artifact {artifact} is {kind}, not {wanted}")
        loop = task.get("parameterIterator")
        items = given.pop(loop["items"]["inputParameter"]) if loop else [None]
        for item in items:
            own = {**given, loop["itemInput"]: item} if loop else given
            skipped = loop["items"]["inputParameter"] if loop else ""
            definitions = {
                parameter: one
                for parameter, one in inputs.get("parameters", {}).items()
                if parameter != skipped
            }
            resolved = _typed(name, definitions, own)
            if "executorLabel" in called:
                yield name, resolved
            yield from _drive(spec, called, resolved, fed)


def _value(one: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    if "runtimeValue" in one:
        return one["runtimeValue"]["constant"]
    if "taskFinalStatus" in one:
        return {"state": "COMPLETE"}
    return values[one["componentInputParameter"]]


def _artifact(
    spec: Mapping[str, Any],
    tasks: Mapping[str, Any],
    one: Mapping[str, Any],
    artifacts: Mapping[str, Any],
) -> str:
    """The type of what feeds an input: of the DAG's own input, or of a task beside or in a loop."""
    if "componentInputArtifact" in one:
        return artifacts[one["componentInputArtifact"]]
    source = one["taskOutputArtifact"]
    task = tasks[source["producerTask"]]
    made = spec["components"][task["componentRef"]["name"]]["outputDefinitions"]["artifacts"]
    return made[source["outputArtifactKey"]]["artifactType"]["schemaTitle"]


def _typed(task: str, definitions: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as the task gets them: as JSON text where it takes a string and they are none."""
    resolved = dict(values)
    for name, definition in definitions.items():
        kind = definition["parameterType"]
        if name not in values:
            if not definition.get("isOptional") and "defaultValue" not in definition:
                raise Refusal(f"{task}: neither value nor default for {name}")
        elif kind == "STRING":
            if not isinstance(values[name], str):
                resolved[name] = json.dumps(values[name])
        elif kind not in FITTING[type(values[name])]:
            raise Refusal(
                f"{task}: input parameter {name} type mismatch: expect {kind}, "
                f"got {type(values[name]).__name__}"
            )
    return resolved
