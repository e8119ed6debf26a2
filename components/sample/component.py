"""The ``sample`` step of the pipeline."""

from kfp import dsl


@dsl.component(base_image="genpipe", install_kfp_package=False)
def sample(
    data: dsl.Input[dsl.Dataset],
    judge: dsl.Input[dsl.Model],
    model: dsl.Input[dsl.Model],
    samples: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    wandb_run: dsl.Output[dsl.Artifact],
    count: int = 10000,
    seed: int = 0,
) -> None:
    """Draw samples from one trained model and let the judge score them.

    Args:
        data: the data set.
        judge: the judge's model folder.
        model: the model folder.
        samples: samples.npy, a grid of 32 of them and metrics.json.
        metrics: the scores that are numbers.
        wandb_run: the W&B run's folder, where it runs offline.
        count: how many samples are drawn.
        seed: of the draw.
    """
    from pathlib import Path

    from components.metrics import log_metrics
    from components.tracking import open_step
    from components.train.saved import SavedModel

    config = {"count": int(count), "seed": int(seed)}
    with open_step(
        "sample", cell=lambda: SavedModel(model.path).cell, config=config, folder=wandb_run.path
    ) as tracker:
        from components.sample.sample import sample as sample_model

        result = sample_model(
            Path(data.path),
            Path(judge.path),
            Path(model.path),
            Path(samples.path),
            samples=int(count),
            seed=int(seed),
            tracker=tracker,
        )
        name = SavedModel(model.path).cell.name
        tracker.uses("dataset", SavedModel(model.path).card["data"]["name"], data.uri)
        tracker.uses("model", name, model.uri)
        tracker.uses("model", "judge", judge.uri)
        tracker.makes("samples", f"samples-{name}", samples.uri, result["metrics"])
        samples.metadata["name"] = f"samples-{name}"
        log_metrics(metrics, result["metrics"])
