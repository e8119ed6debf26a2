"""Every step's W&B run, and its progress. No other module imports wandb.

``open_step`` is what a component's adapter enters first: it opens the step's run and yields a
``Tracker``, which is all that a step's function knows of W&B.
"""

from genpipe.tracking.step import has_succeeded, open_step
from genpipe.tracking.tracker import Picture, Tracker

__all__ = ["Picture", "Tracker", "has_succeeded", "open_step"]
