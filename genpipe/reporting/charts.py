"""Charts of the report, drawn as small inline SVG.

Colours, markers and dashes come from the page's style sheet by class, so that one drawing serves
the light and the dark page. Text sizes suit a drawing shown at about its own width.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from genpipe.reporting.palette import marker

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Args:
        label: what the legend calls it.
        style: CSS classes that give its colour: a family's name, or ``pca``.
        points: (x, y), finite, in the order of x.
        dashed: draw the line dashed.
        intervals: of each point, the low and the high end of y's; empty where it has none. Drawn
            as bars over the latent size, as a band about the curve of a training.
    """

    label: str
    style: str
    points: Sequence[Point]
    dashed: bool = False
    intervals: Sequence[Sequence[float]] = ()


def latent_size_chart(series: Sequence[Series], *, label: str, share: bool = False) -> Markup:
    """Draw metrics over the latent size, with a marker for every point.

    Args:
        series: the lines; x is the latent size, on a logarithmic axis.
        label: what the drawing shows, for those who can't see it.
        share: y is a share in [0, 1], written as a percentage.

    Returns:
        An SVG element; empty if there is no point at all.
    """
    points = [point for line in series for point in line.points]
    if not points:
        return Markup("")
    width, height, left, right, top, bottom = 380, 260, 48, 12, 10, 46
    sizes = sorted({x for x, _ in points})
    ends = (interval[1] for line in series for interval in line.intervals if interval)
    highest = max(*ends, *(y for _, y in points), 0.0)
    y_ticks = [0, 0.25, 0.5, 0.75, 1] if share else nice_ticks(0, highest or 1, 5)
    span = math.log(sizes[-1] / sizes[0]) or 1.0

    def place_x(x: float) -> float:
        if len(sizes) == 1:
            return (left + width - right) / 2
        inset = 14
        return left + inset + math.log(x / sizes[0]) / span * (width - right - left - 2 * inset)

    def place_y(y: float) -> float:
        return height - bottom - y / (y_ticks[-1] or 1) * (height - bottom - top)

    parts = [f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="']
    parts.append(f'{escape(label)}">')
    for tick in y_ticks:
        y = place_y(tick)
        text = f"{100 * tick:.0f}%" if share else f"{tick:g}"
        parts.append(f'<path class="rule" d="M{left} {y:.1f}H{width - right}"/>')
        parts.append(f'<text class="end" x="{left - 8}" y="{y + 4:.1f}">{text}</text>')
    last_text = -math.inf
    for size in sizes:
        x = place_x(size)
        parts.append(f'<path class="tick" d="M{x:.1f} {height - bottom}v5"/>')
        # Latent sizes close together keep their tick; the number goes where it has room.
        if x - last_text >= 26:
            parts.append(f'<text class="middle" x="{x:.1f}" y="{height - 26}">{size:g}</text>')
            last_text = x
    middle = (left + width - right) / 2
    parts.append(f'<text class="middle" x="{middle}" y="{height - 6}">latent size</text>')
    for line in series:
        path = " ".join(f"{place_x(x):.1f},{place_y(y):.1f}" for x, y in line.points)
        dashed = " dashed" if line.dashed else ""
        parts.append(f'<polyline class="line {line.style}{dashed}" points="{path}"/>')
    for line in series:
        intervals = itertools.chain(line.intervals, itertools.repeat(()))
        for (x, y), interval in zip(line.points, intervals, strict=False):
            value = f"{100 * y:.1f}%" if share else f"{y:.4g}"
            if len(interval) == 2:
                low, high = interval
                value += f" ({low:.4g} to {high:.4g})"
                left_end, bottom_end = place_x(x) - 4, place_y(max(low, 0))
                bar = f"M{left_end:.1f} {bottom_end:.1f}h8m-4 0V{place_y(high):.1f}m-4 0h8"
                parts.append(f'<path class="line {line.style}" d="{bar}"/>')
            parts.append(f'<g class="point {line.style}"><title>')
            parts.append(f"{escape(line.label)}, latent size {x:g}: {value}</title>")
            parts.append(f"{marker(line.style, place_x(x), place_y(y))}</g>")
    return Markup("".join([*parts, "</svg>"]))


def training_chart(
    series: Sequence[Series], *, label: str, x_unit: str, x_range: Point, y_range: Point
) -> Markup:
    """Draw the curves of one training, small.

    Args:
        series: the lines; x is the epoch or the step.
        label: what the drawing shows, for those who can't see it.
        x_unit: ``epoch`` or ``step``.
        x_range: (lowest, highest) x of the drawing.
        y_range: (lowest, highest) y of the drawing; what lies outside is cut off.

    Returns:
        An SVG element; empty if there is no point at all.
    """
    if not any(line.points for line in series):
        return Markup("")
    width, height, left, right, top, bottom = 330, 165, 44, 10, 8, 24
    ticks = nice_ticks(*y_range, 3)
    low, high = min(y_range[0], ticks[0]), max(y_range[1], ticks[-1])
    x_begin, x_end = x_range

    def place(point: Point) -> str:
        across = (point[0] - x_begin) / ((x_end - x_begin) or 1)
        up = (point[1] - low) / ((high - low) or 1)
        x = left + across * (width - right - left)
        return f"{x:.1f},{height - bottom - up * (height - bottom - top):.1f}"

    parts = [f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="']
    parts.append(f'{escape(label)}">')
    for tick in ticks:
        y = place((x_begin, tick)).split(",")[1]
        parts.append(f'<path class="rule" d="M{left} {y}H{width - right}"/>')
        parts.append(f'<text class="end" x="{left - 6}" y="{float(y) + 4:.1f}">{tick:g}</text>')
    parts.append(f'<text x="{left}" y="{height - 6}">{x_unit} {x_begin:,.0f}</text>')
    if x_end > x_begin:
        end = f'<text class="end" x="{width - right}" y="{height - 6}">{x_end:,.0f}</text>'
        parts.append(end)
    for line in series:
        upper = [
            (x, min(high_end, high))
            for (x, _), (_, high_end) in zip(line.points, line.intervals, strict=False)
        ]
        lower = [
            (x, max(low_end, low))
            for (x, _), (low_end, _) in zip(line.points, line.intervals, strict=False)
        ]
        if upper:
            band = " ".join(map(place, [*upper, *reversed(lower)]))
            parts.append(f'<polygon class="band {line.style}" points="{band}"/>')
    for line in series:
        inside = [point for point in line.points if low <= point[1] <= high]
        if len(inside) == 1:
            x, y = place(inside[0]).split(",")
            parts.append(f'<g class="point {line.style}"><circle cx="{x}" cy="{y}" r="3"/></g>')
            continue
        path = " ".join(place(point) for point in inside)
        dashed = " dashed" if line.dashed else ""
        parts.append(f'<polyline class="line {line.style}{dashed}" points="{path}"/>')
    return Markup("".join([*parts, "</svg>"]))


def thin_out(points: Sequence[Point], limit: int = 80) -> list[Point]:
    """Bring a long curve down to at most ``limit`` points, each the mean of its neighbours."""
    if len(points) <= limit:
        return list(points)
    edges = [round(index * len(points) / limit) for index in range(limit + 1)]
    groups = [points[begin:end] for begin, end in itertools.pairwise(edges)]
    return [(group[-1][0], sum(y for _, y in group) / len(group)) for group in groups]


def nice_ticks(low: float, high: float, count: int) -> list[float]:
    """Round numbers that span ``low`` to ``high`` in about ``count`` steps of 1, 2 or 5."""
    if not high > low:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]
