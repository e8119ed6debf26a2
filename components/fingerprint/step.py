"""The ``fingerprint`` step: between the adapter and ``fingerprint``."""

from __future__ import annotations

from genpipe.outputs import Artifact
from genpipe.tracking import open_step


def run(wandb_run: Artifact, source: str) -> str:
    """Find out whether the source holds what it held before.

    It is never taken from the cache, and what it returns is an input of ``ingest``: so images that
    were added or changed since an earlier run are read, and where nothing changed all steps that
    follow may come from the cache.

    Args:
        wandb_run: the W&B run's folder, where it runs offline.
        source: a folder, an ``.npz`` file, or a prefix in a bucket.

    Returns:
        A digest of the names, sizes and checksums of the files there.
    """
    with open_step("fingerprint", config={"source": source}, folder=wandb_run.path) as tracker:
        from genpipe.data.readers.fingerprint import fingerprint

        found, files = fingerprint(source)
        tracker.say(f"{source}: {files:,} files, {found}")
        tracker.summarize({"source/files": files, "source/fingerprint": found})
        return found
