"""The ``fingerprint`` step: between the adapter and ``fingerprint``."""

from __future__ import annotations

import time

from genpipe.outputs import Artifact
from genpipe.storage.access import Place, check
from genpipe.tracking import open_step
from genpipe.words import counted

SECONDS_A_DAY = 86_400


def run(wandb_run: Artifact, source: str, days: int) -> str:
    """Find out whether the source holds what it held before.

    It is never taken from the cache, and what it returns is an input of ``ingest``: so images that
    were added or changed since an earlier run are read, and where nothing changed all steps that
    follow may come from the cache.

    Args:
        wandb_run: the W&B run's folder, where it runs offline.
        source: a folder, an ``.npz`` file, or a prefix in a bucket.
        days: after so many, what comes from the cache is made anew, before the store deletes it;
            0: never.

    Returns:
        A digest of the names, sizes and checksums of the files there, and the number of the period
        of so many days.
    """
    config = {"source": source, "days": int(days)}
    with open_step("fingerprint", config=config, folder=wandb_run.path) as tracker:
        check(Place("source", source, write=False))
        from genpipe.data.readers.fingerprint import fingerprint

        found, files = fingerprint(source)
        tracker.say(f"{source}: {counted(files, 'file')}, {found}")
        tracker.summarize({"source/files": files, "source/fingerprint": found})
        return f"{found} {int(time.time() // SECONDS_A_DAY // days)}" if days else found
