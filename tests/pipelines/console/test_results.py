"""`genpipe report` and `genpipe compare`, on runs written by hand, here and on a storage server."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from genpipe import storage
from genpipe.cells import Cell, Status
from genpipe.reporting.images import write_png
from genpipe.reporting.leaderboard import leaderboard_document
from genpipe.reporting.results import Result as Outcome
from pipelines.cli import main
from pipelines.console.comparison import comparison_page, show_comparison
from pipelines.console.leaderboard import parse_leaderboard, print_leaderboard
from pipelines.console.results import read_results, show_report
from pipelines.runs.find import FoundRun

CELLS = {"autoencoder": (2, 10), "vae": (2,), "dcgan": (2,)}
METRICS = {"frechet_distance": 100.0, "classes_covered": 10, "largest_class_share": 0.2}


def shades(shade: int) -> bytes:
    """The 32 images of a grid as the sample step leaves them: squares of one shade."""
    images = np.zeros((32, 28, 28, 1), np.uint8)
    images[:, 8:20, 8:20] = shade
    file = io.BytesIO()
    np.save(file, images)
    return file.getvalue()


def write_run(folder: Path, *, error: float = 0.04, epochs: int = 3, judge: str = "j1") -> Path:
    """A run of four cells; ``error`` is the mean squared error of each."""
    rows: list[dict[str, Any]] = []
    for family, sizes in CELLS.items():
        for size in sizes:
            cell = {"family": family, "latent_size": size, "status": "complete"}
            metrics = dict(METRICS)
            if family != "dcgan":
                metrics["mean_squared_error"] = error
            rows.append({**cell, "metrics": metrics})
            model = folder / f"train-{family}-{size}" / "model"
            model.mkdir(parents=True)
            metadata = {**cell, "settings": {"latent_size": size, "epochs": epochs}}
            (model / "model.json").write_text(json.dumps(metadata))
            x, y = ("step", "generator_loss") if family == "dcgan" else ("epoch", "validation_loss")
            lines = [f"{number},{1 / number}" for number in range(1, epochs + 1)]
            (model / "history.csv").write_text("\n".join([f"{x},{y}", *lines]))
            samples = folder / f"sample-{family}-{size}" / "samples"
            samples.mkdir(parents=True)
            (samples / "metrics.json").write_text(json.dumps(cell))
            (samples / "grid.npy").write_bytes(shades(255))
            write_png(samples / "grid.png", np.zeros((56, 56), np.uint8))
    (folder / "judge" / "model").mkdir(parents=True)
    (folder / "judge" / "model" / "model.json").write_text(json.dumps({"weights_digest": judge}))
    board = {
        "run": folder.name,
        "data": {"digest": "sha256:1"},
        "cells": rows,
        "best": {"autoencoder": 10, "vae": 2, "dcgan": 2},
    }
    place = folder / "compare" / "leaderboard"
    place.mkdir(parents=True)
    (place / "leaderboard.json").write_text(json.dumps(board))
    return folder


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return write_run(tmp_path / "here")


def genpipe(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_report_shows_figures_curves_and_samples_of_every_cell(here: Path) -> None:
    shown = genpipe("report", here)

    assert shown.exit_code == 0, shown.output
    assert "\x1b" not in shown.output
    (row,) = [line for line in shown.output.splitlines() if line.split()[:2] == ["vae", "2"]]
    assert row.split() == ["vae", "2", "█▃▁", "0.0400", "100.00", "10", "20.0%", "best"]
    (first, *_) = [line for line in shown.output.splitlines() if "latent 2" in line]
    assert first.split() == ["latent", "2", "latent", "10"]
    assert shown.output.count(": samples from N(0, I)") == 3
    assert shown.output.count("\u28ff") >= 4


@pytest.mark.parametrize("width", [40, 60, 80, 100, 160])
def test_no_line_is_longer_than_the_terminal_is_wide(here: Path, width: int) -> None:
    console = Console(
        width=width, force_terminal=True, color_system="truecolor", file=io.StringIO()
    )

    show_report(read_results(FoundRun(str(here))), console)

    text = re.sub(r"\x1b\[[0-9;]*m", "", console.file.getvalue())  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= width
    rows = [line for line in text.splitlines() if re.match(r" +(autoencoder|vae|dcgan) +\d", line)]
    assert len(rows) == 4


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_runs_side_by_side_fit_the_terminal_with_all_their_figures(
    here: Path, tmp_path: Path, width: int
) -> None:
    errors = {name: (number + 1) / 100 for number, name in enumerate("abcdefg")}
    others = [write_run(tmp_path / name, error=error) for name, error in errors.items()]
    console = Console(width=width, file=io.StringIO())

    show_comparison([read_results(FoundRun(str(at))) for at in (here, *others)], console)

    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert all(f"0.0{number + 1}00" in text for number in range(len(errors)))


def test_samples_from_the_mixture_stand_below_those_from_n_0_i(here: Path) -> None:
    (here / "sample-vae-2" / "samples" / "grid_mixture.npy").write_bytes(shades(255))
    console = Console(width=100, file=io.StringIO())

    show_report(read_results(FoundRun(str(here))), console)

    text = console.file.getvalue()  # type: ignore[attr-defined]
    first, second = "VAE: samples from N(0, I)", "VAE: samples from a mixture fitted to its codes"
    assert text.index(first) < text.index(second) < text.index("DCGAN: samples from N(0, I)")
    assert "Autoencoder: samples from a mixture" not in text


def test_the_legend_has_a_line_for_each_column_and_says_which_way_is_good(here: Path) -> None:
    shown = genpipe("leaderboard", here).output
    explained = genpipe("leaderboard", here, "--metrics").output

    assert re.search(
        r"^  MSE +reconstruction error on the test split, lower is better$", shown, re.M
    )
    assert "says what each metric is" in shown
    assert "says what each metric is" not in explained


def test_what_there_is_no_room_for_is_named(here: Path) -> None:
    console = Console(width=40, file=io.StringIO())

    show_report(read_results(FoundRun(str(here))), console)

    text = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert re.search(r"not shown \(terminal too narrow\): .*largest", text)


def test_a_run_in_a_bucket_compares_with_one_here(here: Path, tmp_path: Path, bucket: str) -> None:
    uri = f"{bucket}/there"
    storage.upload_folder(write_run(tmp_path / "there", error=0.02, epochs=8), uri)

    shown = genpipe("compare", here, uri)

    assert shown.exit_code == 0, shown.output
    assert "vae: epochs A 3, B 8" in shown.output
    lines = [" ".join(line.split()) for line in shown.output.splitlines()]
    assert "Mean squared error 0.0400 0.0200 B by 50.0%" in lines
    assert "Fréchet distance 100.00 100.00" in lines
    assert lines.index("autoencoder-10") < lines.index("vae-2") < lines.index("dcgan-2")
    assert lines.count("A B") == 4


def test_figures_that_do_not_compare_have_no_best_and_a_line_says_why(
    here: Path, tmp_path: Path
) -> None:
    other = write_run(tmp_path / "other", error=0.03, judge="j2")
    path = other / "compare" / "leaderboard" / "leaderboard.json"
    path.write_text(path.read_text().replace("100.0", "50.0"))

    judged = genpipe("compare", here, other).output
    (other / "judge" / "model" / "model.json").unlink()
    unknown = genpipe("compare", here, other).output
    path.write_text(path.read_text().replace("sha256:1", "sha256:2"))
    elsewhere = genpipe("compare", here, other).output

    assert "different judges" in judged
    assert "50.00" in judged
    assert set(re.findall(r"[AB] by \S+", judged)) == {"B by 25.0%"}
    assert "Not all of these runs show which judge they had" in unknown
    assert set(re.findall(r"[AB] by \S+", unknown)) == {"B by 25.0%"}
    assert "measured on different data" in elsewhere
    assert not re.findall(r"[AB] by \S+", elsewhere)


def test_what_differs_is_told_where_families_differ_too(here: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other")
    for run, count, beta in ((here, 500, 4.0), (other, 1000, 1.0)):
        for path in run.glob("sample-*/samples/metrics.json"):
            path.write_text(json.dumps({**json.loads(path.read_text()), "samples": count}))
        path = run / "train-vae-2" / "model" / "model.json"
        path.write_text(path.read_text().replace('"epochs"', f'"beta": {beta}, "epochs"'))
    board = other / "compare" / "leaderboard" / "leaderboard.json"

    def told() -> list[str]:
        return [line.strip() for line in genpipe("compare", here, other).output.splitlines()][3:]

    assert told()[:4] == [
        "all models: samples A 500, B 1000",
        "vae: beta A 4.0, B 1.0",
        "These runs drew different numbers of samples: Fréchet distances do not compare.",
        "",
    ]
    content = json.loads(board.read_text())
    content["cells"] = [row for row in content["cells"] if row["family"] == "dcgan"]
    board.write_text(json.dumps({**content, "best": {}}))
    for family in ("autoencoder", "vae"):
        for step in other.glob(f"*-{family}-*"):
            shutil.rmtree(step)
    assert told()[:5] == [
        "families: A autoencoder, vae, dcgan; B dcgan",
        "latent sizes: A 2, 10; B 2",
        "all models: samples A 500, B 1000",
        "autoencoder: epochs A 3",
        "vae: beta A 4.0; epochs A 3",
    ]


def test_the_page_shows_the_runs_side_by_side_and_loads_nothing(here: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other <b>", error=0.02)
    output = tmp_path / "compared.html"

    shown = genpipe("compare", here, other, "--output", output)

    assert shown.exit_code == 0, shown.output
    page = output.read_text(encoding="utf-8")
    assert page == comparison_page(
        [read_results(FoundRun(str(here))), read_results(FoundRun(str(other)))]
    )
    assert len(re.findall(r'<img [^>]*src="data:image/webp', page)) == 8
    assert page.count("<polyline") == 8
    # A legend says which line is which run's, and the axis where it begins.
    assert page.count("</svg>A: here</li>") == page.count("</svg>B: other &lt;b&gt;</li>") == 4
    assert page.count("The vertical axis begins at 0.") == 4
    assert "B by 50.0%" in page
    assert "other &lt;b&gt;" in page
    assert "other <b>" not in page
    assert not re.search(r"(src|href)=.https?:", page)


def test_the_page_folds_cells_of_one_run_alone_and_tells_a_curve_of_one_epoch_in_words(
    here: Path, tmp_path: Path
) -> None:
    others = {name: write_run(tmp_path / name, epochs=1) for name in ("short", "as-short")}
    path = others["short"] / "compare" / "leaderboard" / "leaderboard.json"
    board = json.loads(path.read_text())
    board["cells"] = [row for row in board["cells"] if row["family"] != "vae"]
    path.write_text(json.dumps(board))
    runs = {at.name: read_results(FoundRun(str(at))) for at in (here, *others.values())}

    page = comparison_page([runs["here"], runs["short"]])

    assert "<li>autoencoder: epochs A 3, B 1</li>" in page
    assert page.count('<details class="part unfolded" open>') == 3
    (folded,) = re.findall(r'<details class="part unfolded">\n<summary>(.*)</summary>', page)
    assert "VAE 2" in folded
    assert "in A alone" in folded
    assert page.count("Single value: B 1 at epoch 1.") == 3
    both_short = comparison_page([runs["short"], runs["as-short"]])
    assert "Single value: A 1 at epoch 1, B 1 at epoch 1." in both_short
    assert "<polyline" not in both_short


def test_a_folder_whose_name_is_no_text_has_its_page(here: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / os.fsdecode(b"caf\xe9") / "other")
    output = tmp_path / "compared.html"

    shown = genpipe("compare", here, other, "--output", output)

    assert shown.exit_code == 0, shown.output
    page = output.read_text(encoding="utf-8")
    assert "caf\\udce9" in page
    assert page.rstrip().endswith("</html>")


def test_a_cell_that_left_no_pictures_still_has_its_row(here: Path) -> None:
    (here / "sample-vae-2" / "samples" / "grid.npy").write_bytes(b"no array")
    (here / "train-vae-2" / "model" / "history.csv").unlink()

    results = read_results(FoundRun(str(here)))
    shown = genpipe("report", here)

    assert shown.exit_code == 0, shown.output
    assert Cell("vae", 2) not in results.samples
    assert re.search(r"^  vae +2 +0.0400", shown.output, re.M)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["report", "nowhere"], "no run 'nowhere'"),
        (["report", "{empty}"], "is not a run's folder: it has no finished steps"),
        (["report", "{unfinished}"], "no leaderboard at .*, and no cell has left anything yet"),
        (["leaderboard", "{unfinished}"], "no leaderboard at .*, and no cell has left anything"),
        (["report", "{broken}"], "the leaderboard of .* is not a leaderboard"),
        (["report", "ftp://host/run"], "only gs://, s3:// and minio:// can be read"),
        (["compare", "{here}"], "compare needs at least two runs"),
        (["compare", "{here}", "{here}"], "is given twice: compare needs two different runs"),
    ],
)
def test_bad_input_is_told_in_one_line(
    here: Path, tmp_path: Path, arguments: list[str], error: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "unfinished" / "ingest" / "data").mkdir(parents=True)
    (tmp_path / "unfinished" / "ingest" / "data" / "dataset.json").write_text("{}")
    board = tmp_path / "broken" / "compare" / "leaderboard" / "leaderboard.json"
    board.parent.mkdir(parents=True)
    board.write_text('{"cells": [{}]}')

    names = ("empty", "unfinished", "broken", "here")
    places = {name: str(tmp_path / name) for name in names}
    failed = genpipe(*(argument.format(**places) for argument in arguments))

    message = str(failed.exception)
    assert failed.exit_code != 0
    assert re.search(error, message)
    assert "\n" not in message


def test_open_shows_the_page_in_the_browser(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    (here / "report.html").write_text("<html>the report</html>")

    report = genpipe("report", here, "--open")
    compared = genpipe("compare", here, write_run(here.parent / "other"), "--open")

    assert (report.exit_code, compared.exit_code) == (0, 0)
    assert opened[0] == (here / "report.html").as_uri()
    assert "2 runs side by side" in Path(opened[1].removeprefix("file://")).read_text()


def test_the_legend_says_what_makes_a_cell_the_best_of_its_family(tmp_path: Path) -> None:
    """Of the families that have a best cell here, and no other."""
    board = json.loads(
        (write_run(tmp_path / "mine") / "compare/leaderboard/leaderboard.json").read_text()
    )
    del board["best"]["vae"]
    told = io.StringIO()

    print_leaderboard({**board, "references": {}}, Console(file=told, width=200))

    said = " ".join(told.getvalue().split())
    assert "on the validation split: lowest MSE (Autoencoder), lowest FD (DCGAN) `" in said


def test_the_terminal_says_first_which_model_is_best_for_what() -> None:
    results = [
        Outcome(
            Cell("autoencoder", 10),
            Status.COMPLETE,
            metrics={"mean_squared_error": 0.015, "mixture_frechet_distance": 10.0},
            intervals={"mixture_frechet_distance": (9.2, 10.8)},
        ),
        Outcome(Cell("dcgan", 2), Status.COMPLETE, metrics={"frechet_distance": 65.0}),
    ]
    told = io.StringIO()

    board = parse_leaderboard(json.dumps(leaderboard_document("mine", {}, results)).encode(), "x")
    print_leaderboard(board, Console(file=told, width=100))

    _, first, second, empty, heading, *_ = told.getvalue().splitlines()
    assert " ".join(first.split()) == (
        "best reconstruction Autoencoder 10 mean squared error 0.0150"
    )
    assert " ".join(second.split()) == (
        "best samples Autoencoder 10, mixture Fréchet distance 10.00 ± 0.80"
    )
    assert empty == ""
    assert heading.split()[:2] == ["model", "latent"]


def test_of_several_seeds_the_terminal_shows_means_and_their_spread() -> None:
    results = [
        Outcome(
            Cell("vae", 2, seed),
            Status.COMPLETE,
            metrics={"validation_total_loss": loss, "total_loss": loss, "active_units": 2 - seed},
        )
        for seed, loss in enumerate((38.0, 40.0))
    ]
    told = io.StringIO()

    board = leaderboard_document("mine", {}, results)
    print_leaderboard(board, Console(file=told, width=200))

    [row] = [line for line in told.getvalue().splitlines() if line.startswith("  vae")]
    assert row.split() == ["vae", "2", "39.00", "±1.41", "1.5", "active", "best"]
    assert "Means over the seeds 0, 1, ± their standard deviation" in told.getvalue()


def test_of_several_seeds_the_training_that_left_most_is_shown_and_named(tmp_path: Path) -> None:
    for seed, steps in ((0, ["train"]), (1, ["train", "sample"])):
        for step in steps:
            cell = Cell("vae", 2, seed)
            folder = tmp_path / f"{step}-{cell.name}" / ("model" if step == "train" else "samples")
            folder.mkdir(parents=True)
            name = "model.json" if step == "train" else "metrics.json"
            metrics = {"status": "complete", "metrics": {}, "training": {}}
            (folder / name).write_text(json.dumps({**cell.identity, **metrics}))
    np.save(tmp_path / "sample-vae-2@1/samples/grid.npy", np.zeros((1, 28, 28, 1), np.uint8))
    told = io.StringIO()

    show_report(read_results(FoundRun(str(tmp_path))), Console(file=told, width=100))

    assert "latent 2, seed 1" in told.getvalue()
