"""The step: it reads nothing before it has seen that the pods may use every place of the run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from genpipe import storage

STEP = """
import sys
from types import SimpleNamespace as Artifact
from components.ingest.component import ingest

folder, source = sys.argv[1:]
data, wandb_run = (Artifact(path=f"{folder}/{name}", uri="") for name in ("data", "wandb_run"))
ingest.python_func(data=data, wandb_run=wandb_run, source=source)
"""


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"GENPIPE_PUBLISH_TO": "gs://modles/best"}, "publish_to: gs://modles/best does not exist"),
        ({"GENPIPE_CHECKPOINTS": "gs://modles"}, "checkpoint_root: gs://modles does not exist"),
        ({"GENPIPE_PUBLISH_TO": "gs://models/best"}, "ubyte.gz is missing"),
    ],
)
def test_a_place_that_cant_be_used_is_told_before_anything_is_read(
    variables: dict[str, str], told: str, bucket: str, tmp_path: Path
) -> None:
    storage.write_bytes(f"{bucket}/archives/file", b"")

    ended = subprocess.run(
        [sys.executable, "-c", STEP, tmp_path, f"{bucket}/archives"],
        env={**os.environ, "WANDB_MODE": "disabled", **variables},
        capture_output=True,
        text=True,
    )

    assert ended.returncode == 1
    assert "source gs://models/archives can be used" in ended.stdout
    usable = "publish_to gs://models/best can be used" in ended.stdout
    assert usable == (variables.get("GENPIPE_PUBLISH_TO") == "gs://models/best")
    assert told in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr
    assert not (tmp_path / "data").exists()
