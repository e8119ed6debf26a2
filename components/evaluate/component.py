"""The ``evaluate`` step of the pipeline."""

from kfp import dsl


@dsl.component(base_image="genpipe", install_kfp_package=False)
def evaluate(
    data: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    evaluation: dsl.Output[dsl.Artifact],
    explorer: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    wandb_run: dsl.Output[dsl.Artifact],
    seed: int = 0,
) -> None:
    """Score one trained model on the whole test split.

    Args:
        data: the data set.
        model: the model folder.
        evaluation: metrics.json, reconstructions, latent codes and their scatter plot.
        explorer: a page that decodes any point of the latent space where it is pointed at.
        metrics: the scores that are numbers.
        wandb_run: the W&B run's folder, where it runs offline.
        seed: of sampled codes and noise.
    """
    from pathlib import Path

    from components.metrics import log_metrics
    from components.tracking import open_step
    from components.train.saved import SavedModel

    config = {"seed": int(seed)}
    with open_step(
        "evaluate", cell=lambda: SavedModel(model.path).cell, config=config, folder=wandb_run.path
    ) as tracker:
        from components.evaluate.evaluate import evaluate as evaluate_model
        from components.evaluate.explore import explore

        paths = Path(data.path), Path(model.path), Path(evaluation.path)
        result = evaluate_model(*paths, int(seed), tracker)
        explore(*paths, Path(explorer.path), tracker)
        name = SavedModel(model.path).cell.name
        tracker.uses("dataset", result["data"]["name"], data.uri)
        tracker.uses("model", name, model.uri)
        tracker.makes("evaluation", f"evaluation-{name}", evaluation.uri, result["metrics"])
        evaluation.metadata["name"] = f"evaluation-{name}"
        log_metrics(metrics, result["metrics"])
