"""A cell and its explorer's content, as the tests hold them together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from genpipe.training.saved import SavedModel


@dataclass(frozen=True)
class Explored:
    """A cell, the codes of the test images with their classes, and what the page is made of."""

    model: SavedModel
    codes: np.ndarray
    labels: np.ndarray
    cell: dict[str, Any]
