"""The folders that a step leaves as artifacts."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from pathlib import Path


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
