"""The report as a reader uses it, in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from html import escape
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from genpipe.cells import Cell, Status
from genpipe.families.registry import all_families
from genpipe.reporting.report import in_run_folder
from genpipe.reporting.results import Result
from tests.genpipe.reporting.test_report import complete, report

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no `chromium` on PATH to open pages in")
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
UNFOLD = "for (const part of document.querySelectorAll('details')) part.open = true"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    options = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of a cell a family, and of one that diverged."""
    folder = tmp_path_factory.mktemp("report")
    results = [complete(Cell(family, 2), folder) for family in all_families()]
    results.append(Result(Cell("vae", 10), Status.DIVERGED, "loss is NaN at step 7" * 20))
    (folder / "page.html").write_text(report(results), encoding="utf-8")
    return folder / "page.html"


def test_a_phone_shows_the_page_without_panning_and_rows_as_cards(
    browser: Browser, page_file: Path
) -> None:
    page = browser.new_page(**PHONE)
    page.goto(page_file.as_uri())
    page.evaluate(UNFOLD)

    assert page.evaluate("document.documentElement.scrollWidth") == 390
    row = page.locator("section tr", has_text="N(0, I)").first
    assert "\N{EN DASH}" not in row.inner_text()
    label, value = (
        page.locator("td[data-label='Precision']").first.evaluate(script)
        for script in (
            "cell => getComputedStyle(cell, '::before').content",
            "cell => cell.innerText",
        )
    )
    assert (label, value) == ('"Precision\N{NO-BREAK SPACE}↑"', "70.0%")


def test_a_phone_folds_details_and_a_link_opens_what_it_leads_into(
    browser: Browser, page_file: Path
) -> None:
    phone, wide = browser.new_page(**PHONE), browser.new_page()
    for page in (phone, wide):
        page.goto(page_file.as_uri())
    height = "document.documentElement.scrollHeight"
    folded = phone.evaluate(height)
    assert wide.get_by_alt_text("test images in the top row").first.is_visible()
    assert phone.locator("#verdicts img").first.is_visible()
    assert phone.locator("td[data-label='Precision']").first.is_visible()
    assert not phone.get_by_alt_text("test images in the top row").first.is_visible()
    right_ends = phone.locator(".contents a").evaluate_all(
        "links => links.map(link => link.getBoundingClientRect().right)"
    )
    assert max(right_ends) <= 390

    phone.locator(".contents a", has_text="Reconstructions").tap()
    phone.get_by_alt_text("test images in the top row").first.wait_for()
    phone.locator("#verdicts a.term").first.tap()
    phone.locator("#metric-mean_squared_error").wait_for()

    phone.evaluate(UNFOLD)
    assert phone.evaluate(height) > 2 * folded


def test_the_card_of_a_single_family_uses_the_width(browser: Browser, tmp_path: Path) -> None:
    html = report([complete(Cell("vae", 2), tmp_path)])
    (tmp_path / "page.html").write_text(html, encoding="utf-8")
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto((tmp_path / "page.html").as_uri())

    picture, metrics = (
        page.locator(f"article:has(figure) {part}").bounding_box() for part in ("img", "dl")
    )

    assert picture
    assert metrics
    assert picture["x"] + picture["width"] < metrics["x"]
    assert metrics["y"] < picture["y"] + picture["height"]


def test_a_window_too_narrow_for_the_table_says_that_it_scrolls(
    browser: Browser, page_file: Path
) -> None:
    for width, told in ((1280, False), (800, True), (390, False)):
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.goto(page_file.as_uri())
        assert page.get_by_text("The table scrolls sideways.").first.is_visible() == told


def test_the_contents_stay_in_sight_and_a_metric_leads_to_its_meaning(
    browser: Browser, page_file: Path
) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(page_file.as_uri())

    page.locator("thead a", has_text="Precision").first.click()

    meaning = page.locator("#metric-precision")
    box, contents = meaning.bounding_box(), page.locator(".contents").bounding_box()
    assert box
    assert contents
    assert contents["y"] == 0
    assert contents["height"] <= box["y"] < 800


def test_links_work_in_the_frames_that_show_the_page_on_kubeflow(
    browser: Browser, page_file: Path, tmp_path: Path
) -> None:
    html = page_file.read_text(encoding="utf-8")
    frame = f'<iframe sandbox="allow-scripts" height="700" srcdoc="{escape(html)}"></iframe>'
    (tmp_path / "frame.html").write_text(frame, encoding="utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "frame.html").as_uri())
    inner = page.frame_locator("iframe")

    inner.locator(".contents a", has_text="Metrics").click()

    [_, frame_within] = page.frames
    frame_within.wait_for_function("scrollY > 1000")
    assert inner.locator("#metrics").is_visible()


def test_logs_are_linked_where_they_lie_beside_the_page(
    browser: Browser, page_file: Path, tmp_path: Path
) -> None:
    html = page_file.read_text(encoding="utf-8")
    (tmp_path / "in-run.html").write_text(in_run_folder(html), encoding="utf-8")
    for path, there in ((page_file, False), (tmp_path / "in-run.html", True)):
        page = browser.new_page()
        page.goto(path.as_uri())
        assert page.get_by_text("Log of train").first.is_visible() == there
