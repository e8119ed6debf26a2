"""The golden compiled pipeline (`make golden` writes it), and pipelines compiled for tests."""

from __future__ import annotations

import tempfile
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from pipelines.environments import Environment, shipped_environments
from pipelines.latent_fanout import compile_to
from tests.golden_metrics import PAGE, write_metrics_page

# One stands for all: it has whatever the others have. test_placement.py holds tables of each.
GOLDEN, GOLDEN_ENVIRONMENT = Path(__file__).parent / "golden.yaml", "gke-gpu"
NAMES = sorted(path.stem for path in shipped_environments().glob("*.yaml"))


@cache
def compiled(name: str) -> str:
    """Compile for a shipped environment, as on 2 cores and with images of one tag."""
    with tempfile.TemporaryDirectory() as folder, mock.patch("os.cpu_count", return_value=2):
        path = Path(folder) / "pipeline.yaml"
        compile_to(path, Environment.read(name).with_tag("golden"))
        return path.read_text(encoding="ascii")


@cache
def documents(text: str | bytes) -> tuple[Any, ...]:
    """The documents of a compiled pipeline: its IR, and what is of Kubernetes. Not to be changed.

    By libyaml, which reads them ten times as fast as PyYAML's own parser.
    """
    return tuple(yaml.load_all(text, Loader=yaml.CSafeLoader))


def steps_of(spec: Any) -> Any:
    """The DAG of the steps: the root, or the one that the exit handler is of."""
    inside: Any = spec["components"].get("comp-exit-handler-1")
    return (inside or spec["root"])["dag"]


def golden() -> str:
    """The golden pipeline, compiled now; without the adapters' sources, which git shows anyway."""
    parts = deepcopy(documents(compiled(GOLDEN_ENVIRONMENT)))
    for executor in parts[0]["deploymentSpec"]["executors"].values():
        del executor["container"]["command"]
    return yaml.safe_dump_all(parts)


if __name__ == "__main__":
    GOLDEN.write_text(golden(), encoding="ascii")
    write_metrics_page()
    print(f"wrote {GOLDEN} and {PAGE}")
