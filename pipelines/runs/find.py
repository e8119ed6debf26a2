"""Find a run by what a user calls it: a name, a folder, an address, or on a cluster name or id."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from genpipe import storage
from genpipe.cells import Cell
from genpipe.errors import InputError, StepError
from pipelines.environments import Environment
from pipelines.parameters import Parameters
from pipelines.runs.listing import newest_run, what_is_unfinished
from pipelines.settings import LATEST


@dataclass(frozen=True)
class FoundRun:
    """A run.

    Attributes:
        uri: where its artifacts lie.
        name: what people call it; empty where the address is all that is known.
        cells: that it was asked for; none where that is not known.
        unfinished: what it is if it has not ended well, and the command for that.
    """

    uri: str
    name: str = ""
    cells: Sequence[Cell] = ()
    unfinished: str = ""


def find_run(run: str, runs: Path, environment: str | None) -> FoundRun:
    """Find a run.

    Args:
        run: a local run's name or folder, an address in a bucket (``gs://``, ``s3://``, ``minio://``)
            that ends in a run's id, or, with ``environment``, a name or id on that cluster;
            ``latest`` is the run that began last.
        runs: the folder local runs lie in.
        environment: a file, or the name of one in deploy/environments.

    Raises:
        InputError: there is no such run, or its storage can't be read from here.
        StepError: the bucket is missing or can't be read, or the API can't be asked for a name.
    """
    if "://" in run:
        address = _readable(run)
        storage.check(address)
        return FoundRun(address)
    if environment is None:
        folder = next((at for at in (Path(run), runs / run) if at.is_dir()), None)
        if folder is None and run == LATEST:
            folder = newest_run(runs)
            if folder is None:
                raise InputError(f"no runs yet in {runs}: `genpipe run --quick` makes one")
        if folder is None:
            raise InputError(
                f"no run {run!r} here or in {runs}: give a run's name, its folder or its "
                "address in a bucket; for one on a cluster, add --environment"
            )
        return FoundRun(
            str(folder), folder.absolute().name, _local_cells(folder), what_is_unfinished(folder)
        )
    return _find_on_cluster(run, environment)


def _find_on_cluster(run: str, environment: str) -> FoundRun:
    target = Environment.read(environment)
    target.refuse_placeholders()
    root = target.pipeline_root
    if root is None:
        raise InputError(
            f"environment {environment} doesn't set pipeline_root: add it to the environment file "
            "(Kubeflow's default is minio://mlpipeline/v2/artifacts), or give the run's address"
        )
    root = _readable(root)
    run_id, name, cells, state = _ask(target, run)
    from pipelines.latent_fanout import NAME

    address = storage.join(root, NAME, run_id)
    storage.check(address)
    if not storage.exists(address):
        raise InputError(
            f"no artifacts at {address}: check the run's id; none of its steps may have ended yet"
        )
    return FoundRun(address, name, cells, _state_there(run_id, name, state, environment))


def _state_there(run_id: str, name: str, state: str, environment: str) -> str:
    """What to say of a run on a cluster that has not succeeded."""
    if state in ("", "succeeded"):
        return ""
    ended = state in ("failed", "stopped", "skipped")
    command, what = ("retry", "runs what failed again") if ended else ("follow", "follows")
    how = f"genpipe {command} {run_id} --environment {shlex.quote(environment)}"
    return f"run {name} is {state}: `{how}` {what}"


def _ask(target: Environment, run: str) -> tuple[str, str, Sequence[Cell], str]:
    """The id of a run, its name, its cells and its state, as the API knows them.

    Without an answer an id is enough.
    """
    from pipelines.cluster.api import connect
    from pipelines.cluster.follow import cells_of
    from pipelines.cluster.runs import find_run as find_by_api
    from pipelines.cluster.runs import state_of

    if target.api is None:
        return run, "", (), ""
    try:
        client = connect(target)
        found = find_by_api(client, target, run)
    except (StepError, InputError):
        with contextlib.suppress(ValueError):
            return str(UUID(run)), "", (), ""
        raise
    return found.run_id, found.display_name, cells_of(found), state_of(found)


def _local_cells(folder: Path) -> Sequence[Cell]:
    """The cells that a local run was asked for, as far as it says so."""
    try:
        return Parameters.checked(json.loads((folder / "arguments.json").read_bytes())).cells
    except (OSError, ValueError):
        return ()


def _readable(address: str) -> str:
    """The address without a slash at its end, if it is in a bucket that can be read."""
    if not storage.is_remote(address):
        raise InputError(
            f"{address}: only gs://, s3:// and minio:// can be read here; copy the run's folder "
            "with your storage's own tool and give that folder"
        )
    return storage.join(address)
