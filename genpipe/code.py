"""Which commit the code is of, where that can be told."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

# Set in the images, which hold no repository.
VARIABLE = "GENPIPE_COMMIT"
UNKNOWN = "unknown"


def commit(
    variables: Mapping[str, str] = os.environ, folder: Path = Path(__file__).parents[1]
) -> str:
    """The short hash of the code's commit, with ``+`` where files differ from it.

    Args:
        variables: environment variables; an image names its commit there.
        folder: the root of the checkout, where the code lies in one.

    Returns:
        The hash; empty where neither says it.
    """
    named = variables.get(VARIABLE, UNKNOWN)
    if named != UNKNOWN or not (folder / ".git").exists():
        return named.removeprefix(UNKNOWN)
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=8", "--exclude=*"]
    try:
        told = subprocess.run(
            [*command, "--dirty=+"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):  # no git, or a checkout too large to wait for
        return ""
    return told.stdout.strip()
