"""The ``compare`` step of the pipeline."""

from kfp import dsl


@dsl.component(base_image="genpipe", install_kfp_package=False)
def compare(
    data: dsl.Input[dsl.Dataset],
    judge: dsl.Input[dsl.Model],
    models: dsl.Input[list[dsl.Model]],
    evaluations: dsl.Input[list[dsl.Artifact]],
    samples: dsl.Input[list[dsl.Dataset]],
    cells: list[str],
    leaderboard: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    wandb_run: dsl.Output[dsl.Artifact],
) -> None:
    """Rank all cells of a run, and write the leaderboard and the report."""
    from components.compare.step import run

    run(
        data,
        judge,
        models,
        evaluations,
        samples,
        cells,
        leaderboard=leaderboard,
        report=report,
        metrics=metrics,
        wandb_run=wandb_run,
    )
