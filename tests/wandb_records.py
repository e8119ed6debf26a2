"""What W&B keeps of a run on this machine, as its own reader reads it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from wandb.util import get_core_path


def read_records(folder: Path) -> list[dict[str, Any]]:
    """The records of a run's folder.

    By the program that ``wandb leet inspect`` starts with these arguments: the command itself takes
    half a second to import (tests/test_surroundings.py runs it).
    """
    (log,) = folder.glob("run-*.wandb")
    told = ("--no-observability", "--json", "--run-file", log, folder.parent)
    read = subprocess.run(
        [get_core_path(), "leet", "inspect", *map(str, told)],
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in read.stdout.splitlines()]
