"""The leaderboard: which cells it lists, how it ranks them, and what its files hold."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genpipe.cells import Cell, Status
from genpipe.errors import InputError, StepError
from genpipe.families.registry import all_families
from genpipe.metrics.registry import METRICS, format_metric
from genpipe.reporting.leaderboard import (
    leaderboard_document,
    leaderboard_table,
    step_metrics,
    write_leaderboard,
)
from genpipe.reporting.results import Result, best_results, over_seeds, read_results

DATASET = {"name": "mnist", "digest": "sha256:1", "splits": {"test": {"size": 10000}}}
AE_2, AE_10 = Cell("autoencoder", 2), Cell("autoencoder", 10)
VAE_2, VAE_10 = Cell("vae", 2), Cell("vae", 10)
DCGAN_2, DCGAN_10 = Cell("dcgan", 2), Cell("dcgan", 10)


def result(cell: Cell, status: Status = Status.COMPLETE, **metrics: float | None) -> Result:
    return Result(cell, status, metrics=metrics)


@pytest.fixture
def folders(tmp_path: Path) -> Callable[..., tuple[list[Path], list[Path], list[Path]]]:
    """Writes the three folders of each cell: model, evaluation and samples."""

    def write(*cells: Cell, **changes: Any) -> tuple[list[Path], list[Path], list[Path]]:
        written: tuple[list[Path], list[Path], list[Path]] = ([], [], [])
        for cell in cells:
            facts = {**cell.identity, "status": "complete", **changes}
            contents = (
                ("model", "model.json", {"training": {"train_seconds": 3.5}}),
                ("evaluation", "metrics.json", {"metrics": {"mean_squared_error": 0.04}}),
                ("samples", "metrics.json", {"metrics": {"classes_covered": 9}}),
            )
            for kind, (name, file, content) in zip(written, contents, strict=True):
                folder = tmp_path / f"{cell.name}-{name}"
                folder.mkdir()
                (folder / file).write_text(json.dumps({**facts, **content}))
                kind.append(folder)
        return written

    return write


def test_cells_stand_in_the_order_asked_for_and_others_behind(folders: Callable[..., Any]) -> None:
    results = read_results([VAE_10, AE_2], *folders(AE_10, AE_2, VAE_10))

    assert [result.cell for result in results] == [VAE_10, AE_2, AE_10]
    assert {result.status for result in results} == {Status.COMPLETE}


def test_a_cell_joins_the_figures_of_training_evaluation_and_samples(
    folders: Callable[..., Any],
) -> None:
    [joined] = read_results([AE_2], *folders(AE_2))

    assert joined.metrics == {
        "train_seconds": 3.5,
        "mean_squared_error": 0.04,
        "classes_covered": 9,
    }


def test_a_cell_without_any_folder_is_missing() -> None:
    [missing] = read_results([VAE_2], [], [], [])

    assert (missing.status, missing.reason) == (Status.MISSING, "no artifact arrived")


def test_a_cell_that_lacks_a_folder_is_missing_and_says_which(folders: Callable[..., Any]) -> None:
    models, evaluations, _ = folders(AE_2)

    [torn] = read_results([AE_2], models, evaluations, [])

    assert (torn.status, torn.reason) == (Status.MISSING, "no samples")


def test_a_diverged_cell_keeps_its_reason(folders: Callable[..., Any]) -> None:
    arrived = folders(DCGAN_2, status="diverged", reason="loss is NaN at step 1718")

    [diverged] = read_results([DCGAN_2], *arrived)

    assert (diverged.status, diverged.reason) == (Status.DIVERGED, "loss is NaN at step 1718")


def test_a_cell_that_comes_in_twice_is_refused(folders: Callable[..., Any]) -> None:
    models, evaluations, samples = folders(AE_2)

    with pytest.raises(InputError, match="autoencoder-2"):
        read_results([AE_2], models * 2, evaluations, samples)


def test_a_folder_without_its_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"empty/model\.json"):
        read_results([], [tmp_path / "empty"], [], [])


def test_nan_and_infinity_become_null(folders: Callable[..., Any], tmp_path: Path) -> None:
    arrived = folders(AE_2)
    bad = {"mean_squared_error": math.nan, "elbo": -math.inf, "code_spread": 1.5}
    content = {"family": "autoencoder", "latent_size": 2, "status": "complete", "metrics": bad}
    (arrived[1][0] / "metrics.json").write_text(json.dumps(content))

    results = read_results([AE_2], *arrived)
    write_leaderboard(tmp_path / "out", leaderboard_document("r", DATASET, results), results)

    text = (tmp_path / "out" / "leaderboard.json").read_text()
    metrics = json.loads(text)["cells"][0]["metrics"]
    assert "NaN" not in text
    assert "Infinity" not in text
    assert (metrics["mean_squared_error"], metrics["elbo"], metrics["code_spread"]) == (
        None,
        None,
        1.5,
    )


@pytest.mark.parametrize(
    ("results", "best"),
    [
        (
            [
                result(AE_2, validation_mean_squared_error=0.04),
                result(AE_10, validation_mean_squared_error=0.01),
            ],
            AE_10,
        ),
        (
            [result(VAE_2, validation_total_loss=30.0), result(VAE_10, validation_total_loss=40.0)],
            VAE_2,
        ),
        (
            [
                result(DCGAN_2, validation_frechet_distance=4.5, classes_covered=10),
                result(DCGAN_10, validation_frechet_distance=4.4, classes_covered=9),
            ],
            DCGAN_10,
        ),
        (
            [
                result(DCGAN_2, validation_frechet_distance=4.5, classes_covered=9),
                result(DCGAN_10, validation_frechet_distance=4.5, classes_covered=10),
            ],
            DCGAN_10,
        ),
        (
            [
                result(DCGAN_2, validation_frechet_distance=4.5, largest_class_share=0.2),
                result(DCGAN_10, validation_frechet_distance=4.5, largest_class_share=0.1),
            ],
            DCGAN_10,
        ),
        (
            [
                result(AE_10, validation_mean_squared_error=0.01),
                result(AE_2, validation_mean_squared_error=0.01),
            ],
            AE_2,
        ),
    ],
    ids=["lowest error", "lowest loss", "nearest", "most digits", "evenest", "equal: the smaller"],
)
def test_the_best_cell_of_a_family_is_chosen_by_its_own_metrics(
    results: list[Result], best: Cell
) -> None:
    assert [chosen.cell for chosen in best_results(results).values()] == [best]


def test_the_test_split_decides_nothing() -> None:
    """It is left to report: a model chosen by it would look better there than it is."""
    results = [
        result(AE_2, validation_mean_squared_error=0.01, mean_squared_error=0.02),
        result(AE_10, validation_mean_squared_error=0.02, mean_squared_error=0.01),
        result(VAE_2, total_loss=30.0),
    ]

    assert [r.cell for r in best_results(results).values()] == [AE_2]


def test_only_a_complete_cell_with_the_deciding_figure_can_be_best() -> None:
    results = [
        result(AE_2, Status.DIVERGED, validation_mean_squared_error=0.001),
        result(AE_10, validation_mean_squared_error=0.5),
        result(VAE_2, validation_total_loss=None),
        result(DCGAN_2, Status.MISSING, validation_frechet_distance=4.5),
    ]

    assert [r.cell for r in best_results(results).values()] == [AE_10]


def test_the_document_has_exactly_the_declared_shape() -> None:
    results = [
        result(AE_2, validation_mean_squared_error=0.04),
        Result(VAE_10, Status.DIVERGED, "loss is NaN at step 7"),
    ]

    assert leaderboard_document("run-1", DATASET, results) == {
        "run": "run-1",
        "data": {"name": "mnist", "digest": "sha256:1", "images": {"test": 10000}},
        "cells": [
            {
                "family": "autoencoder",
                "latent_size": 2,
                "status": "complete",
                "metrics": {"validation_mean_squared_error": 0.04},
                "intervals": {},
            },
            {
                "family": "vae",
                "latent_size": 10,
                "status": "diverged",
                "reason": "loss is NaN at step 7",
                "metrics": {},
                "intervals": {},
            },
        ],
        "best": {"autoencoder": 2},
        "verdicts": [],
        "references": {},
    }


def test_the_csv_has_a_row_a_cell_and_the_same_columns_for_every_run(tmp_path: Path) -> None:
    small = [result(AE_2, mean_squared_error=0.04)]
    large = [result(VAE_2, kl_divergence=3.0), Result(DCGAN_2, Status.MISSING, "gone, alas")]
    columns = ["cell", "family", "latent_size", "seed", "status", "reason", *METRICS]

    assert leaderboard_table(small)[0] == leaderboard_table(large)[0] == columns
    write_leaderboard(tmp_path, leaderboard_document("r", DATASET, large), large)
    with (tmp_path / "leaderboard.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["cell"] for row in rows] == ["vae-2", "dcgan-2"]
    assert (rows[0]["kl_divergence"], rows[0]["total_loss"]) == ("3.0", "")
    assert (rows[1]["status"], rows[1]["reason"]) == ("missing", "gone, alas")


def test_a_figure_without_an_entry_in_the_metrics_table_is_not_lost() -> None:
    columns, [row] = leaderboard_table([result(AE_2, something_new=4.0)])

    assert (columns[-1], row[-1]) == ("something_new", 4.0)


def test_step_metrics_count_the_cells_and_tell_each_familys_best() -> None:
    results = [
        result(AE_2, validation_mean_squared_error=0.04, mean_squared_error=0.041),
        result(AE_10, validation_mean_squared_error=0.01, mean_squared_error=0.012),
        result(DCGAN_2, Status.DIVERGED),
        result(VAE_2, Status.MISSING),
    ]

    assert step_metrics(results) == {
        "cells_complete": 2,
        "cells_diverged": 1,
        "cells_missing": 1,
        "autoencoder_best_latent_size": 10,
        "autoencoder_best_validation_mean_squared_error": 0.01,
        "autoencoder_best_mean_squared_error": 0.012,
    }


def test_every_deciding_metric_says_which_way_is_better() -> None:
    for family in all_families().values():
        assert {METRICS[name].better for name in family.deciding} <= {"lower", "higher"}


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("mean_squared_error", 0.012345, "0.0123"),
        ("total_loss", 31.7559, "31.76"),
        ("largest_class_share", 0.1184, "11.8%"),
        ("active_units", 18, "18"),
        ("images_per_second", 14851.4, "14,851"),
        ("train_seconds", 200.0, "3 min 20 s"),
        ("train_seconds", 2.25, "2.2 s"),
        ("elbo", None, ""),
    ],
)
def test_figures_are_written_in_their_unit(name: str, value: float | None, text: str) -> None:
    assert format_metric(name, value) == text


def trainings(latent_size: int, *losses: float | None) -> list[Result]:
    """A VAE trained with the seeds 0, 1, …; one whose loss is None diverged."""
    return [
        Result(Cell("vae", latent_size, seed), Status.DIVERGED, "the loss is NaN at step 7")
        if loss is None
        else result(Cell("vae", latent_size, seed), validation_total_loss=loss, total_loss=loss + 1)
        for seed, loss in enumerate(losses)
    ]


def test_trainings_of_a_cell_become_their_mean_and_standard_deviation() -> None:
    [cell] = over_seeds(trainings(2, 30.0, 28.0, 32.0))

    assert (cell.cell, cell.status, cell.reason) == (VAE_2, Status.COMPLETE, "")
    assert cell.metrics == {"validation_total_loss": 30.0, "total_loss": 31.0}
    assert cell.intervals == {"validation_total_loss": (28.0, 32.0), "total_loss": (29.0, 33.0)}
    assert cell.best_training.cell == Cell("vae", 2, 1)


def test_the_mean_over_seeds_decides_which_latent_size_is_best_not_a_lucky_seed() -> None:
    results = [*trainings(2, 30.0, 31.0), *trainings(10, 20.0, 60.0)]

    document = leaderboard_document("r", DATASET, results)

    assert (document["best"], document["best_seeds"]) == ({"vae": 2}, {"vae": 0})
    assert [row["cell_seed"] for row in document["cells"]] == [0, 1, 0, 1]
    small, large = document["over_seeds"]
    assert (small["latent_size"], small["seeds"]) == (2, [0, 1])
    assert small["metrics"]["total_loss"] == pytest.approx(31.5)
    assert small["deviations"]["total_loss"] == pytest.approx(0.5**0.5)
    assert large["deviations"]["total_loss"] == pytest.approx(800**0.5)
    assert step_metrics(results)["vae_best_total_loss"] == pytest.approx(31.5)


def test_a_seed_that_diverged_is_left_out_of_the_mean_and_named() -> None:
    [cell] = over_seeds(trainings(2, 30.0, None, 32.0))

    assert (cell.status, cell.metrics["total_loss"]) == (Status.COMPLETE, 32.0)
    assert cell.reason == "seed 1 diverged: the loss is NaN at step 7"
    [lost] = over_seeds(trainings(2, None, None))
    assert (lost.status, lost.metrics) == (Status.DIVERGED, {})
    assert "seed 0 diverged" in lost.reason
    assert "seed 1 diverged" in lost.reason


def test_a_run_without_seeds_has_nothing_of_them() -> None:
    results = [result(AE_2, validation_mean_squared_error=0.04)]

    assert over_seeds(results) == results
    assert not {"over_seeds", "best_seeds"} & leaderboard_document("r", DATASET, results).keys()
