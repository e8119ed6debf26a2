"""The ``ingest`` step of the pipeline."""

from kfp import dsl


@dsl.component(base_image="genpipe", install_kfp_package=False)
def ingest(
    data: dsl.Output[dsl.Dataset],
    wandb_run: dsl.Output[dsl.Artifact],
    name: str = "mnist",
    source: str = "auto",
    image_size: str = "",
    channels: int = 0,
    skip_bad: int = 0,
    fingerprint: str = "",
) -> None:
    """Read labelled images, check them and divide them."""
    from components.ingest.step import run

    run(data, wandb_run, name, source, image_size, channels, skip_bad, fingerprint)
