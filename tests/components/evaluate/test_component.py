"""The adapter: what it says of a model folder that is not one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

STEP = """
import sys
from types import SimpleNamespace as Artifact
from components.evaluate.component import evaluate

names = ("data", "model", "evaluation", "explorer", "metrics", "wandb_run")
evaluate.python_func(**{name: Artifact(path=f"{sys.argv[1]}/{name}", uri="") for name in names})
"""


def test_a_folder_without_a_model_is_told_in_one_line_before_work_starts(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    environment = {**os.environ, "WANDB_MODE": "offline", "GENPIPE_EVENTS": str(events)}

    done = subprocess.run(
        [sys.executable, "-c", STEP, str(tmp_path)], env=environment, capture_output=True, text=True
    )

    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert (
        "model.json does not exist: give the model folder of a train or judge step" in done.stdout
    )
    last = json.loads(events.read_text().splitlines()[-1])
    assert (last["step"], last["event"], last["status"]) == ("evaluate", "end", "failed")
    assert not (tmp_path / "evaluation").exists()
