"""The ``evaluate`` step: between the adapter and ``evaluate``."""

from __future__ import annotations

from pathlib import Path

from genpipe.outputs import Artifact, log_metrics
from genpipe.tracking import open_step
from genpipe.training.saved import SavedModel


def run(
    data: Artifact,
    model: Artifact,
    evaluation: Artifact,
    explorer: Artifact,
    metrics: Artifact,
    wandb_run: Artifact,
    seed: int,
) -> None:
    """Score one trained model on the test split, and on the validation split what decides.

    Args:
        data: the data set.
        model: the model folder.
        evaluation: gets metrics.json, reconstructions, latent codes and their scatter plot.
        explorer: gets a page that decodes any point of the latent space where it is pointed at.
        metrics: gets the scores that are numbers.
        wandb_run: the W&B run's folder, where it runs offline.
        seed: of sampled codes and noise.
    """
    config = {"seed": int(seed)}
    with open_step(
        "evaluate", cell=lambda: SavedModel(model.path).cell, config=config, folder=wandb_run.path
    ) as tracker:
        from components.evaluate.evaluate import evaluate
        from components.evaluate.explore import explore

        paths = Path(data.path), Path(model.path), Path(evaluation.path)
        result = evaluate(*paths, int(seed), tracker)
        explore(*paths, Path(explorer.path), tracker)
        name = SavedModel(model.path).cell.name
        tracker.uses("dataset", result["data"]["name"], data.uri)
        tracker.uses("model", name, model.uri)
        tracker.makes("evaluation", f"evaluation-{name}", evaluation.uri, result["metrics"])
        evaluation.metadata["name"] = f"evaluation-{name}"
        log_metrics(metrics, result["metrics"])
