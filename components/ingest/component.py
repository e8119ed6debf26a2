"""The ``ingest`` step of the pipeline."""

from kfp import dsl


@dsl.component(base_image="genpipe", install_kfp_package=False)
def ingest(
    data: dsl.Output[dsl.Dataset],
    wandb_run: dsl.Output[dsl.Artifact],
    name: str = "mnist",
    source: str = "auto",
    seed: int = 0,
) -> None:
    """Read a published data set and check it."""
    from components.ingest.step import run

    run(data, wandb_run, name, source, seed)
