"""The report: what stands in it, and that a browser shows it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genpipe.cells import Cell, Status
from genpipe.families.registry import all_families, find_family
from genpipe.metrics.registry import METRICS
from genpipe.reporting.images import write_png
from genpipe.reporting.leaderboard import leaderboard_table
from genpipe.reporting.report import in_run_folder, render_report
from genpipe.reporting.results import Result
from genpipe.reporting.tables import SAMPLER_METRICS, TABLE_METRICS

DATASET = {"name": "mnist", "digest": "sha256:1", "splits": {"test": {"size": 10000}}}
JUDGE = {"family": "judge", "metrics": {"test_accuracy": 0.9921}}
HOSTILE = "<img src=x onerror=alert(1)><script>console.error(document.title)</script>"

# What a real run's cells bring, by the names that its steps give them.
TRAINING = {
    "steps": 1287,
    "epochs": 3.0,
    "images_seen": 164736,
    "train_seconds": 23.3,
    "images_per_second": 7081.3,
}
SAMPLES = {
    "mean_confidence": 0.81,
    "classes_covered": 9,
    "largest_class_share": 0.23,
    "frechet_distance": 4.5,
    "class_entropy": 2.2,
    **dict.fromkeys(("precision", "recall", "density", "coverage"), 0.7),
}
COPYING = {"training_closeness": 0.5, "nearest_is_training_share": 0.85, "duplicate_share": 0.01}
CODES = {
    "mean_squared_error": 0.045,
    "binary_cross_entropy": 0.21,
    "pca_mean_squared_error": 0.056,
    "code_mean_distance": 15.6,
    "code_spread": 17.2,
    "smallest_class_area_share": 0.009,
    "largest_class_area_share": 0.35,
    "gap_share": 0.58,
    "neighbour_accuracy": 0.9,
    **{f"fitted_gaussian_{name}": value for name, value in SAMPLES.items()},
    **{f"mixture_{name}": value for name, value in SAMPLES.items()},
    "reconstruction_frechet_distance": 2.0,
}
EVALUATION: dict[str, dict[str, float]] = {
    "autoencoder": {
        **CODES,
        "dead_units": 0,
        "revived_units": 0,
    },
    "vae": {
        **CODES,
        "reconstruction_loss": 37.5,
        "kl_divergence": 3.7,
        "total_loss": 41.2,
        "training_objective": 41.2,
        "elbo": -489.9,
        "importance_weighted_bound": -488.1,
        "active_units": 2,
    },
    "dcgan": {
        "discriminator_accuracy_real": 0.96,
        "discriminator_accuracy_generated": 0.4,
        "discriminator_loss": 0.52,
        "generator_loss": 0.78,
        "sample_variance_ratio": 0.64,
    },
}


def complete(cell: Cell, folder: Path | None = None, **metrics: float) -> Result:
    """A complete cell with all figures of a real one; with its pictures and curves in a folder."""
    if folder:
        pixels = np.random.default_rng(0).integers(0, 256, (60, 60), np.uint8)
        grids = ("grid", "grid_fitted_gaussian", "grid_mixture")
        rebuilt = ("reconstructions", "worst_reconstructions")
        names = (*grids, *rebuilt, "latent_scatter")
        for name in names:
            write_png(folder / f"{name}.png", pixels)
        (folder / "history.csv").write_text(
            "epoch,step,loss,validation_loss,discriminator_loss,generator_loss\n"
            "1,50,0.9,0.8,0.5,2.0\n2,100,0.7,0.6,0.6,1.9\n"
        )
    figures = {**EVALUATION[cell.family.name], **SAMPLES, **COPYING, **TRAINING, **metrics}
    deciding = ("mean_squared_error", "total_loss", "frechet_distance")
    figures |= {f"validation_{name}": figures[name] for name in deciding if name in figures}
    return Result(
        cell, Status.COMPLETE, metrics=figures, model=folder, evaluation=folder, samples=folder
    )


def report(results: Sequence[Result], run: str = "run-1") -> str:
    return render_report(run=run, dataset=DATASET, judge=JUDGE, results=results)


def test_every_figure_of_a_real_run_is_documented_on_the_page() -> None:
    results = [complete(Cell(family, 2)) for family in all_families()]

    columns, _ = leaderboard_table(results)
    html = report(results)

    assert columns == ["cell", "family", "latent_size", "seed", "status", "reason", *METRICS]
    for metric in METRICS.values():
        assert f"<dt>{metric.label}" in html


def test_intervals_and_what_gives_figures_a_scale_stand_in_the_leaderboard() -> None:
    intervals = {"frechet_distance": [4.25, 4.75], "mean_squared_error": [0.04496, 0.04503]}
    result = replace(complete(Cell("vae", 2)), intervals=intervals)
    references = {"noise": {"metrics": {"frechet_distance": 403.0}}}

    html = render_report(
        run="run-1", dataset=DATASET, judge=JUDGE, results=[result], references=references
    )

    assert re.search(r">4.50<br> <small[^>]*>±0.25</small>", html)
    assert "±0.00004</small>" in html
    assert re.search(r"Noise</th>(\s*<td.*</td>)*\s*<td[^>]*>403.00</td>", html)
    assert "For scale" not in report([result])


def test_the_best_model_for_each_purpose_stands_first_with_its_sampler() -> None:
    mixed = complete(Cell("autoencoder", 10), mixture_frechet_distance=3.25)
    drawn = complete(Cell("dcgan", 2), frechet_distance=9.0)

    html = report([mixed, drawn])

    first = html[html.index('id="verdicts"') : html.index("Best of each family")]
    titles = re.findall(r'<p class="question">(.*)</p>\n.*</span>(.*)</p>', first)
    assert titles == [
        ("Best reconstruction", "Autoencoder 10"),
        ("Best samples", "Autoencoder 10"),
        ("Best compromise", "Autoencoder 10"),
    ]
    assert '<strong class="number">3.25</strong>, codes from a mixture' in first
    assert "DCGAN 2, N(0, I) comes second with 9.00." in first


def test_a_row_of_the_leaderboard_has_the_metrics_of_one_sampler(tmp_path: Path) -> None:
    cell = complete(
        Cell("vae", 2), frechet_distance=9.0, mixture_frechet_distance=3.25, mixture_precision=0.91
    )

    html = report([cell])

    row = html[html.index('<th scope="row">') :]
    row = row[: row.index("</tr>")]
    values = dict(re.findall(r'<td[^>]* data-label="([^"]*)">([^<]*)', row))
    assert values["Codes from"] == "mixture"
    assert (values["Fréchet distance"], values["Precision"]) == ("3.25", "91.0%")


def test_the_samples_of_the_best_sampler_stand_before_the_others(tmp_path: Path) -> None:
    html = report([complete(Cell("vae", 2), tmp_path, mixture_frechet_distance=3.25)])

    first = html.index("<h4>Latent size 2, codes from a mixture</h4>")
    second = html.index("<h4>Codes from N(0, I)</h4>")
    assert "Fréchet distance 3.25." in html[first:second]
    assert "Fréchet distance 4.50." in html[second:]
    assert "Samples of VAE 2, codes from a mixture: Fréchet distance 3.25" in html[:first]


def test_a_figure_that_the_page_shows_is_documented() -> None:
    families = all_families().values()
    shown = {name for family in families for name in family.shown} | {
        *TABLE_METRICS,
        *SAMPLER_METRICS,
    }

    assert shown <= METRICS.keys()


@pytest.mark.parametrize("family", list(all_families()))
def test_the_figure_in_large_type_is_the_one_that_decides(family: str) -> None:
    spec = find_family(family)

    assert spec.deciding[0] == f"validation_{spec.shown[0]}"


@pytest.mark.parametrize(
    ("active", "sentence"),
    [
        ({2: 2, 10: 10}, "uses all the units that it is given: 2 of 2 and 10 of 10 are active."),
        ({2: 2, 10: 9, 100: 14}, "uses no more than 14 units, however many it is given: 2 of 2,"),
        ({5: 3, 10: 10}, "does not use all the units that it is given: 3 of 5 and 10 of 10"),
        ({10: 7}, "does not use all the units that it is given: 7 of 10 are active."),
    ],
    ids=["all", "a ceiling", "no ceiling", "one cell"],
)
def test_the_sentence_on_active_units_holds_for_the_figures(
    active: dict[int, int], sentence: str
) -> None:
    results = [complete(Cell("vae", s), active_units=units) for s, units in active.items()]

    assert f"The VAE {sentence}" in report(results).replace("\N{NO-BREAK SPACE}", " ")


def test_what_is_a_single_point_is_told_in_words(tmp_path: Path) -> None:
    results = [complete(Cell("vae", 2), tmp_path)]
    (tmp_path / "history.csv").write_text("epoch,loss,validation_loss\n1,0.9,0.8\n")
    html = report(results)

    assert '<div class="absent">One value each, at epoch 1: training loss 0.9, valid' in html
    assert "<svg" not in html


def test_a_collapsed_figure_of_0_is_drawn_on_the_axis() -> None:
    cells = (Cell("vae", 2), Cell("vae", 10))
    results = [Result(cell, Status.COMPLETE, metrics={"kl_divergence": 0.0}) for cell in cells]

    html = report(results)

    assert "KL divergence, latent size 2: 0<" in html
    assert not re.search(r">-[\d.]+</text>", html)


@pytest.mark.parametrize(
    ("status", "reason", "text"),
    [
        (Status.DIVERGED, "loss is NaN at step 7", "Diverged: loss is NaN at step 7"),
        (Status.MISSING, "no samples", "Missing: no samples"),
    ],
)
def test_the_place_of_a_picture_says_why_it_is_empty(
    status: Status, reason: str, text: str
) -> None:
    html = report([Result(Cell("dcgan", 2), status, reason)])

    assert f'<div class="absent">{text}</div>' in html


def show(html: str, folder: Path) -> tuple[str, list[str]]:
    """Load a page in a real browser, as wide as a phone: the document then, the console's lines."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no `chromium` on PATH to load the report in")
    (folder / "page.html").write_text(html, encoding="utf-8")
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
    shown = subprocess.run(
        [
            *(browser, *options, f"--user-data-dir={folder / 'profile'}", "--window-size=400,800"),
            *("--enable-logging=stderr", "--v=0", "--virtual-time-budget=2000", "--dump-dom"),
            (folder / "page.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return shown.stdout, [line for line in shown.stderr.splitlines() if ":CONSOLE" in line]


def test_a_browser_shows_the_report_without_a_word_on_its_console(tmp_path: Path) -> None:
    _, planted = show('<script>console.error("heard")</script>', tmp_path)
    assert "heard" in "".join(planted)
    results = [complete(Cell(family, 2), tmp_path) for family in all_families()]
    results.append(Result(Cell("vae", 10), Status.DIVERGED, f"loss {HOSTILE}"))
    # What this adds to the page runs in it: pictures that did not load become console lines.
    check = (
        "<script>for (const image of document.images)"
        " if (!image.naturalWidth) console.error('broken: ' + image.alt);"
        " if (document.body.scrollWidth > innerWidth) console.error('wider than the window');"
        "</script></body>"
    )

    document, console = show(report(results, run=HOSTILE).replace("</body>", check), tmp_path)

    assert console == []
    assert "What the metrics mean" in document
    assert document.count("<script") == 3
    # Grids, those of fitted Gaussians and mixtures, reconstructions, the worst of them, scatters,
    # and the cards'.
    assert document.count("<img") == 3 + 2 + 2 + 2 + 2 + 2 + 3
    # Every link of the page leads to a place in it.
    targets = set(re.findall(r'href="#([^"]+)"', document))
    assert targets
    assert targets <= set(re.findall(r'\bid="([^"]+)"', document))


def with_explorer(result: Result, folder: Path, **changes: Any) -> Result:
    """The result, and beside its pictures what ``evaluate`` decoded of it."""
    name = result.cell.name
    cell = {"cell": name, "title": result.cell.title, "planes": [{"picture": name}], **changes}
    (folder / name).mkdir()
    (folder / name / "explorer.json").write_text(json.dumps(cell))
    return replace(result, evaluation=folder / name)


def test_the_explorer_shows_the_cells_that_there_is_room_for_and_names_the_others(
    tmp_path: Path,
) -> None:
    small, large = Cell("vae", 2), Cell("vae", 100)
    results = [
        with_explorer(complete(small, total_loss=9), tmp_path),
        with_explorer(complete(large, total_loss=5), tmp_path, planes=["x" * 1_000_000]),
        with_explorer(complete(Cell("dcgan", 2)), tmp_path, planes=["y" * 1_000_000]),
        with_explorer(complete(Cell("dcgan", 3), frechet_distance=0), tmp_path),
    ]

    html = report(results)

    assert len(html) < 2_000_000
    # The best VAE goes before a small one, and leaves room for one, but not for another large one.
    titles = re.findall(r'<option value="\d"[^>]*>([^<]+)</option>', html)
    assert titles == ["VAE 2", "VAE 100", "DCGAN 3"]
    assert "<code>evaluate-dcgan-2/evaluation/explorer.html</code>" in html


@pytest.mark.parametrize("changes", [{"cell": "vae-3"}, {"title": None}, {"planes": 7}])
def test_a_damaged_explorer_does_not_cost_the_report(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    damaged = with_explorer(complete(Cell("vae", 2)), tmp_path, **changes)

    assert "Latent explorer" not in report([damaged])


def test_the_curves_over_the_latent_size_have_their_intervals() -> None:
    intervals = {
        "mean_squared_error": (0.041, 0.049),
        "pca_mean_squared_error": (0.05, 0.062),
        "frechet_distance": (4.1, 4.9),
    }

    html = report(
        [
            replace(complete(Cell("vae", 2)), intervals=intervals),
            complete(Cell("vae", 10)),
        ]
    )

    assert "VAE, latent size 2: 0.045 (0.041 to 0.049)<" in html
    assert "PCA, latent size 2: 0.056 (0.05 to 0.062)<" in html
    assert "VAE, latent size 2: 4.5 (4.1 to 4.9)<" in html
    assert "VAE, latent size 10: 0.045<" in html


def with_settings(result: Result, **settings: Any) -> Result:
    """The result of a training with these settings, and the others as by default."""
    return replace(result, facts={"seed": 0, "settings": settings})


def test_settings_that_differ_from_the_defaults_stand_at_the_top() -> None:
    plain = with_settings(complete(Cell("autoencoder", 2)), epochs=11, precision="auto")
    other = with_settings(complete(Cell("vae", 2)), epochs=11, beta=4.0, precision="float32")

    html = report([plain, other])

    top = html[: html.index("<nav")]
    assert "<strong>precision float32 instead of auto, vae.beta 4.0 instead of 1.0<" in top
    assert "settings as by default" in report([plain])


def test_one_epoch_is_singular() -> None:
    html = report([complete(Cell("vae", 2), epochs=1)])

    assert "VAE 1 epoch (published: 30)" in html
    assert "1 of 1 cell complete" in html


def test_the_page_says_how_to_train_the_same_models_again() -> None:
    cell = with_settings(complete(Cell("vae", 2)), beta=4.0)
    dataset = {**DATASET, "name": "own", "source": "/my photos", "image_shape": [32, 32, 3]}
    dataset["image_rule"] = "scaled by Lanczos resampling to fit 32 x 32 pixels"

    html = render_report(
        run="r", dataset=dataset, judge={"settings": {"epochs": 1}}, results=[cell]
    )

    command = html[html.index("<pre><code>") + 11 : html.index("</code></pre>")]
    assert command.replace("&#39;", "'") == (
        "genpipe run --dataset own --source '/my photos' --image-size 32x32 --families vae "
        "--latent-sizes 2 --seed 0 --param vae.beta=4.0 --param judge_epochs=1"
    )


def test_the_training_objective_stands_beside_the_elbo_where_it_is_another() -> None:
    same, other = complete(Cell("vae", 2)), complete(Cell("vae", 2), training_objective=52.3)

    assert "Training objective</a>" not in report([same])
    html = report([other])
    assert 'data-label="Training objective">52.30<' in html
    assert html[: html.index('id="facts"')].count("Training objective</a>") == 1


def test_links_to_logs_are_there_where_the_logs_lie() -> None:
    html = report([complete(Cell("vae", 2))])

    assert '<a class="in-run-only" href="logs/train-vae-2.log">' in html
    assert '<body class="in-run">' in in_run_folder(html)
    assert '<body class="in-run">' not in html
