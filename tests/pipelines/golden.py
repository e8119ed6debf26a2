"""The golden compiled pipelines, one for each shipped environment (`make golden` writes them)."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from pipelines.environments import Environment, shipped_environments
from pipelines.latent_fanout import compile_to
from pipelines.parameters import Parameters

GOLDEN = Path(__file__).parent.parent / "golden"
NAMES = sorted(path.stem for path in shipped_environments().glob("*.yaml"))


@cache
def compiled(name: str) -> str:
    """Compile all families for a shipped environment, as on 2 cores and with images of one tag."""
    with tempfile.TemporaryDirectory() as folder, mock.patch("os.cpu_count", return_value=2):
        path = Path(folder) / "pipeline.yaml"
        compile_to(path, Environment.read(name).with_tag("golden"), Parameters())
        return path.read_text(encoding="ascii")


@cache
def documents(text: str | bytes) -> tuple[Any, ...]:
    """The documents of a compiled pipeline: its IR, and what is of Kubernetes. Not to be changed.

    By libyaml, which reads them ten times as fast as PyYAML's own parser.
    """
    return tuple(yaml.load_all(text, Loader=yaml.CSafeLoader))


if __name__ == "__main__":
    for name in NAMES:
        (GOLDEN / f"{name}.yaml").write_text(compiled(name), encoding="ascii")
        print(f"wrote {GOLDEN / name}.yaml")
