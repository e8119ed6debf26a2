"""The ``train`` step: between the adapter and ``train``."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genpipe import storage
from genpipe.cells import Cell, read_cell
from genpipe.errors import InputError
from genpipe.families.spec import Settings
from genpipe.outputs import Artifact, log_metrics
from genpipe.tracking import Tracker, open_step
from genpipe.tracking.step import run_id, step_name
from genpipe.training.devices import give_each_operation_a_thread

if TYPE_CHECKING:
    from genpipe.training.checkpoints import Checkpoints


def run(
    data: Artifact,
    model: Artifact,
    metrics: Artifact,
    wandb_run: Artifact,
    cell: str,
    **shared: Any,
) -> None:
    """Train the model of one cell.

    Args:
        data: the data set.
        model: gets the model folder.
        metrics: gets what the training cost.
        wandb_run: the W&B run's folder, where it runs offline.
        cell: the cell, with settings of its training, as ``write_cell`` writes it. A seed in its
            name goes over the run's.
        shared: settings that a run has once for all cells: ``precision`` and ``seed``.
    """

    def asked() -> tuple[Cell, Settings]:
        known, own = read_cell(cell)
        if known.seed is not None:
            own["seed"] = known.seed
        return known, known.family.settings(latent_size=known.latent_size, **{**shared, **own})

    scores, facts = train_cell(asked, data=data, model=model, wandb_folder=wandb_run.path)
    model.metadata.update(facts)
    log_metrics(metrics, scores)


def train_cell(
    asked: Callable[[], tuple[Cell, Settings]],
    *,
    data: Artifact,
    model: Artifact,
    wandb_folder: str,
) -> tuple[dict[str, float], dict[str, Any]]:
    """Train one cell under its W&B run, and save the model.

    Args:
        asked: returns the cell and its settings. A function, so that errors in them are reported
            like any other bad input of the step.
        data: the data set.
        model: where the model folder is made.
        wandb_folder: where W&B keeps the run's files.

    Returns:
        The step's metrics, and the facts that the model artifact's metadata holds: only such as
        are the same in every run with the same bits, since they enter cache keys downstream.
    """
    config: dict[str, Any] = {}
    with contextlib.suppress(InputError):  # which the step reports
        cell, settings = asked()
        config = settings.to_dict()
        if cell.family.operations_side_by_side:
            give_each_operation_a_thread()
    with open_step("train", cell=lambda: asked()[0], config=config, folder=wandb_folder) as tracker:
        cell, settings = asked()
        checkpoints = find_checkpoints(step_name("train", cell), tracker)

        from components.train.train import train

        metadata = train(cell, settings, Path(data.path), Path(model.path), tracker, checkpoints)
        tracker.uses("dataset", metadata["data"]["name"], data.uri)
        tracker.makes("model", cell.name, model.uri, {"status": metadata["status"]})
        scores = dict(metadata["training"])
        tracker.summarize({**scores, "status": metadata["status"]})
        facts = {"name": cell.name, "status": metadata["status"]}
        return scores, {**facts, "weights_digest": metadata["weights_digest"] or ""}


def find_checkpoints(name: str, tracker: Tracker) -> Checkpoints | None:
    """Where the environment wants the checkpoints of a step, if it wants any.

    ``GENPIPE_CHECKPOINTS`` is their root, ``GENPIPE_CHECKPOINT_SECONDS`` the time between two. The
    folder is of this step in this pipeline run, which ``WANDB_RUN_GROUP`` names: a pod that is
    tried again finds its own, and two runs never meet.

    Raises:
        InputError: the time is not a positive number.
    """
    root = os.environ.get("GENPIPE_CHECKPOINTS", "")
    run = run_id(tracker.group, name)
    if not root or not run:
        return None
    from genpipe.training.checkpoints import SECONDS_BETWEEN, Checkpoints

    asked = os.environ.get("GENPIPE_CHECKPOINT_SECONDS") or str(SECONDS_BETWEEN)
    try:
        seconds = float(asked)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InputError(f"GENPIPE_CHECKPOINT_SECONDS must be a number above 0, got {asked!r}")
    return Checkpoints(storage.join(root, f"{name}-{run}"), tracker.say, seconds)
