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
    """Score one trained model on the test split, and on the validation split what decides."""
    from components.evaluate.step import run

    run(data, model, evaluation, explorer, metrics, wandb_run, seed)
