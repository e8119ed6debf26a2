from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from genpipe.tracking import progress as module
from genpipe.tracking.progress import Progress, format_seconds


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def events_in(path: Path) -> list[dict[str, Any]]:
    """The events, read strictly: NaN and Infinity are no JSON."""

    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is no JSON")

    lines = path.read_text().splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (47.4, "47 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (float("inf"), "?"),
        (float("nan"), "?"),
    ],
)
def test_seconds_are_told_as_people_say_them(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_off_a_terminal_progress_is_plain_lines_with_rate_and_time_left(clock: Clock) -> None:
    out = io.StringIO()
    progress = Progress("train-vae-10", stream=out)

    clock.now += 10
    progress.update(1000, 4000, loss=1.25)

    assert out.getvalue() == "train-vae-10   25%  100 images/s  30 s left  loss 1.25\n"


def test_off_a_terminal_a_line_comes_every_ten_seconds_and_at_the_end(clock: Clock) -> None:
    out = io.StringIO()
    progress = Progress("step", stream=out)
    progress.update(1, 100)

    for second in range(1, 26):
        clock.now += 1
        progress.update(1 + second, 100)
    progress.update(100, 100)

    shares = [line.split()[1] for line in out.getvalue().splitlines()]
    assert shares == ["1%", "11%", "21%", "100%"]
    assert "\r" not in out.getvalue()


def test_the_rate_counts_from_the_restarted_clock(clock: Clock) -> None:
    out = io.StringIO()
    progress = Progress("step", stream=out)
    clock.now += 100

    progress.restart_clock()
    clock.now += 2
    progress.update(100, 200)

    assert "50 images/s  2 s left" in out.getvalue()


def test_what_an_earlier_attempt_did_is_not_of_this_ones_rate(clock: Clock) -> None:
    out = io.StringIO()
    progress = Progress("step", stream=out)

    progress.restart_clock(100)
    clock.now += 2
    progress.update(150, 200)

    assert "75%  25 images/s  2 s left" in out.getvalue()


def test_on_a_terminal_one_line_is_drawn_again_and_again() -> None:
    code = """
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    from genpipe.tracking.progress import Progress
    progress = Progress("step")
    progress.update(1, 2)
    progress.update(2, 2)
    progress.say("then a line")
    sys.stdout.flush()
    os._exit(0)
import fcntl, struct, termios
shown = b""
try:
    while part := os.read(terminal, 1000):
        shown += part
except OSError:  # the other end is closed
    pass
sys.stdout.buffer.write(shown)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    # A bar of rich, which colours and moves by escape codes.
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", run.stdout.decode())
    assert re.search(r"step *━+.* 50%  .* left", text)
    *_, last_draw, line = filter(None, re.split(r"[\r\n]+", text))
    assert "100%" in last_draw
    assert line == "then a line"


def test_events_are_json_lines_appended_by_all_steps(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "events"
    first, second = (Progress(name, path, io.StringIO()) for name in ("ingest", "judge"))

    first.event("start", folder="a")
    second.event("start", folder="b")
    clock.now += 2
    first.update(10, 10, size=3.0)

    events = events_in(path)
    assert [(event["step"], event["event"]) for event in events] == [
        ("ingest", "start"),
        ("judge", "start"),
        ("ingest", "progress"),
    ]
    assert events[0] == {"time": 1000.0, "step": "ingest", "event": "start", "folder": "a"}
    progress = {"done": 10, "total": 10, "rate": 5.0, "left": 0.0, "size": 3.0}
    assert progress.items() <= events[2].items()


def test_events_come_twice_a_second_at_most_and_the_last_one_always(
    tmp_path: Path, clock: Clock
) -> None:
    progress = Progress("step", tmp_path / "events", io.StringIO())

    for done in range(1, 101):
        clock.now += 1 / 64
        progress.update(done, 100)

    assert [event["done"] for event in events_in(tmp_path / "events")] == [1, 33, 65, 97, 100]


def test_events_stay_json_before_the_first_image_and_when_a_loss_is_nan(
    tmp_path: Path, clock: Clock
) -> None:
    progress = Progress("step", tmp_path / "events", io.StringIO())

    progress.update(0, 100)
    clock.now += 1
    progress.update(100, 100, loss=float("nan"))

    assert [event["done"] for event in events_in(tmp_path / "events")] == [0, 100]


def test_without_a_runner_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    progress = Progress("step", stream=io.StringIO())
    progress.event("start")
    progress.update(1, 1)

    assert list(tmp_path.iterdir()) == []
