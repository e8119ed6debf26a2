from __future__ import annotations

import numpy as np
import pytest
from rich.console import Console

from pipelines.console.sketches import BARS, WIDTH, digit, shows_greys, sparkline


def test_a_sparkline_goes_from_the_lowest_bar_to_the_highest() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == BARS


def test_a_long_curve_becomes_as_many_bars_as_there_is_room_for() -> None:
    falling = sparkline(range(1000, 0, -1), 12)

    assert len(falling) == 12
    assert (falling[0], falling[-1]) == (BARS[-1], BARS[0])
    assert list(falling) == sorted(falling, reverse=True)


def test_a_flat_curve_and_none_at_all_are_no_errors() -> None:
    assert sparkline([3.0, 3.0], 12) == BARS[0] * 2
    assert sparkline([], 12) == ""


def test_a_single_value_is_no_curve() -> None:
    assert sparkline([3.0], 12) == ""


def test_curves_on_one_scale_compare() -> None:
    high, low = (sparkline(curve, 2, (0, 8)) for curve in ([8, 8], [1, 1]))

    assert (high, low) == (BARS[-1] * 2, BARS[1] * 2)


def test_without_colours_a_bright_pixel_is_a_dot_at_its_place() -> None:
    image = np.zeros((28, 28), np.uint8)
    image[2, 2] = image[25, 25] = 255  # the corners of what is drawn

    lines = [line.plain for line in digit(image, greys=False)]

    assert {len(line) for line in lines} == {WIDTH}
    assert lines[0] == "\u2801" + "\u2800" * 11
    assert lines[-1] == "\u2800" * 11 + "\u2880"


def test_with_colours_a_character_shows_two_pixels_in_their_greys() -> None:
    image = np.zeros((28, 28), np.uint8)
    image[2:4, 2:4] = 200
    image[4:6, 2:4] = 100

    lines = digit(image, greys=True)
    first = lines[0].spans[0].style

    assert [len(line) for line in lines] == [WIDTH] * (WIDTH // 2)
    assert first.color.triplet == (200, 200, 200)  # type: ignore[union-attr]
    assert first.bgcolor.triplet == (100, 100, 100)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("environment", "greys"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({"TERM": "xterm"}, False),
    ],
)
def test_greys_need_a_terminal_that_has_them_and_may_use_them(
    environment: dict[str, str], greys: bool
) -> None:
    assert shows_greys(Console(force_terminal=True, _environ=environment)) is greys
