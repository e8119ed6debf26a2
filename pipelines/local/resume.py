"""Go on with a run of this machine that was stopped, killed or failed."""

from __future__ import annotations

import json
from pathlib import Path

from genpipe.errors import InputError
from genpipe.storage import is_remote
from pipelines.local.run import RECORD, LocalRun
from pipelines.parameters import Parameters
from pipelines.runs.find import find_run
from pipelines.runs.listing import state_of


def resume(run: str, runs: Path) -> LocalRun:
    """A run as it was started, to start again: nothing that has finished is done twice.

    Finished steps come from the cache, and a training goes on from its last checkpoint.

    Args:
        run: its name or folder, or ``latest``.
        runs: the folder local runs lie in.

    Raises:
        InputError: there is no such run here, it is running or finished, its folder does not say
            how it was started, or wandb refuses one of its settings.
    """
    if is_remote(run):
        raise InputError(f"--resume takes a run of this machine, got {run}")
    folder = Path(find_run(run, runs, None).uri).absolute()
    state = state_of(folder)
    if state == "running":
        raise InputError(f"run {folder.name!r} is running")
    if state == "finished":
        raise InputError(f"run {folder.name!r} is finished: `genpipe report {run}` shows it")
    try:
        record = json.loads((folder / RECORD).read_bytes())
        arguments = json.loads((folder / "arguments.json").read_bytes())
        image, caching, goes_on = (record[name] for name in ("image", "caching", "id"))
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"{folder} does not say how its run was started: start it again with `genpipe run`"
        ) from None
    return LocalRun(
        folder.parent,
        folder.name,
        Parameters.checked(arguments),
        image=image,
        caching=caching,
        goes_on=goes_on,
    )
