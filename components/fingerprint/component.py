"""The ``fingerprint`` step of the pipeline."""

from kfp import dsl


@dsl.component(base_image="genpipe", install_kfp_package=False)
def fingerprint(wandb_run: dsl.Output[dsl.Artifact], source: str, days: int = 0) -> str:
    """Find out whether the source holds what it held before."""
    from components.fingerprint.step import run

    return run(wandb_run, source, days)
