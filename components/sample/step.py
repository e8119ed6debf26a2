"""The ``sample`` step: between the adapter and ``sample``."""

from __future__ import annotations

from pathlib import Path

from genpipe.outputs import Artifact, log_metrics
from genpipe.tracking import open_step
from genpipe.training.saved import SavedModel


def run(
    data: Artifact,
    judge: Artifact,
    model: Artifact,
    samples: Artifact,
    metrics: Artifact,
    wandb_run: Artifact,
    count: int,
    seed: int,
) -> None:
    """Draw samples from one trained model and let the judge score them.

    Args:
        data: the data set.
        judge: the judge's model folder.
        model: the model folder.
        samples: gets samples.npy, a grid of 32 of them and metrics.json.
        metrics: gets the scores that are numbers.
        wandb_run: the W&B run's folder, where it runs offline.
        count: how many samples are drawn.
        seed: of the draw.
    """
    config = {"count": int(count), "seed": int(seed)}
    with open_step(
        "sample", cell=lambda: SavedModel(model.path).cell, config=config, folder=wandb_run.path
    ) as tracker:
        from components.sample.sample import sample

        result = sample(
            Path(data.path),
            Path(judge.path),
            Path(model.path),
            Path(samples.path),
            samples=int(count),
            seed=int(seed),
            tracker=tracker,
        )
        saved = SavedModel(model.path)
        name = saved.cell.name
        tracker.uses("dataset", saved.metadata["data"]["name"], data.uri)
        tracker.uses("model", name, model.uri)
        tracker.uses("model", "judge", judge.uri)
        tracker.makes("samples", f"samples-{name}", samples.uri, result["metrics"])
        samples.metadata["name"] = f"samples-{name}"
        log_metrics(metrics, result["metrics"])
