"""The scatter plot of a latent space."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from genpipe.metrics.latent import Plane
from genpipe.reporting.images import CLASS_COLOURS, LINE_COLOUR, PLANE_COLOUR, write_png


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
        (height, width, 3) uint8, the picture.
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

    figure = Figure(figsize=(6.4, 5.4), dpi=110, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot(facecolor=PLANE_COLOUR)
    colours = to_rgba_array(CLASS_COLOURS)[np.arange(len(class_names)) % len(CLASS_COLOURS)]
    # Drawn in the codes' own order, so that no class hides another for being drawn last.
    across, up = plane.points.T
    axes.scatter(across, up, c=colours[labels], s=3, linewidths=0, alpha=0.85, rasterized=True)
    for name, colour in zip(class_names, colours, strict=True):
        axes.scatter([], [], facecolor=colour, edgecolor=PLANE_COLOUR, s=24, label=name)
    if prior:
        angle = np.linspace(0, 2 * np.pi, 200)
        for radius in (1, 2):
            circle = radius * np.cos(angle), radius * np.sin(angle)
            axes.plot(*circle, color=LINE_COLOUR, lw=0.8, ls="--")
        axes.plot([], [], color=PLANE_COLOUR, lw=0.8, ls="--", label="N(0, I): 1 and 2 sd")
    low, high = np.percentile(plane.points, [0.2, 99.8], axis=0)
    centre, reach = (low + high) / 2, max((high - low).max() / 2 * 1.08, 2.1 if prior else 1e-3)
    axes.set_xlim(centre[0] - reach, centre[0] + reach)
    axes.set_ylim(centre[1] - reach, centre[1] + reach)
    axes.plot(0, 0, marker="+", color=LINE_COLOUR, markersize=12, markeredgewidth=1.6)
    axes.set_aspect("equal")
    axes.set_xlabel(plane.axes[0])
    axes.set_ylabel(plane.axes[1])
    axes.set_title(title, fontsize=11)
    figure.legend(loc="outside right center", frameon=False, fontsize=8)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
