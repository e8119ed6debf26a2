"""The ``preflight`` step of the pipeline, on clusters."""

from kfp import dsl


@dsl.component(base_image="genpipe", install_kfp_package=False)
def preflight(
    wandb_run: dsl.Output[dsl.Artifact],
    source: str = "auto",
    publish_to: str = "",
    checkpoint_root: str = "",
) -> None:
    """Make sure, before anything is trained, that the pods may use the run's places.

    Args:
        wandb_run: the W&B run's folder, where it runs offline.
        source: of the data set; a folder or gs:// prefix is looked at.
        publish_to: folder or gs:// prefix that the best cells are copied to; nowhere if empty.
        checkpoint_root: folder or gs:// prefix for checkpoints; none if empty.
    """
    from components.tracking import open_step

    config = {"source": source, "publish_to": publish_to, "checkpoint_root": checkpoint_root}
    with open_step("preflight", config=config, folder=wandb_run.path) as tracker:
        from components.preflight.places import check, places

        for place in places(**config):
            check(place)
            tracker.say(f"{place.setting} {place.uri} can be used")
