"""The report's charts."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from genpipe.reporting.charts import (
    Series,
    latent_size_chart,
    nice_ticks,
    thin_out,
    training_chart,
)
from genpipe.reporting.curves import lone_values


def test_a_latent_size_chart_has_a_marker_for_every_point_and_a_tick_for_every_size() -> None:
    series = [
        Series("VAE", "vae", [(2, 0.04), (10, 0.02), (100, 0.02)]),
        Series("PCA", "pca", [(2, 0.05), (10, 0.03)]),
    ]

    drawing = latent_size_chart(series, label="error")

    assert drawing.count('class="point vae"') == 3
    assert drawing.count('class="point pca"') == 2
    assert drawing.count('class="tick"') == 3
    assert "VAE, latent size 10: 0.02" in drawing
    ElementTree.fromstring(drawing)


def test_a_point_with_an_interval_has_a_bar_as_high_as_that() -> None:
    line = Series("PCA", "pca", [(2, 1.0), (10, 3.0)], intervals=[(0.5, 1.5), ()])

    drawing = str(latent_size_chart([line], label="error"))

    low, high = map(float, re.findall(r"([\d.]+)h8m-4 0V([\d.]+)m-4 0h8", drawing)[0])
    ticks = [float(y) for y in re.findall(r'class="rule" d="M48 ([\d.]+)H', drawing)]
    assert low - high == pytest.approx((ticks[0] - ticks[-1]) / 3, abs=0.2)  # of 0 to 3
    assert "PCA, latent size 2: 1 (0.5 to 1.5)<" in drawing
    assert "PCA, latent size 10: 3<" in drawing


def test_latent_sizes_are_placed_by_their_logarithm() -> None:
    drawing = latent_size_chart([Series("VAE", "vae", [(1, 1), (10, 1), (100, 1)])], label="x")
    squares = [float(e.get("x", "")) for e in ElementTree.fromstring(drawing).iter("rect")]

    assert squares[1] - squares[0] == pytest.approx(squares[2] - squares[1], abs=0.2)


@pytest.mark.parametrize("points", [[(2, 0.0)], [(2, 0.0), (10, 0.0)], [(3, 1e-9)], [(5, 1e9)]])
def test_charts_of_odd_figures_still_draw(points: list[tuple[float, float]]) -> None:
    for share in (False, True):
        drawing = latent_size_chart([Series("VAE", "vae", points)], label="x", share=share)
        assert "nan" not in drawing
        assert "inf" not in drawing


def test_a_label_is_escaped() -> None:
    drawing = latent_size_chart([Series("<b>", "vae", [(2, 1)])], label='"><script>')

    assert "<script>" not in drawing
    assert "<b>" not in drawing


def test_a_curve_is_cut_off_where_it_leaves_the_familys_range() -> None:
    exploding = Series("loss", "dcgan", [(1, 1.0), (2, 2.0), (3, 1e9)])

    drawing = training_chart([exploding], label="x", x_unit="step", x_range=(1, 10), y_range=(0, 3))

    [line] = ElementTree.fromstring(drawing).iter("polyline")
    assert len(line.get("points", "").split()) == 2


def test_curves_of_one_point_are_told_in_words() -> None:
    lone = [Series("loss", "vae", [(1, 0.25)]), Series("validation loss", "vae", [(1, 0.5)])]

    words = lone_values(lone, "epoch")

    assert words == "One value each, at epoch 1: loss 0.25, validation loss 0.5"
    assert lone_values([*lone, Series("loss", "vae", [(1, 1), (2, 1)])], "epoch") == ""
    assert lone_values([Series("loss", "vae", [])], "epoch") == ""


def test_nothing_to_draw_is_no_drawing() -> None:
    empty = [Series("VAE", "vae", [])]

    assert latent_size_chart(empty, label="x") == ""
    assert training_chart(empty, label="x", x_unit="epoch", x_range=(0, 1), y_range=(0, 1)) == ""


def test_a_long_curve_is_thinned_out_and_keeps_its_mean_and_end() -> None:
    points = [(float(step), math.sin(step)) for step in range(4000)]

    thin = thin_out(points, 80)

    assert len(thin) == 80
    assert thin[-1][0] == 3999
    assert sum(y for _, y in thin) / 80 == pytest.approx(sum(y for _, y in points) / 4000)


def test_ticks_are_round_and_span_the_values() -> None:
    assert nice_ticks(0, 0.056, 5) == [0, 0.02, 0.04, 0.06]
    assert nice_ticks(31, 62, 3) == [20, 40, 60, 80]
