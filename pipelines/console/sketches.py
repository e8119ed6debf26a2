"""Pictures and curves drawn with characters, for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

BARS = "▁▂▃▄▅▆▇█"
# Pixels around a 28 x 28 image that no digit reaches into: what is left divides by 4 and by 2.
MARGIN = 2
WIDTH = (28 - 2 * MARGIN) // 2  # characters, of a digit
# The bit of each dot of a braille character, by its row and column.
DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])


def sparkline(values: Sequence[float], width: int, span: tuple[float, float] | None = None) -> str:
    """A curve as a line of bars, each the mean of its part of the curve; nothing of one value.

    Args:
        values: finite numbers.
        width: characters at most.
        span: (lowest, highest) value of the scale; the curve's own if left out.
    """
    if len(values) < 2:
        return ""
    parts = np.array_split(np.asarray(values, float), min(width, len(values)))
    means = [float(part.mean()) for part in parts]
    low, high = span or (min(means), max(means))
    step = (high - low) / len(BARS)
    if not step > 0 or not math.isfinite(step):
        return BARS[0] * len(means)
    return "".join(BARS[min(len(BARS) - 1, max(0, int((mean - low) / step)))] for mean in means)


def shows_greys(console: Console) -> bool:
    """Whether the terminal has enough colours for grey pictures, and may use them."""
    return console.color_system in ("256", "truecolor", "windows") and not console.no_color


def digit(image: np.ndarray, *, greys: bool) -> list[Text]:
    """A small image in lines of ``WIDTH`` characters: two pixels a character, or eight dots.

    Args:
        image: (28, 28) uint8, bright on dark.
        greys: draw half blocks in shades of grey; else the same size in braille dots, which need
            no colours.
    """
    inner = np.asarray(image)[MARGIN:-MARGIN, MARGIN:-MARGIN]
    return _half_blocks(inner) if greys else _braille(inner)


def _half_blocks(image: np.ndarray) -> list[Text]:
    height, width = image.shape
    halved = image.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3)).astype(int)
    lines = []
    for above, below in zip(halved[::2], halved[1::2], strict=True):
        line = Text()
        for upper, lower in zip(above.tolist(), below.tolist(), strict=True):
            colours = (Color.from_rgb(*[grey] * 3) for grey in (upper, lower))
            line.append("▀", Style(color=next(colours), bgcolor=next(colours)))
        lines.append(line)
    return lines


def _braille(image: np.ndarray) -> list[Text]:
    height, width = image.shape
    on = (image > 127).reshape(height // 4, 4, width // 2, 2)
    codes = (on * DOTS[None, :, None, :]).sum(axis=(1, 3))
    return [Text("".join(chr(0x2800 + int(code)) for code in row)) for row in codes]
