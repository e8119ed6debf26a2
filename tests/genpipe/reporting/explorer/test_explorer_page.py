"""The explorer as a reader uses it, in a real browser."""

from __future__ import annotations

import base64
import io
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from genpipe.reporting.explorer.page import cells_that_fit, empty_page, explorer, explorer_page
from tests.genpipe.reporting.explorer.explored import Explored

CHROMIUM = shutil.which("chromium")
EXPLORER = "document.querySelector('[data-explorer]').explorer"
IN_A_BROWSER = pytest.mark.skipif(CHROMIUM is None, reason="no `chromium` on PATH to open pages in")
# A blend of compressed images.
SMALL = 0.03


@dataclass
class Opened:
    """A page in a browser, and all that it said and asked for."""

    page: Page
    said: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def at(self, point: Sequence[float] | str) -> tuple[float, float]:
        """Where a point of the plane, or an expression for one, is in the window."""
        expression = point if isinstance(point, str) else json.dumps(list(point))
        x, y = self.page.evaluate(f"{EXPLORER}.toScreen({expression})")
        box = self.page.locator("[data-plane]").bounding_box()
        assert box
        return box["x"] + x, box["y"] + y

    def images(self, selector: str) -> np.ndarray:
        """The images on a canvas side by side, as (n, height, width, 3) in [0, 1]."""
        self.page.evaluate("new Promise(requestAnimationFrame)")
        uri = self.page.locator(selector).evaluate("canvas => canvas.toDataURL()")
        content = io.BytesIO(base64.b64decode(uri.partition(",")[2]))
        picture = np.asarray(Image.open(content).convert("RGB")) / 255
        width = self.page.evaluate(f"{EXPLORER}.width")
        return picture.reshape(len(picture), -1, width, 3).swapaxes(0, 1)

    def text(self, name: str) -> str:
        return self.page.locator(f"[data-{name}]").inner_text()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def open_page(browser: Browser, path: Path, html: str, **options: Any) -> Opened:
    page = browser.new_page(**options)
    opened = Opened(page)
    page.on("console", lambda message: opened.said.append(message.text))
    page.on("pageerror", lambda error: opened.said.append(str(error)))
    page.on("request", lambda request: opened.requests.append(request.url))
    path.write_text(html, encoding="utf-8")
    page.goto(path.as_uri())
    return opened


def open_cell(browser: Browser, folder: Path, explored: Explored, **options: Any) -> Opened:
    opened = open_page(browser, folder / "page.html", explorer_page(explored.cell), **options)
    opened.page.wait_for_function(f"{EXPLORER}.plane")
    return opened


def decoded(explored: Explored, code: np.ndarray) -> np.ndarray:
    """What the model itself makes of a code: (height, width, 1 or 3) in [0, 1]."""
    [image] = explored.model.decode(code[None].astype(np.float32))
    return image / 255


def code_at(explored: Explored, plane: int, place: Sequence[float]) -> np.ndarray:
    """The code at a place of a plane, from the places of codes that span it."""
    points = np.array(explored.cell["planes"][plane]["points"])
    lifted = np.column_stack([points[:, :2], np.ones(len(points))])
    on_it = points[:, 2] == 0
    spanned, *_ = np.linalg.lstsq(lifted[on_it], explored.codes[on_it])
    return np.array([*place, 1]) @ spanned


def off(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).mean())


@IN_A_BROWSER
@pytest.mark.parametrize(("name", "plane"), [("vae", 0), ("autoencoder", 2)])
def test_pointing_at_a_code_shows_what_the_decoder_makes_of_it(
    name: str, plane: int, request: pytest.FixtureRequest, browser: Browser, tmp_path: Path
) -> None:
    explored: Explored = request.getfixturevalue(name)
    opened = open_cell(browser, tmp_path, explored)
    if plane:
        opened.page.locator("[data-choice]").select_option(str(plane))
        opened.page.wait_for_function(f"{EXPLORER}.plane === {EXPLORER}.cell.planes[{plane}]")
    points = explored.cell["planes"][plane]["points"]
    there = [i for i, (*_, away) in enumerate(points) if away == 0]

    for index in [there[0], there[len(there) // 2], there[-1]]:
        opened.page.mouse.click(*opened.at(f"{EXPLORER}.plane.points[{index}]"))
        # Where codes lie on top of each other, the click chooses one of them.
        chosen = opened.page.evaluate(f"{EXPLORER}.plane.points.indexOf({EXPLORER}.held)")
        [shown] = opened.images("[data-image]")

        assert off(shown, decoded(explored, explored.codes[chosen])) < SMALL
        label = explored.labels[chosen]
        others = [decoded(explored, code) for code in explored.codes[explored.labels != label][:20]]
        assert np.median([off(shown, other) for other in others]) > 2 * SMALL
        assert opened.text("near") == f"The code of a test image: {label}"
    assert opened.said == []
    # Its picture stands in the page.
    assert [url for url in opened.requests if not url.startswith("data:")] == [
        (tmp_path / "page.html").as_uri()
    ]


@IN_A_BROWSER
def test_between_the_codes_the_plane_is_decoded_where_the_pointer_is(
    vae: Explored, browser: Browser, tmp_path: Path
) -> None:
    opened = open_cell(browser, tmp_path, vae)

    for code in np.array([[0.0, 0.0], [-1.5, 0.5], [1.0, 1.5]]):
        opened.page.mouse.move(*opened.at(code))
        [shown] = opened.images("[data-image]")
        assert off(shown, decoded(vae, code)) < SMALL


@IN_A_BROWSER
def test_noise_is_explored_too_and_makes_images_of_any_shape_and_colour(
    dcgan: Explored, browser: Browser, tmp_path: Path
) -> None:
    opened = open_cell(browser, tmp_path, dcgan)

    point = opened.page.evaluate(f"{EXPLORER}.plane.points.indexOf({EXPLORER}.at)")
    [shown] = opened.images("[data-image]")

    draws = np.random.default_rng(0).standard_normal((600, 3))
    real = decoded(dcgan, draws[point])
    assert real.shape == shown.shape == (12, 20, 3)
    assert real.std() > 0.1
    assert off(shown, real) < SMALL
    assert f"{np.linalg.norm(draws[point]):.2f} from 0, where a draw" in opened.text("near")
    assert "N(0, I) is about 1.73" in opened.text("near")
    assert opened.said == []


@IN_A_BROWSER
def test_a_drag_from_code_to_code_gives_the_interpolation_between_them(
    autoencoder: Explored, browser: Browser, tmp_path: Path
) -> None:
    opened = open_cell(browser, tmp_path, autoencoder)
    opened.page.locator("[data-choice]").select_option("1")
    opened.page.wait_for_function(f"{EXPLORER}.plane === {EXPLORER}.cell.planes[1]")
    points = autoencoder.cell["planes"][1]["points"]
    first, last, _ = [i for i, (*_, away) in enumerate(points) if away == 0]
    start, end = (opened.at(f"{EXPLORER}.plane.points[{index}]") for index in (first, last))

    assert not opened.page.locator("[data-strip]").is_visible()
    opened.page.mouse.move(*start)
    opened.page.mouse.down()
    opened.page.mouse.move(*end, steps=4)
    opened.page.mouse.up()
    opened.page.wait_for_selector("[data-images] canvas")
    strip = opened.images("[data-images] canvas")

    ends = [opened.page.evaluate(f"{EXPLORER}.{name}.slice(0, 2)") for name in ("start", "end")]
    codes = [code_at(autoencoder, 1, place) for place in ends]
    for share, shown in zip(np.linspace(0, 1, 9), strip, strict=True):
        assert off(shown, decoded(autoencoder, codes[0] + share * (codes[1] - codes[0]))) < SMALL


@IN_A_BROWSER
def test_the_keyboard_does_all_that_a_pointer_does(
    vae: Explored, browser: Browser, tmp_path: Path
) -> None:
    opened = open_cell(browser, tmp_path, vae)
    plane, keyboard = opened.page.locator("[data-plane]"), opened.page.keyboard

    while not plane.evaluate("plane => plane === document.activeElement"):
        keyboard.press("Tab")
    assert plane.evaluate("plane => getComputedStyle(plane).outlineStyle") == "solid"
    before = opened.page.evaluate(f"{EXPLORER}.at.slice(0, 2)")
    keyboard.press("ArrowRight")
    keyboard.press("Shift+ArrowUp")
    after = opened.page.evaluate(f"{EXPLORER}.at")
    assert after[0] > before[0]
    assert after[1] - before[1] > 3 * (after[0] - before[0])
    [shown] = opened.images("[data-image]")
    assert off(shown, decoded(vae, np.array(after))) < SMALL

    keyboard.press("s")
    strip = opened.images("[data-images] canvas")
    assert off(strip[0], decoded(vae, np.array(before))) < SMALL
    assert off(strip[-1], shown) < 1e-6
    keyboard.press("Enter")
    assert opened.page.evaluate(f"{EXPLORER}.held") == after
    # Where it is, and what lies there, is spoken: after a moment, not at every step.
    opened.page.wait_for_function(
        "document.querySelector('[data-live]').textContent.startsWith('Image decoded at ')"
    )


@IN_A_BROWSER
def test_a_finger_does_too_on_a_phone_and_nothing_is_wider_than_the_window(
    autoencoder: Explored, browser: Browser, tmp_path: Path
) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "color_scheme": "dark"}
    opened = open_cell(browser, tmp_path, autoencoder, **phone)
    opened.page.locator("[data-plane]").scroll_into_view_if_needed()

    opened.page.touchscreen.tap(*opened.at(f"{EXPLORER}.plane.points[9]"))

    assert "from the nearest test code: " in opened.text("near")
    assert opened.page.evaluate("document.body.scrollWidth <= innerWidth")


@IN_A_BROWSER
def test_a_touch_screen_is_told_of_touches_and_a_pointer_of_clicks(
    autoencoder: Explored, browser: Browser, tmp_path: Path
) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
    for options, told, untold in (({}, "Click", "Touch"), (phone, "Touch", "Click")):
        opened = open_cell(browser, tmp_path, autoencoder, **options)
        text = opened.page.locator(".explorer-help").inner_text()
        assert told in text
        assert untold not in text


@IN_A_BROWSER
def test_a_touch_screen_is_told_of_classes_where_there_are_some(
    dcgan: Explored, autoencoder: Explored, browser: Browser, tmp_path: Path
) -> None:
    for explored, told in ((autoencoder, True), (dcgan, False)):
        opened = open_cell(browser, tmp_path, explored, has_touch=True, is_mobile=True)
        help_text = opened.page.locator(".explorer-help").inner_text()
        assert ("A class below the plane" in help_text) == told


@IN_A_BROWSER
def test_a_class_is_brought_out_in_both_layers(
    autoencoder: Explored, browser: Browser, tmp_path: Path
) -> None:
    opened = open_cell(browser, tmp_path, autoencoder)
    plane = "canvas => canvas.toDataURL()"
    shown = []
    for layer in ("codes", "images"):
        opened.page.locator(f"[data-layer={layer}]").click()
        shown.append(opened.page.locator("[data-plane]").evaluate(plane))
        opened.page.locator("[data-classes] button").first.click()
        shown.append(opened.page.locator("[data-plane]").evaluate(plane))
        opened.page.locator("[data-classes] button").first.click()

    assert len(set(shown)) == 4


@IN_A_BROWSER
def test_a_link_opens_a_cell_and_the_cell_leads_back_to_its_samples(
    vae: Explored, autoencoder: Explored, browser: Browser, tmp_path: Path
) -> None:
    cells = [vae.cell, autoencoder.cell]
    name = autoencoder.cell["cell"]
    page = f'<a id="samples-{name}" href="#explorer-{name}">open</a>{explorer(cells)}'
    opened = open_page(browser, tmp_path / "report.html", page)
    assert opened.page.locator("[data-cell]").input_value() == "0"
    assert opened.page.locator("[data-samples]").is_hidden()

    opened.page.locator("a").first.click()

    opened.page.wait_for_function("document.querySelector('[data-cell]').value === '1'")
    assert opened.page.locator("[data-samples]").get_attribute("href") == f"#samples-{name}"


@IN_A_BROWSER
def test_it_opens_on_the_cell_that_is_asked_for(
    vae: Explored, autoencoder: Explored, browser: Browser, tmp_path: Path
) -> None:
    page = explorer([vae.cell, autoencoder.cell], autoencoder.cell["cell"])

    opened = open_page(browser, tmp_path / "report.html", page)

    title = opened.page.evaluate(f"{EXPLORER}.cell.title")
    assert title == autoencoder.cell["title"]


@IN_A_BROWSER
def test_it_runs_in_the_frames_that_show_it_on_kubeflow_and_wandb(
    vae: Explored, browser: Browser, tmp_path: Path
) -> None:
    # A frame without an origin, that may run scripts and nothing else.
    frame = f'<iframe sandbox="allow-scripts" srcdoc="{escape(explorer_page(vae.cell))}">'
    opened = open_page(browser, tmp_path / "frame.html", frame)

    near = opened.page.frame_locator("iframe").locator("[data-near]")
    near.filter(has_text="The code of a test image").wait_for()
    assert opened.said == []


def test_what_comes_from_outside_stays_text(vae: Explored) -> None:
    hostile = "</script><script>alert(1)</script>"

    page = explorer_page({**vae.cell, "title": hostile, "classes": [hostile] * 10})

    assert hostile not in page
    assert hostile not in empty_page(hostile, hostile)


def test_the_cells_that_matter_most_are_given_room_first() -> None:
    small, large = {"data": "x" * 100}, {"data": "x" * 1000}

    assert cells_that_fit([large, small, small], 1200) == [large, small]
    assert cells_that_fit([small, large, small], 400) == [small, small]
    assert cells_that_fit([large], 400) == []
