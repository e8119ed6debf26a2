"""The ``notify`` step of the pipeline."""

from kfp import dsl


@dsl.component(base_image="genpipe", install_kfp_package=False)
def notify(wandb_run: dsl.Output[dsl.Artifact], status: dsl.PipelineTaskFinalStatus) -> None:
    """Have W&B tell its user of a run that failed."""
    from components.notify.step import run

    run(wandb_run, status.state)
