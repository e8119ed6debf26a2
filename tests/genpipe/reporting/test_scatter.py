from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from PIL import Image

from genpipe.metrics.latent import Plane
from genpipe.reporting.scatter import draw_scatter

NAMES = ["zero", "one", "two"]


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[matplotlib.figure.Figure]:
    """The figures that are drawn."""
    made: list[matplotlib.figure.Figure] = []

    class Figure(matplotlib.figure.Figure):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            made.append(self)

    monkeypatch.setattr(matplotlib.figure, "Figure", Figure)
    return made


def luminance(colour: str) -> float:
    red, green, blue = (((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour))
    return float(0.2126 * red + 0.7152 * green + 0.0722 * blue)


def draw(path: Path, *, prior: bool = False, stretch: float = 1.0) -> np.ndarray:
    random = np.random.default_rng(0)
    points = random.normal(size=(300, 2)) * [stretch, 1]
    plane = Plane(points, ("code unit 1", "code unit 2"))
    labels = random.integers(0, 3, 300)
    return draw_scatter(path, plane, labels, NAMES, title="VAE 2: codes", prior=prior)


def test_the_png_is_the_picture(tmp_path: Path) -> None:
    picture = draw(tmp_path / "scatter.png")

    with Image.open(tmp_path / "scatter.png") as image:
        np.testing.assert_array_equal(np.asarray(image), picture)
    assert picture.dtype == np.uint8
    # The plane, and the colours of the three classes.
    assert len(np.unique(picture.reshape(-1, 4), axis=0)) > 3


def test_its_text_stands_out_from_its_ground_on_any_page(
    tmp_path: Path, figures: list[matplotlib.figure.Figure]
) -> None:
    picture = draw(tmp_path / "scatter.png", prior=True)

    assert (picture[..., 3] == 255).all()
    ground = luminance(to_hex(picture[0, 0, :3] / 255))
    axes = figures[0].axes[0]
    texts = [*figures[0].legends[0].get_texts(), axes.title, axes.xaxis.label, axes.yaxis.label]
    for text in (*texts, *axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels()):
        assert (luminance(to_hex(text.get_color())) + 0.05) / (ground + 0.05) >= 4.5


@pytest.mark.parametrize("stretch", [1.0, 20.0, 0.05])
def test_a_unit_is_as_long_on_both_axes(
    tmp_path: Path, figures: list[matplotlib.figure.Figure], stretch: float
) -> None:
    draw(tmp_path / "scatter.png", stretch=stretch)

    axes = figures[0].axes[0]
    origin, right, up = axes.transData.transform([(0, 0), (1, 0), (0, 1)])
    assert right[0] - origin[0] == pytest.approx(up[1] - origin[1])
    assert axes.get_aspect() == 1


def test_title_axes_and_classes_are_named(
    tmp_path: Path, figures: list[matplotlib.figure.Figure]
) -> None:
    draw(tmp_path / "scatter.png")

    axes = figures[0].axes[0]
    assert axes.get_title() == "VAE 2: codes"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("code unit 1", "code unit 2")
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == NAMES


def test_the_prior_is_drawn_whole_where_there_is_one(
    tmp_path: Path, figures: list[matplotlib.figure.Figure]
) -> None:
    without, with_prior = (draw(tmp_path / "scatter.png", prior=prior) for prior in (False, True))

    axes = figures[1].axes[0]
    circles = [line.get_xydata() for line in axes.lines if len(line.get_xdata()) > 10]
    radii = [np.unique(np.linalg.norm(circle, axis=1).round(6)).tolist() for circle in circles]
    assert radii == [[1], [2]]
    assert axes.get_xlim()[0] < axes.get_xlim()[1]
    assert [text.get_text() for text in axes.texts] == ["N(0, I): 1 sd", "2 sd"]
    assert not np.array_equal(without, with_prior)


def test_one_stray_code_does_not_shrink_the_rest(
    tmp_path: Path, figures: list[matplotlib.figure.Figure]
) -> None:
    points = np.concatenate([np.random.default_rng(0).uniform(-1, 1, (2000, 2)), [[1e4, 0]]])
    labels = np.zeros(2001, int)

    draw_scatter(
        tmp_path / "a.png", Plane(points, ("x", "y")), labels, ["zero"], title="", prior=False
    )

    assert figures[0].axes[0].get_xlim()[1] < 2


def test_codes_at_one_point_are_drawn(tmp_path: Path) -> None:
    plane = Plane(np.zeros((5, 2)), ("x", "y"))

    draw_scatter(tmp_path / "a.png", plane, np.zeros(5, int), ["zero"], title="", prior=False)

    assert (tmp_path / "a.png").stat().st_size > 0
