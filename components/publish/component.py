"""The ``publish`` step of the pipeline."""

from kfp import dsl


@dsl.component(base_image="genpipe", install_kfp_package=False)
def publish(
    data: dsl.Input[dsl.Dataset],
    judge: dsl.Input[dsl.Model],
    models: dsl.Input[list[dsl.Model]],
    evaluations: dsl.Input[list[dsl.Artifact]],
    samples: dsl.Input[list[dsl.Dataset]],
    leaderboard: dsl.Input[dsl.Artifact],
    compared: dsl.Input[dsl.HTML],
    published: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    wandb_run: dsl.Output[dsl.Artifact],
    target: str = "",
    force: bool = False,
    margin: str = "auto",
) -> None:
    """Make the best cell of each family the champion, if it is better than the one before."""
    from components.publish.step import run

    run(
        data,
        judge,
        models,
        evaluations,
        samples,
        leaderboard,
        compared,
        published=published,
        report=report,
        wandb_run=wandb_run,
        target=target,
        force=force,
        margin=margin,
    )
