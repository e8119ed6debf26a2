"""Steps that log, each run in a process of its own, and what they leave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.wandb_records import read_records

GROUP = "20260101-120000-ab12"
LOGGING = """
tracker.log({"epoch": 1, "loss": 2.5})
pixels = np.zeros((8, 9), np.uint8)
tracker.log({"epoch": 2, "loss": 1.5, "reconstructions": Picture(pixels, "epoch 2")})
row = ["vae-10", 0.5, Picture(np.zeros((4, 5, 3), np.uint8))]
tracker.table("leaderboard", ["cell", "score", "look"], [row])
tracker.page("report", "<p>all cells</p>")
tracker.summarize({"accuracy": 0.75, "status": "complete"})
tracker.alert("VAE 10 is worse than the champion", "by 3", warns=True)
tracker.uses("dataset", "mnist", data)
tracker.makes("model", "vae-10", folder, {"status": "complete"})
"""
# What W&B draws: axes and best values, a scatter plot, a run of the cell.
DRAWN = """
tracker.axis("epoch", {"loss": "min", "accuracy": "max"})
for epoch, loss, accuracy in [(1, 2.5, 0.5), (2, 1.5, 0.75), (3, 2.0, 0.25)]:
    tracker.log({"epoch": epoch, "loss": loss, "accuracy": accuracy, "images_per_second": 9.0})
tracker.scatter("latent/codes", "codes", ["x", "y", "class"], [[0.5, -1.0, "7"], [1.0, 2.0, "1"]])
figures = {"mean_squared_error": 0.0412, "frechet_distance": 66.1, "train_seconds": 36.0}
tracker.cell(cell(), {"beta": 1.5}, figures)
"""


def program(body: str) -> str:
    """A step that runs a body; in a process of its own, since it moves the process's output."""
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    return f"""
import sys
import numpy as np
from genpipe.cells import Cell
from genpipe.errors import InputError, StepError
from genpipe.tracking import Picture, open_step
folder, data = sys.argv[1:]
config = {{"beta": 1.5, "seed": 3}}
cell = lambda: Cell("vae", 10)
with open_step("train", cell=cell, config=config, folder=folder) as tracker:
{lines}"""


@dataclass
class Step:
    """A step that ran: what it printed, the events it told, and its W&B run's records."""

    root: Path
    status: int
    out: str
    error: str

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.root / "events").read_text().splitlines()]

    @property
    def runs(self) -> list[Path]:
        return sorted((self.root / "step" / "wandb_run" / "wandb").glob("offline-run-*"))

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """What the run's folder holds, as wandb reads it."""
        return read_records(self.runs[-1])

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [record[kind] for record in self.records if record["type"] == kind]


def environment(root: Path, **variables: str) -> dict[str, str]:
    """The surroundings of a step: nothing that wandb reads of its user's, and an empty home."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("WANDB_", "GENPIPE_", "XDG_", "SSL_CERT", "REQUESTS_"))
    }
    home = {"HOME": str(root / "home"), "GENPIPE_EVENTS": str(root / "events")}
    return {**kept, **home, **variables}


def start(root: Path, body: str, **variables: str) -> subprocess.Popen[str]:
    data = root / "data"
    data.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-c", program(body), str(root / "step" / "wandb_run"), str(data)],
        env=environment(root, **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=root,
    )


def end(root: Path, process: subprocess.Popen[str]) -> Step:
    out, error = process.communicate(timeout=120)
    return Step(root, process.returncode, out, error)


def run(root: Path, body: str, **variables: str) -> Step:
    return end(root, start(root, body, **variables))
