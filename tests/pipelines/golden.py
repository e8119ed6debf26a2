"""The golden compiled pipeline, and how it is written anew (`make golden`)."""

from __future__ import annotations

import tempfile
from pathlib import Path

from components.cells import Family
from pipelines.environments import Environment
from pipelines.latent_fanout import compile_to

GOLDEN = Path(__file__).parent.parent / "golden" / "latent_fanout.yaml"


def compiled() -> str:
    """Compile all families for an environment whose images carry no digest of the code."""
    environment = Environment("golden", image=lambda step: f"genpipe-{step}:golden", parallelism=2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        compile_to(path, environment, tuple(Family))
        return path.read_text(encoding="ascii")


if __name__ == "__main__":
    GOLDEN.write_text(compiled(), encoding="ascii")
    print(f"wrote {GOLDEN}")
