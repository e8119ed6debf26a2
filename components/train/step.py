"""The training steps and the judge: between the adapters and ``train``, ``train_judge``."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import storage
from components.cells import Cell, Family, parse_family
from components.errors import InputError
from components.metrics import log_metrics
from components.outputs import Artifact
from components.tracking import Tracker, open_step
from components.tracking.step import run_id, step_name

if TYPE_CHECKING:
    from components.train.checkpoints import Checkpoints


def give_each_operation_a_thread() -> None:
    """Have TensorFlow run operations side by side in this process, each in one thread.

    For convolutional models, whose operations are many and small: a thread that is woken for half
    of one comes late. On two cores a DCGAN's step takes 0.75 of the time that it does with two
    threads an operation, one operation at a time, and its bits are the same on any number of
    cores. The dense models are one large operation (see ``loop``), which XLA divides itself.

    Must be called before TensorFlow runs its first operation; what the environment says stays.
    """
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    # One more than there are cores, since one waits for the others: 0.88 of the time.
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", str((os.cpu_count() or 1) + 1))


def run(
    family: str,
    data: Artifact,
    model: Artifact,
    metrics: Artifact,
    wandb_run: Artifact,
    **settings: Any,
) -> None:
    """Train the model of one cell.

    Args:
        family: the model family.
        data: the data set.
        model: gets the model folder.
        metrics: gets what the training cost.
        wandb_run: the W&B run's folder, where it runs offline.
        settings: of the family, ``latent_size`` among them.
    """
    scores, facts = train_cell(
        family, settings, data=data, model=model, wandb_folder=wandb_run.path
    )
    model.metadata.update(facts)
    log_metrics(metrics, scores)


def run_judge(
    data: Artifact,
    model: Artifact,
    metrics: Artifact,
    wandb_run: Artifact,
    epochs: int,
    seed: int,
    samples: int,
) -> None:
    """Train the classifier that says which class a sample shows.

    Args:
        data: the data set.
        model: gets the judge's folder.
        metrics: gets its scores and what its training cost.
        wandb_run: the W&B run's folder, where it runs offline.
        epochs: passes over the training images.
        seed: of weights, orders and the references' draws.
        samples: that each reference is scored on.
    """
    give_each_operation_a_thread()
    config = {"epochs": int(epochs), "seed": int(seed), "samples": int(samples)}
    with open_step("judge", config=config, folder=wandb_run.path) as tracker:
        from components.train.judge import train_judge

        card = train_judge(Path(data.path), Path(model.path), **config, tracker=tracker)
        tracker.uses("dataset", card["data"]["name"], data.uri)
        scores = {**card["metrics"], **card["training"]}
        tracker.summarize(scores)
        tracker.makes("model", "judge", model.uri, card["metrics"])
        log_metrics(metrics, scores)
        model.metadata.update(name="judge", **card["metrics"])


def train_cell(
    family: str,
    parameters: Mapping[str, Any],
    *,
    data: Artifact,
    model: Artifact,
    wandb_folder: str,
) -> tuple[dict[str, float], dict[str, Any]]:
    """Check the parameters, train one cell under its W&B run, and save the model.

    Args:
        family: the model family.
        parameters: of the family's settings.
        data: the data set.
        model: where the model folder is made.
        wandb_folder: where W&B keeps the run's files.

    Returns:
        The step's metrics, and the facts that the model artifact's metadata holds: only such as
        are the same in every run with the same bits, since they enter cache keys downstream.
    """

    def cell() -> Cell:
        return Cell(parse_family(family), parameters["latent_size"])

    if family == Family.DCGAN:
        give_each_operation_a_thread()
    with open_step(f"train_{family}", cell=cell, config=parameters, folder=wandb_folder) as tracker:
        from components.train.settings import SETTINGS

        settings = SETTINGS[cell().family](**parameters)
        checkpoints = _checkpoints(step_name(f"train_{family}", settings.cell), tracker)

        from components.train.train import train

        card = train(settings, Path(data.path), Path(model.path), tracker, checkpoints)
        tracker.uses("dataset", card["data"]["name"], data.uri)
        tracker.makes("model", settings.cell.name, model.uri, {"status": card["status"]})
        scores = dict(card["training"])
        tracker.summarize({**scores, "status": card["status"]})
        facts = {"name": settings.cell.name, "status": card["status"]}
        return scores, {**facts, "weights_digest": card["weights_digest"] or ""}


def _checkpoints(name: str, tracker: Tracker) -> Checkpoints | None:
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
    from components.train.checkpoints import SECONDS_BETWEEN, Checkpoints

    asked = os.environ.get("GENPIPE_CHECKPOINT_SECONDS") or str(SECONDS_BETWEEN)
    try:
        seconds = float(asked)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InputError(f"GENPIPE_CHECKPOINT_SECONDS must be a number above 0, got {asked!r}")
    return Checkpoints(storage.join(root, f"{name}-{run}"), tracker.say, seconds)
