"""What the report's sentences say of a run."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from genpipe.cells import Cell
from genpipe.reporting.results import Result
from tests.genpipe.reporting.test_report import complete, report


def with_losses(result: Result, folder: Path, losses: np.ndarray) -> Result:
    """The result, and what each test image costs it."""
    evaluation = folder / result.cell.name
    evaluation.mkdir()
    np.save(evaluation / "validation_losses.npy", losses)
    return replace(result, evaluation=evaluation)


def test_the_best_cell_is_told_with_its_lead_and_how_sure_that_is(tmp_path: Path) -> None:
    losses = np.random.default_rng(0).normal(1, 0.1, 400)
    apart = losses + np.random.default_rng(1).normal(0.5, 0.1, 400)
    small, large = Cell("vae", 2), Cell("vae", 10)

    html = report(
        [
            with_losses(complete(small, total_loss=float(apart.mean())), tmp_path, apart),
            with_losses(complete(large, total_loss=float(losses.mean())), tmp_path, losses),
        ]
    )

    [(lead, reach)] = re.findall(r"([\d.]+) ± ([\d.]+) lower than at latent size 2, the s", html)
    assert float(lead) == pytest.approx((apart - losses).mean(), rel=0.01)
    # Both have seen the same images: what counts is how the difference varies, not the losses.
    assert float(reach) == pytest.approx(1.96 * (apart - losses).std() / 20, rel=0.15)


def test_a_lead_that_may_be_chance_is_no_lead(tmp_path: Path) -> None:
    losses = np.random.default_rng(0).normal(1, 0.1, 400)
    shuffled = np.random.default_rng(1).permutation(losses) + 0.001
    cells = {2: losses, 10: shuffled}

    html = report(
        [
            with_losses(complete(Cell("vae", size), total_loss=cost.mean()), tmp_path, cost)
            for size, cost in cells.items()
        ]
    )

    assert re.search(r"is 0.0010 ± [\d.]+ lower than at latent size 10, which may be ch", html)


def test_digits_that_hardly_any_sample_shows_are_named(tmp_path: Path) -> None:
    shares = [0.0, 0.5, *[0.07] * 7, 0.009]
    coverage = [0.3, 0.031, *[0.2] * 8]
    (tmp_path / "metrics.json").write_text(
        json.dumps({"class_shares": shares, "class_coverage": coverage})
    )

    html = report([replace(complete(Cell("dcgan", 2)), samples=tmp_path)])

    assert "The judge finds 9 of 10 digits in them" in html
    assert "Each of 0 and 9 is in fewer than 1.0% of them." in html
    assert "Coverage is lowest for 1: 3.1%." in html


@pytest.mark.parametrize("coverage", [None, [], ["much"], 3, [None]])
def test_a_coverage_that_is_none_is_left_out(coverage: object, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps({"class_coverage": coverage}))

    cell = replace(complete(Cell("dcgan", 2)), samples=tmp_path)

    assert "Coverage is lowest" not in report([cell])


def test_the_lead_of_a_dcgan_is_as_sure_as_both_distances_are() -> None:
    near, far = complete(Cell("dcgan", 2)), complete(Cell("dcgan", 10))
    cells = [
        replace(near, intervals={"validation_frechet_distance": (4.2, 4.8)}),
        replace(
            far,
            metrics={**far.metrics, "validation_frechet_distance": 6.5},
            intervals={"validation_frechet_distance": (6.1, 6.9)},
        ),
    ]

    assert (
        "On the validation split its Fréchet distance is 2.00 ± 0.50 lower than at latent size 10, "
        "the second best." in report(cells)
    )
