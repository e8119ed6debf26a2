"""The adapter: it ends well only if every place can be used, and says which can't."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from components import storage

STEP = """
import sys
from types import SimpleNamespace as Artifact
from components.preflight.component import preflight

folder, source, publish_to = sys.argv[1:]
wandb_run = Artifact(path=f"{folder}/wandb_run", uri="")
preflight.python_func(wandb_run=wandb_run, source=source, publish_to=publish_to)
"""


def test_a_place_that_cant_be_used_is_told_in_one_line(bucket: str, tmp_path: Path) -> None:
    def run(publish_to: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", STEP, tmp_path, f"{bucket}/archives", publish_to],
            env={**os.environ, "WANDB_MODE": "disabled"},
            capture_output=True,
            text=True,
        )

    storage.write_bytes(f"{bucket}/archives/file", b"")
    good, bad = run(f"{bucket}/best"), run("gs://modles/best")

    assert good.returncode == 0, good.stdout + good.stderr
    assert "publish_to gs://models/best can be used" in good.stdout
    assert bad.returncode == 1
    assert "error: publish_to: gs://modles/best does not exist" in bad.stdout
    assert "Traceback" not in bad.stdout + bad.stderr
