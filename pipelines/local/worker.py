"""The process that runs a compiled pipeline by ``kfp.local`` and does nothing else."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from genpipe.tracking.account import find_account
from pipelines.local.run import CHECKPOINTS
from pipelines.parameters import Parameters
from pipelines.settings import TRAIN

CACHE_HIT = re.compile(r"Task \S+ cache hit \(key=([0-9a-f]+)\)")


class _CacheHits(logging.Filter):
    """Tells the run which steps kfp took from its cache: it says so in its log and nowhere else."""

    def __init__(self, events: Path) -> None:
        super().__init__()
        self._events = events

    def filter(self, record: logging.LogRecord) -> bool:
        hit = CACHE_HIT.match(record.getMessage())
        if hit:
            with self._events.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"event": "cached", "key": hit.group(1)}) + "\n")
        return True


def _end_with_parent() -> None:
    """End this process group when the process that started it is gone (its pipe closes)."""
    os.read(0, 1)
    os.killpg(0, signal.SIGTERM)


def _work(folder: Path, store: Path, image: str, cache: str) -> None:
    """The worker: compile the pipeline to the run's folder, load it, and run it."""
    from kfp import components, local

    from pipelines.environments import local_environment
    from pipelines.latent_fanout import compile_to
    from pipelines.local.containers import container_environment
    from pipelines.local.forks import fork_steps

    threading.Thread(target=_end_with_parent, daemon=True).start()
    # kfp puts its own handlers on the root logger and back; a filter of the logger stays.
    logging.getLogger().setLevel(logging.INFO)
    logging.getLogger().addFilter(_CacheHits(folder / "logs" / "events.jsonl"))
    values = json.loads((folder / "arguments.json").read_text())
    parameters = Parameters.checked(values)
    compiled = folder / "pipeline.yaml"
    environment = container_environment(image) if image else local_environment()
    # A training goes on from no checkpoint of other code; in a step's own variables the folder
    # would be a part of its cache key.
    checkpoints = folder / CHECKPOINTS / environment.image(TRAIN).rpartition(":")[2]
    os.environ["GENPIPE_CHECKPOINTS"] = str(checkpoints)
    online = find_account().mode == "online"
    compile_to(compiled, environment.model_copy(update={"notify": online}), parameters)
    # The run's own: kfp tells runs apart by the time they start alone.
    outputs = store / "outputs" / folder.name
    outputs.mkdir(parents=True, exist_ok=True)
    if not image:
        fork_steps()
    local.init(
        _containers(image, folder, outputs, parameters)
        if image
        else local.SubprocessRunner(use_venv=False),
        pipeline_root=str(outputs),
        enable_caching=True,
        cache_root=str(store / cache),
    )
    components.load_component_from_file(str(compiled))(**parameters.arguments())


def _containers(image: str, folder: Path, outputs: Path, parameters: Parameters) -> Any:
    """The runner for containers; the worker ends them when it is told to end."""
    from pipelines.local.containers import docker_runner, stop_containers

    def end(*_: object) -> None:
        stop_containers(folder.name)
        os._exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    logs, checkpoints = folder / "logs", folder / CHECKPOINTS
    checkpoints.mkdir(exist_ok=True)
    source, target = (Path(at) for at in (parameters.source, parameters.publish_to))
    return docker_runner(
        image,
        folder.name,
        writable=[outputs, logs, logs / "events.jsonl", checkpoints],
        mounted=[
            logs,
            checkpoints,
            *([target] if target.is_absolute() and target.is_dir() else []),
        ],
        # What a step takes from the cache lies in an earlier run's outputs.
        readable=[outputs.parent, *([source] if source.is_absolute() and source.exists() else [])],
    )


if __name__ == "__main__":
    _work(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4])
