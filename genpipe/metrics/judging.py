"""How samples are judged where a run does not say otherwise."""

from __future__ import annotations

# Passes of the judge over the training images.
JUDGE_EPOCHS = 3
# Drawn from each model.
SAMPLES = 10_000
