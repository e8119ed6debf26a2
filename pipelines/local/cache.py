"""What kfp.local keeps of the steps of a folder's runs: their outputs, and the cache of these."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from genpipe.surroundings import variables_of_results
from genpipe.tracking.account import Account

STORE = ".kfp"  # beside the runs' folders
KEY_SHOWN = 12  # characters of an entry's key that kfp says when it takes the entry


def cache_for(account: Account) -> str:
    """The cache of earlier steps that a run may take from.

    kfp's key of a step holds its code and its input. Results of other variables are others, and
    what was made without a W&B run is not for runs that log.
    """
    variables = variables_of_results()
    parts = ["cache"]
    if account.mode == "disabled":
        parts.append("disabled")
    if variables:
        parts.append(hashlib.sha256(json.dumps(variables).encode()).hexdigest()[:16])
    return "-".join(parts)


def folder_of(outputs: dict[str, Any]) -> Path | None:
    """The folder that holds a cached step's outputs; any of its artifacts lies in it."""
    for output in outputs.values():
        if isinstance(output, dict) and output.get("uri"):
            folder = Path(output["uri"]).parent
            if (folder / "step.json").is_file():
                return folder
    return None
