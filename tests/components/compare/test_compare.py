"""The compare step from the folders of a run to leaderboard, report and what W&B gets."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.compare.compare import compare
from genpipe.cells import Cell
from genpipe.errors import InputError
from genpipe.families.registry import all_families
from genpipe.metrics.registry import METRICS
from genpipe.reporting import report as report_module
from genpipe.reporting.palette import LOOKS
from genpipe.tracking import Picture, Tracker

SIZES = (2, 10, 100)
CELLS = [Cell(family, size) for family in all_families() for size in SIZES]
TWO_MEGABYTES = 2_000_000


class Recorder(Tracker):
    """Keeps what a step reports."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: dict[str, tuple[list[str], list[list[Any]]]] = {}
        self.pages: dict[str, str] = {}
        self.summary: dict[str, Any] = {}

    def table(self, key: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        self.tables[key] = (list(columns), [list(row) for row in rows])

    def page(self, key: str, html: str) -> None:
        self.pages[key] = html

    def summarize(self, values: Mapping[str, float | int | str | None]) -> None:
        self.summary.update(values)


class Run:
    """A run's folders with small made-up contents, and the compare step over them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.random = np.random.default_rng(0)
        self.models: list[Path] = []
        self.evaluations: list[Path] = []
        self.samples: list[Path] = []
        self.tracker = Recorder()
        splits = {"train": {"size": 55000}, "validation": {"size": 5000}, "test": {"size": 10000}}
        self._json("data/dataset.json", {"name": "mnist", "digest": "sha256:1", "splits": splits})
        self._json("judge/model.json", {"family": "judge", "metrics": {"test_accuracy": 0.9921}})

    def add(
        self, cell: Cell, *, reason: str = "", digest: str = "sha256:1", pictures: int = 24
    ) -> None:
        """Add a cell that is complete, or diverged for a reason; pictures of that many pixels."""
        facts: dict[str, Any] = {
            "family": cell.family.name,
            "latent_size": cell.latent_size,
            "status": "diverged" if reason else "complete",
            **({"reason": reason} if reason else {}),
        }
        dense = cell.family.name != "dcgan"
        training = {"train_seconds": 20.0 + cell.latent_size, "images_per_second": 9000.0}
        training["epochs" if dense else "steps"] = 10
        data = {"name": "mnist", "digest": digest}
        model = self._json(
            f"{cell.name}/model/model.json",
            {**facts, "seed": 7, "data": data, "training": training, "version": "0.1.0"},
        )
        names = ("loss", "validation_loss") if dense else ("discriminator_loss", "generator_loss")
        lines = [",".join(("epoch" if dense else "step", *names))]
        lines += [f"{step},{1 / step},{1.1 / step}" for step in range(1, 11)]
        (model / "history.csv").write_text("\n".join([*lines, "11,nan,nan"]))
        evaluation = self._json(
            f"{cell.name}/evaluation/metrics.json",
            {**facts, "metrics": {} if reason else self._scores(cell)},
        )
        scores = {"mean_confidence": 0.8, "classes_covered": 9}
        scores |= dict.fromkeys(("frechet_distance", "validation_frechet_distance"), 4.5)
        others = ("fitted_gaussian", "mixture") if dense else ()
        scores |= {f"{kind}_frechet_distance": 3.5 for kind in others}
        samples = self._json(
            f"{cell.name}/samples/metrics.json", {**facts, "metrics": {} if reason else scores}
        )
        if pictures and not reason:
            for name in ("grid", *(f"grid_{kind}" for kind in others)):
                self._noise(samples / f"{name}.png", pictures)
            for name in ("reconstructions.png", "latent_scatter.png") if dense else ():
                self._noise(evaluation / name, pictures)
        self.models.append(model)
        self.evaluations.append(evaluation)
        self.samples.append(samples)

    def compare(self, run: str = "run-1", expected: Sequence[Cell] = CELLS) -> str:
        """Run the step; returns the report."""
        compare(
            run=run,
            data=self.root / "data",
            judge=self.root / "judge",
            expected=expected,
            models=self.models,
            evaluations=self.evaluations,
            samples=self.samples,
            leaderboard=self.root / "leaderboard",
            report=self.root / "report",
            tracker=self.tracker,
        )
        return (self.root / "report").read_text(encoding="utf-8")

    @property
    def leaderboard(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(
            (self.root / "leaderboard/leaderboard.json").read_text()
        )
        return content

    def _scores(self, cell: Cell) -> dict[str, float]:
        if cell.family.name == "dcgan":
            return {"discriminator_accuracy_real": 0.7, "discriminator_accuracy_generated": 0.6}
        scores: dict[str, float] = {
            "mean_squared_error": 0.05 / cell.latent_size,
            "pca_mean_squared_error": 0.06 / cell.latent_size,
            "validation_mean_squared_error": 0.05 / cell.latent_size,
        }
        if cell.family.name == "autoencoder":
            return scores | {"dead_units": 1, "code_mean_distance": 12.3}
        units = min(cell.latent_size, 14)
        return scores | {
            "total_loss": 30,
            "validation_total_loss": 30,
            "kl_divergence": 9,
            "active_units": units,
        }

    def _json(self, name: str, content: Mapping[str, Any]) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        return path.parent

    def _noise(self, path: Path, size: int) -> None:
        pixels = self.random.integers(0, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


class Page(HTMLParser):
    """What a test asks of a page: its tags with attributes, its text, whether tags are paired."""

    VOID = ("meta", "img", "br", "path", "rect", "circle", "polyline")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_a_run_with_diverged_and_missing_cells_has_a_row_for_each(run: Run) -> None:
    for cell in CELLS[:-2]:
        run.add(cell)
    run.add(CELLS[-2], reason="loss is NaN at step 1718")

    page = Page(run.compare())

    states = {(c["family"], c["latent_size"]): c["status"] for c in run.leaderboard["cells"]}
    assert states[("dcgan", 10)] == "diverged"
    assert states[("dcgan", 100)] == "missing"
    assert list(states.values()).count("complete") == 7
    assert "7 of 9 cells complete, 1 diverged, 1 missing" in page.text
    for text in ("divergedloss is NaN at step 1718", "missingno artifact arrived"):
        assert text in page.text


def test_the_best_cell_of_each_family_is_marked_in_words(run: Run) -> None:
    for cell in CELLS:
        run.add(cell)

    html = run.compare()

    assert run.leaderboard["best"] == {"autoencoder": 100, "vae": 2, "dcgan": 2}
    marked = re.findall(
        r'<tr class=best><th scope="row">.*</span>(\d+)<span class="badge best">', html
    )
    assert marked == ["100", "2", "2"]


def test_the_plots_have_a_marker_for_every_complete_cell(run: Run) -> None:
    for cell in CELLS[:-1]:
        run.add(cell)
    run.add(CELLS[-1], reason="loss is NaN")

    page = Page(run.compare())

    tips = re.findall(r"(Autoencoder|VAE|DCGAN), latent size (\d+): 4.5<?", page.text)
    assert tips == [
        (name, str(size))
        for name, sizes in (
            ("Autoencoder", SIZES),
            ("VAE", SIZES),
            ("DCGAN", SIZES[:-1]),
        )
        for size in sizes
    ]
    errors = re.findall(r"(Autoencoder|VAE|PCA), latent size (\d+): 0\.", page.text)
    assert len(errors) == 9


def test_the_report_loads_nothing_from_anywhere(run: Run) -> None:
    for cell in CELLS:
        run.add(cell)

    html = run.compare()
    page = Page(html)

    assert "://" not in html
    assert not {"link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    assert page.all("script") == [{}, {}]  # that makes links work in frames, and that folds
    assert "@import" not in html
    assert "url(" not in html
    assert all(str(image["src"]).startswith("data:image/") for image in page.all("img"))
    assert {"charset": "utf-8"} in page.all("meta")


def test_every_picture_says_what_it_shows(run: Run) -> None:
    for cell in CELLS:
        run.add(cell)

    page = Page(run.compare())

    # 9 grids, 6 of the fitted Gaussian, 6 of the mixture, 6 reconstructions, 6 scatters, 3 cards.
    assert len(page.all("img")) == 36
    assert all(image["alt"] for image in page.all("img"))
    drawings = [svg for svg in page.all("svg") if svg.get("role") == "img"]
    assert len(drawings) >= 9
    assert all(svg["aria-label"] for svg in drawings)


def test_headings_descend_without_gaps(run: Run) -> None:
    for cell in CELLS:
        run.add(cell)

    levels = [int(tag[1]) for tag, _ in Page(run.compare()).tags if re.fullmatch(r"h[1-6]", tag)]

    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_names_from_outside_are_escaped(run: Run) -> None:
    hostile = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
    run.add(CELLS[0])
    run.add(CELLS[3], reason=hostile)

    html = run.compare(run=hostile)
    page = Page(html)

    assert page.all("script") == [{}, {}]
    assert all("onerror" not in attributes for _, attributes in page.tags)
    assert html.count("&lt;script&gt;alert(1)") >= 3


def test_the_report_of_thirty_cells_stays_below_two_megabytes(run: Run) -> None:
    cells = [Cell(family, size) for family in all_families() for size in range(1, 11)]
    for cell in cells:
        # Noise is the worst there is to compress: 360 KB a picture as PNG.
        run.add(cell, pictures=350)

    html = run.compare(expected=cells)

    assert len(html.encode("utf-8")) < TWO_MEGABYTES
    assert len(Page(html).all("img")) == 30 + 20 + 20 + 20 + 20 + 3


def test_a_run_without_any_picture_still_has_a_report(run: Run) -> None:
    for cell in CELLS:
        run.add(cell, pictures=0)

    page = Page(run.compare())

    assert page.all("img") == []
    assert page.text.count("No picture arrived") == 9 + 6 + 6 + 6 + 6


def test_a_picture_that_cannot_be_read_does_not_cost_the_report(run: Run) -> None:
    run.add(CELLS[0])
    (run.samples[0] / "grid.png").write_bytes(b"not a picture")

    assert "No picture arrived" in Page(run.compare(expected=CELLS[:1])).text


def test_a_run_of_which_nothing_arrived_still_has_a_leaderboard_and_a_report(run: Run) -> None:
    page = Page(run.compare())

    assert {cell["status"] for cell in run.leaderboard["cells"]} == {"missing"}
    assert run.leaderboard["best"] == {}
    assert "0 of 9 cells complete, 9 missing" in page.text


def test_the_report_says_what_ran(run: Run) -> None:
    for cell in CELLS:
        run.add(cell)

    text = Page(run.compare(run="nightly-7")).text

    for fact in (
        "nightly-7",
        "MNIST: 55,000 train, 5,000 validation, 10,000 test",
        "Autoencoder 10 epochs (published: 50); VAE 10 epochs (published: 30); DCGAN 10 steps",
        "99.21% test accuracy",
        "0.1.0",
        "The VAE uses no more than 14 units",
        "at latent size 100 their mean lies 12.3 away from 0",
    ):
        assert fact in text


def test_wandb_gets_the_table_with_sample_grids_the_page_and_the_best_figures(run: Run) -> None:
    run.add(CELLS[0])
    run.add(CELLS[1], reason="loss is NaN")

    html = run.compare(expected=CELLS[:3])

    columns, rows = run.tracker.tables["leaderboard"]
    assert columns == [
        *("cell", "family", "latent_size", "seed", "status", "reason"),
        *METRICS,
        "samples",
    ]
    assert isinstance(rows[0][-1], Picture)
    assert rows[0][-1].pixels.shape == (24, 24, 3)
    assert [row[-1] for row in rows[1:]] == [None, None]
    assert run.tracker.pages == {"report": html}
    assert run.tracker.summary["autoencoder_best_latent_size"] == 2
    assert run.tracker.summary["cells_diverged"] == 1


def test_cells_of_another_data_set_are_refused(run: Run) -> None:
    run.add(CELLS[0], digest="sha256:other")

    with pytest.raises(InputError, match=r"autoencoder-2 was trained on the data set sha256:other"):
        run.compare()


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_contrasts_with_what_it_stands_on_as_wcag_aa_asks(scheme: int) -> None:
    template = Path(report_module.__file__).with_name("page.css.j2").read_text(encoding="utf-8")
    roots = re.findall(r":root \{(.*?)\n\s*\}", template, re.S)
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", roots[scheme]))
    colours |= {str(number): (look.light, look.dark)[scheme] for number, look in enumerate(LOOKS)}
    pairs = [(ink, paper) for ink in ("ink", "muted") for paper in ("paper", "card", "best")]
    pairs += [(family, "card") for family in (*map(str, range(len(LOOKS))), "pca")]
    pairs += [("best-ink", "best"), ("alarm-ink", "alarm"), ("alarm-ink", "card")]
    for ink, paper in pairs:
        dark, bright = sorted((_luminance(colours[ink]), _luminance(colours[paper])))
        assert (bright + 0.05) / (dark + 0.05) >= 4.5, (ink, paper)
