"""What a step reads and leaves as artifacts: their places, and what may lie there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol


class Artifact(Protocol):
    """The part of a KFP artifact that a step needs.

    Attributes:
        path: where it lies on this machine.
        uri: its address, which other runs and W&B know it by.
        metadata: facts that KFP keeps of it; they enter the cache keys of the steps after it.
    """

    path: str
    metadata: dict[str, Any]

    @property
    def uri(self) -> str: ...  # noqa: D102


def leave_plain_files(folder: Path) -> None:
    """Leave nothing but files and folders below a folder.

    KFP's launcher opens and reads whatever it finds below an output; a link to a folder, such as
    W&B's ``latest-run``, then fails the step after its work, on every attempt. A link to a file
    becomes a copy of it; every other link, socket or pipe is removed.

    Args:
        folder: holds the outputs of a step.
    """
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent, name)
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
                continue
            target = Path(os.path.realpath(path))
            path.unlink()
            with contextlib.suppress(OSError):  # somebody else's, or gone
                if target.is_file():
                    shutil.copyfile(target, path)


def log_metrics(artifact: Any, scores: Mapping[str, float]) -> None:
    """Log scalars to a KFP ``Metrics`` artifact, and write them as a file too.

    KFP keeps metrics in the artifact's metadata alone; kfp.local's cache takes an artifact without
    a file for lost, and would run the step again each time.

    Args:
        artifact: the step's ``dsl.Metrics`` output.
        scores: by name.
    """
    for name, value in scores.items():
        artifact.log_metric(name, value)
    Path(artifact.path).write_text(json.dumps(dict(scores), indent=2) + "\n", encoding="utf-8")
