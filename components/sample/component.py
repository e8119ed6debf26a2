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
    """Draw samples from one trained model and let the judge score them."""
    from components.sample.step import run

    run(data, judge, model, samples, metrics, wandb_run, count, seed)
