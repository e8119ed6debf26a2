"""The scatter plot of a latent space."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from genpipe.metrics.latent import Plane
from genpipe.reporting.images import CLASS_COLOURS, LINE_COLOUR, PLANE_COLOUR, write_png

# Large enough where a report shows the picture at half its size.
FONT_SIZE, SMALL = 14, 12
RULE_COLOUR = "#3a4653"
SIDE = 4.4  # of the plane, in inches


def draw_scatter(
    path: Path,
    plane: Plane,
    labels: np.ndarray,
    class_names: list[str],
    *,
    title: str,
    prior: bool,
) -> np.ndarray:
    """Draw codes coloured by class, axes to scale, and write a PNG.

    Args:
        path: of the PNG.
        plane: points of n codes.
        labels: (n,) class of each code.
        class_names: for the legend.
        title: above the plot.
        prior: draw the circles of N(0, I) that hold 39% and 86% of its samples.

    Returns:
        (height, width, 4) uint8, the picture: as dark about the plane as on it, on any page.
    """
    from matplotlib import style

    with style.context("default"):  # whatever a matplotlibrc of the user's or the folder's says
        pixels = _draw(plane, labels, class_names, title, prior=prior)
    write_png(path, pixels)
    return pixels


def _draw(
    plane: Plane, labels: np.ndarray, class_names: list[str], title: str, *, prior: bool
) -> np.ndarray:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import to_rgba_array
    from matplotlib.figure import Figure
    from matplotlib.patheffects import withStroke

    longest = max(map(len, class_names), default=1)
    columns = max(1, min(len(class_names), int(SIDE / (0.45 + 0.12 * longest))))
    rows = max(1, -(-len(class_names) // columns))
    width, height = SIDE + 1.05, SIDE + 1.15 + 0.3 * rows  # beside the plane is room for text
    figure = Figure(figsize=(width, height), dpi=100, facecolor=PLANE_COLOUR)
    canvas = FigureCanvasAgg(figure)
    place = (0.95 / width, 1 - (SIDE + 0.35) / height, SIDE / width, SIDE / height)
    axes = figure.add_axes(place, facecolor=PLANE_COLOUR)
    colours = to_rgba_array(CLASS_COLOURS)[np.arange(len(class_names)) % len(CLASS_COLOURS)]
    # Drawn in the codes' own order, so that no class hides another for being drawn last.
    across, up = plane.points.T
    axes.scatter(across, up, c=colours[labels], s=6, linewidths=0, alpha=0.9, rasterized=True)
    for name, colour in zip(class_names, colours, strict=True):
        axes.scatter([], [], facecolor=colour, edgecolor=LINE_COLOUR, lw=0.6, s=70, label=name)
    if prior:
        angle = np.linspace(0, 2 * np.pi, 200)
        for radius, label in ((1, "N(0, I): 1 sd"), (2, "2 sd")):
            circle = radius * np.cos(angle), radius * np.sin(angle)
            axes.plot(*circle, color=LINE_COLOUR, lw=1.2, ls="--")
            at = radius * 0.5**0.5
            outline = withStroke(linewidth=4, foreground=PLANE_COLOUR)
            axes.text(at, at, label, color=LINE_COLOUR, path_effects=[outline], fontsize=SMALL)
    low, high = np.percentile(plane.points, [0.2, 99.8], axis=0)
    centre, reach = (low + high) / 2, max((high - low).max() / 2 * 1.08, 2.1 if prior else 1e-3)
    axes.set_xlim(centre[0] - reach, centre[0] + reach)
    axes.set_ylim(centre[1] - reach, centre[1] + reach)
    axes.plot(0, 0, marker="+", color=LINE_COLOUR, markersize=12, markeredgewidth=1.6)
    axes.set_aspect("equal")
    axes.spines[:].set_color(RULE_COLOUR)
    axes.locator_params(nbins=6)
    axes.tick_params(colors=LINE_COLOUR, labelsize=FONT_SIZE)
    axes.set_xlabel(plane.axes[0], color=LINE_COLOUR, fontsize=SMALL)
    axes.set_ylabel(plane.axes[1], color=LINE_COLOUR, fontsize=SMALL)
    axes.set_title(title, fontsize=SMALL, color=LINE_COLOUR)
    figure.legend(
        loc="lower center",
        frameon=False,
        fontsize=FONT_SIZE,
        labelcolor=LINE_COLOUR,
        ncols=-(-len(class_names) // rows),
        handletextpad=0.1,
        columnspacing=1.0,
        borderaxespad=0.1,
    )
    canvas.draw()
    return np.asarray(canvas.buffer_rgba()).copy()
