"""What a step's function reports to, whatever is logged with it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genpipe.cells import Cell
from genpipe.tracking.progress import Progress


@dataclass(frozen=True)
class Picture:
    """A picture to log: (height, width) or (height, width, 3 or 4) uint8, and its caption."""

    pixels: np.ndarray
    caption: str = ""


class Tracker:
    """What a step's function reports to. This one shows progress and logs nowhere.

    Notebooks and tests use it as it is; ``open_step`` yields one that logs to W&B.

    Attributes:
        group: the pipeline run's name, as W&B groups the runs of its steps.
    """

    def __init__(self, progress: Progress | None = None, group: str = "") -> None:
        self._progress = progress or Progress("step")
        self.group = group

    def say(self, text: str) -> None:
        """Print one line that a person should read."""
        self._progress.say(text)
        self._progress.event("say", text=text)

    def note(self, text: str) -> None:
        """Print one line that whoever follows the whole run should read too."""
        self._progress.say(text)
        self._progress.event("note", text=text)

    def show(self, images: Mapping[str, np.ndarray]) -> None:
        """Show whoever follows the whole run some images: (n, height, width, channels) uint8.

        Args:
            images: by what they are, in a few words.
        """
        rows = {
            told: {"shape": rows.shape, "pixels": base64.b64encode(rows.tobytes()).decode()}
            for told, rows in images.items()
        }
        self._progress.event("images", images=rows)

    def progress(self, done: float, total: float, **facts: float) -> None:
        """Show how far the step is (see ``Progress.update``)."""
        self._progress.update(done, total, **facts)

    def restart_clock(self, done: float = 0.0) -> None:
        """Count the rate that ``progress`` shows from now, where so much is done already."""
        self._progress.restart_clock(done)

    def axis(self, name: str, best: Mapping[str, str] | None = None) -> None:
        """Draw the history over one of its metrics, and keep the best value of others.

        Called before the history begins.

        Args:
            name: the metric along x: ``epoch`` or ``step``.
            best: ``min`` or ``max``, of each metric whose best value the summary keeps beside the
                last one: ``validation_loss.min`` and ``validation_loss.last``.
        """

    def log(self, values: Mapping[str, float | Picture]) -> None:
        """Log one point of the history: numbers and pictures under documented keys."""

    def summarize(self, values: Mapping[str, float | int | str | None]) -> None:
        """Set metrics of the run's summary."""

    def table(self, key: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Log a table; a ``Picture`` may stand in any place of a row."""

    def scatter(
        self, key: str, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> None:
        """Log a scatter plot of a table whose first two columns are x and y."""

    def page(self, key: str, html: str) -> None:
        """Log a self-contained HTML page."""

    def cell(
        self, cell: Cell, config: Mapping[str, Any], metrics: Mapping[str, float | int | str]
    ) -> None:
        """Log a run of its own that holds all metrics of a cell in its summary.

        Its job type is ``cell``. W&B draws parallel coordinates and scatter plots over runs, so
        a chart of the cells reads these.
        """

    def uses(self, kind: str, name: str, uri: str) -> None:
        """Record that the run read an artifact (lineage): its kind, name and address."""

    def makes(
        self, kind: str, name: str, uri: str, metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Record that the run made an artifact (lineage): its kind, name, address and facts."""

    def alert(self, title: str, text: str, *, warns: bool = False) -> None:
        """Have W&B tell its user, by mail or Slack as they chose, of something."""

    def close(self, *, failed: bool = False) -> None:
        """End the run; nothing is logged after it."""
