"""The ``judge`` step of the pipeline."""

from kfp import dsl


@dsl.component(base_image="genpipe", install_kfp_package=False)
def judge(
    data: dsl.Input[dsl.Dataset],
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    wandb_run: dsl.Output[dsl.Artifact],
    epochs: int = 3,
    seed: int = 0,
    samples: int = 10000,
) -> None:
    """Train the classifier that says which class a sample shows."""
    from components.judge.step import run

    run(data, model, metrics, wandb_run, epochs, seed, samples)
