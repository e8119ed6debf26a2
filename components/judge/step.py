"""The ``judge`` step: between the adapter and ``train_judge``."""

from __future__ import annotations

from pathlib import Path

from genpipe.outputs import Artifact, log_metrics
from genpipe.tracking import open_step
from genpipe.training.devices import give_each_operation_a_thread


def run(
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
        from genpipe.metrics.classifier import train_judge

        metadata = train_judge(Path(data.path), Path(model.path), **config, tracker=tracker)
        tracker.uses("dataset", metadata["data"]["name"], data.uri)
        scores = {**metadata["metrics"], **metadata["training"]}
        tracker.summarize(scores)
        tracker.makes("model", "judge", model.uri, metadata["metrics"])
        log_metrics(metrics, scores)
        model.metadata.update(name="judge", **metadata["metrics"])
