"""The scalars that a step's KFP metrics artifact holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def log_metrics(artifact: Any, scores: Mapping[str, float]) -> None:
    """Log scalars to a KFP ``Metrics`` artifact, and write them as a file too.

    KFP keeps metrics in the artifact's metadata alone; kfp.local's cache takes an artifact without
    a file for lost, and would run the step again each time.

    Args:
        artifact: the step's ``dsl.Metrics`` output.
        scores: by name.
    """
    for name, value in scores.items():
        artifact.log_metric(name, value)
    Path(artifact.path).write_text(json.dumps(dict(scores), indent=2) + "\n", encoding="utf-8")
