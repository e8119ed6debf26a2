"""The ``train`` step of the pipeline."""

from kfp import dsl


@dsl.component(base_image="genpipe", install_kfp_package=False)
def train(
    data: dsl.Input[dsl.Dataset],
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    wandb_run: dsl.Output[dsl.Artifact],
    cell: str,
    precision: str = "auto",
    seed: int = 0,
) -> None:
    """Train the model of one cell, such as vae-10."""
    from components.train.step import run

    run(data, model, metrics, wandb_run, cell, precision=precision, seed=seed)
