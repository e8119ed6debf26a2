"""The ``notify`` step: between the adapter and W&B's alert."""

from __future__ import annotations

from genpipe.outputs import Artifact
from genpipe.tracking import has_succeeded, open_step

# As the Kubeflow Pipelines backend and kfp.local call the end of a run that went well.
ENDED_WELL = ("COMPLETE", "CACHED", "SUCCEEDED")


def run(wandb_run: Artifact, state: str) -> None:
    """Have W&B tell its user of a run that failed; of one that did not, do and log nothing.

    It is the pipeline's exit handler: it runs once all else has ended, however that was. KFP 2.17
    takes a run for running that succeeded with its loop from the cache. So W&B is asked as well how
    the last step ended.

    Args:
        wandb_run: the W&B run's folder, where it runs offline.
        state: how all else ended.
    """
    if state in ENDED_WELL or has_succeeded("publish"):
        return
    with open_step("notify", config={"state": state}, folder=wandb_run.path) as tracker:
        told = f"{tracker.group or 'unnamed'} has failed: W&B's group of that name shows which step"
        tracker.say(told)
        tracker.alert("A run has failed", told, warns=True)
