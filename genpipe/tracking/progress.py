"""What a step says while it works: a bar on a terminal, plain lines elsewhere, events for a runner.

A local run gives its steps an events file (``GENPIPE_EVENTS``): JSON lines, appended by every
step, which the ``genpipe run`` terminal follows. A line is one write, so appends of steps side by
side never mix.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    import rich.progress

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_EVENTS = 0.5


class Progress:
    """Progress of one step.

    Args:
        name: what the step is called in lines and events, such as ``train-vae-10``.
        events: file that events are appended to; none if empty.
        stream: where the bar or the lines go.
    """

    def __init__(self, name: str, events: str | Path = "", stream: TextIO | None = None) -> None:
        self.name = name
        self._events = Path(events) if events else None
        self._stream = stream or sys.stdout
        self._began = time.monotonic()
        self._done_before = 0.0
        self._last_line = 0.0
        self._last_event = 0.0
        self._bar: rich.progress.Progress | None = None

    def event(self, kind: str, **facts: Any) -> None:
        """Append one event, if a runner listens; one that can't be written is lost."""
        if self._events is None:
            return
        known = {name: _finite(value) for name, value in facts.items()}
        line = json.dumps({"time": time.time(), "step": self.name, "event": kind, **known})
        with contextlib.suppress(OSError), self._events.open("ab", buffering=0) as file:
            file.write(f"{line}\n".encode())

    def say(self, text: str) -> None:
        """Print one line of plain text; a bar ends above it."""
        if self._bar:
            self._bar.stop()
            self._bar = None
        print(text, file=self._stream, flush=True)

    def update(self, done: float, total: float, **facts: float) -> None:
        """Show how many images of the total are done: rate, time left and the newest metrics."""
        now = time.monotonic()
        finished = done >= total
        elapsed = max(now - self._began, 1e-9)
        rate = (done - self._done_before) / elapsed
        left = (total - done) / rate if rate > 0 else float("inf")
        if finished or now - self._last_event >= SECONDS_BETWEEN_EVENTS:
            self._last_event = now
            self.event("progress", done=done, total=total, rate=rate, left=left, **facts)
        on_terminal = self._stream.isatty()
        pause = 0.2 if on_terminal else SECONDS_BETWEEN_LINES
        if not finished and now - self._last_line < pause:
            return
        self._last_line = now
        shown = "  ".join(
            (
                f"{100 * done / max(total, 1):3.0f}%  {rate:,.0f} images/s",
                f"{format_seconds(left)} left",
                *(f"{key} {value:.4g}" for key, value in facts.items()),
            )
        )
        if on_terminal:
            self._draw(done, total, shown)
        else:
            self.say(f"{self.name}  {shown}")

    def _draw(self, done: float, total: float, shown: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        if self._bar is None:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[shown]}"),
                console=Console(file=self._stream),
                auto_refresh=False,
            )
            self._bar.add_task(self.name, shown=shown)
            self._bar.start()
        (task,) = self._bar.task_ids
        self._bar.update(task, completed=done, total=total, shown=shown, refresh=True)
        if done >= total:
            self._bar.stop()
            self._bar = None

    def restart_clock(self, done: float = 0.0) -> None:
        """Count the rate from now, after a part of the work that is not measured in units.

        Args:
            done: what an earlier attempt did of the work.
        """
        self._began = time.monotonic()
        self._done_before = done


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def format_seconds(seconds: float | None) -> str:
    """``47 s``, ``3 min 20 s``, ``2 h 05 min``; ``?`` if it is not known."""
    if seconds is None or not math.isfinite(seconds):
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
