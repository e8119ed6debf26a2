"""A cell and its pack, as the explorer's tests hold them together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from genpipe.training.saved import SavedModel


@dataclass(frozen=True)
class Packed:
    """A cell, what it encodes the test images to, and its pack."""

    model: SavedModel
    codes: np.ndarray
    labels: np.ndarray
    pack: dict[str, Any]
