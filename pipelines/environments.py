"""Settings of one target, and the one helper that applies them to the pipeline's tasks."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kfp.dsl import PipelineTask

# The folder under components/ that each step's code lies in.
FOLDERS = {
    "ingest": "ingest",
    "judge": "train",
    "train_autoencoder": "train",
    "train_vae": "train",
    "train_dcgan": "train",
    "evaluate": "evaluate",
    "sample": "sample",
    "compare": "compare",
    "publish": "publish",
}
# What other steps' folders read: the data set and a trained model.
SHARED = ("ingest/dataset.py", "train/saved.py", "train/layers.py")
RUNTIME = ("keras", "kfp", "numpy", "tensorflow", "tensorflow-datasets", "wandb")


@dataclass(frozen=True)
class Environment:
    """Where the pipeline's tasks run.

    Attributes:
        name: of the environment.
        image: of a step, as a function of the step's name.
        parallelism: cells of a family that run side by side.
        dcgan_threads: threads of a DCGAN's training; as many as there are cores if None.
    """

    name: str
    image: Callable[[str], str]
    parallelism: int
    dcgan_threads: int | None = None

    def place(self, task: PipelineTask, step: str) -> PipelineTask:
        """Apply the settings to one task; the only place that does."""
        task.set_container_image(self.image(step))
        if self.dcgan_threads and step == "train_dcgan":
            task.set_env_variable("TF_NUM_INTRAOP_THREADS", str(self.dcgan_threads))
        return task


@cache
def source_digest(step: str) -> str:
    """Digest of the code that a step runs: its folder, what all steps share, and the libraries.

    No step imports another step's folder but for ``SHARED``, so a change elsewhere can't change
    what this step does.
    """
    root = Path(__file__).parent.parent / "components"
    files = sorted(
        {
            *root.glob("*.py"),
            *(root / FOLDERS[step]).glob("*.[pj]*"),
            *(root / name for name in SHARED),
        }
    )
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(root)}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    for library in RUNTIME:
        digest.update(f"{library} {importlib.metadata.version(library)}\0".encode())
    return digest.hexdigest()[:12]


def local_environment() -> Environment:
    """This machine, without containers.

    kfp.local's cache looks at the image's name, never at the code behind it, so the name carries
    a digest of that code. (Without "python" in the name, kfp warns.)

    DCGANs side by side fight over the cores: two on two cores trained 288 images/s with a thread
    each, 258 with two threads each, and one alone 240 and 227. The dense models, which XLA
    compiles, share the cores well (30,400 and 33,100 images/s) and gain when one is left alone
    (39,600 with two threads, 19,000 with one), so they keep all of them.
    """
    parallelism = 2  # the most that kfp.local runs side by side in a loop
    return Environment(
        name="local",
        image=lambda step: f"python-genpipe:{source_digest(step)}",
        parallelism=parallelism,
        dcgan_threads=max(1, (os.cpu_count() or 1) // parallelism),
    )
