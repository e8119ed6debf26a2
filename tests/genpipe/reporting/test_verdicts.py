"""Which model is best, and for what, across families and samplers."""

from __future__ import annotations

import pytest

from genpipe.cells import Cell, Status
from genpipe.reporting.leaderboard import leaderboard_document
from genpipe.reporting.results import Result
from genpipe.reporting.verdicts import Verdict, best_samples, find_verdicts

# Rebuilds best; samples best from its mixture; has the nearest samples from N(0, I).
REBUILDS = Result(
    Cell("autoencoder", 100),
    Status.COMPLETE,
    metrics={
        "mean_squared_error": 0.003,
        "frechet_distance": 273.0,
        "mixture_frechet_distance": 41.0,
        "reconstruction_frechet_distance": 0.2,
    },
    intervals={"mean_squared_error": (0.0029, 0.0031)},
)
MIXES = Result(
    Cell("autoencoder", 10),
    Status.COMPLETE,
    metrics={
        "mean_squared_error": 0.015,
        "frechet_distance": 389.0,
        "fitted_gaussian_frechet_distance": 47.0,
        "mixture_frechet_distance": 10.0,
        "reconstruction_frechet_distance": 7.0,
    },
    intervals={
        "mixture_frechet_distance": (9.2, 10.8),
        "reconstruction_frechet_distance": (6.4, 7.6),
    },
)
DRAWS = Result(Cell("dcgan", 100), Status.COMPLETE, metrics={"frechet_distance": 65.0})


def verdicts_by_purpose(*results: Result) -> dict[str, Verdict]:
    return {verdict.purpose: verdict for verdict in find_verdicts(results)}


def test_each_purpose_has_the_best_model_of_all_families_and_its_sampler() -> None:
    found = verdicts_by_purpose(REBUILDS, MIXES, DRAWS)

    told = {purpose: (one.score.name, one.score.text) for purpose, one in found.items()}
    assert told == {
        "reconstruction": ("Autoencoder 100", "0.0030 ± 0.0001"),
        "samples": ("Autoencoder 10, mixture", "10.00 ± 0.80"),
        "compromise": ("Autoencoder 10, mixture", "8.50 ± 0.50"),
    }


def test_a_verdict_names_the_second_best_and_what_it_is_made_of() -> None:
    found = verdicts_by_purpose(REBUILDS, MIXES, DRAWS)

    assert found["samples"].reason == (
        "It has the lowest Fréchet distance of the 3 models, each with its best sampler. "
        "Autoencoder 100, mixture comes second with 41.00."
    )
    assert "(7.00 for its reconstructions, 10.00 for its samples) of the 2 models that do both" in (
        found["compromise"].reason
    )


def test_a_second_best_within_the_intervals_may_be_as_good() -> None:
    near = Result(
        Cell("dcgan", 10),
        Status.COMPLETE,
        metrics={"frechet_distance": 10.9},
        intervals={"frechet_distance": (10.3, 11.5)},
    )

    reason = verdicts_by_purpose(MIXES, near)["samples"].reason

    assert reason.endswith("DCGAN 10, N(0, I) may be as good: 10.90 ± 0.60.")


def test_the_best_sampler_of_a_model_is_the_one_with_the_lowest_distance() -> None:
    best = best_samples(MIXES)

    assert best is not None
    assert (best.sampler, best.value) == ("mixture", 10.0)


def test_without_an_encoder_there_is_a_verdict_on_samples_alone() -> None:
    assert list(verdicts_by_purpose(DRAWS)) == ["samples"]
    assert verdicts_by_purpose(DRAWS)["samples"].reason == "It has the lowest Fréchet distance."


@pytest.mark.parametrize("status", [Status.DIVERGED, Status.MISSING])
def test_a_cell_that_is_not_complete_is_best_for_nothing(status: Status) -> None:
    broken = Result(Cell("vae", 2), status, "broken", metrics={"frechet_distance": 1.0})

    assert verdicts_by_purpose(broken, DRAWS)["samples"].score.result is DRAWS
    assert find_verdicts([broken]) == []


def test_of_several_seeds_the_mean_decides_and_the_spread_is_their_deviation() -> None:
    seeds = [
        Result(Cell("dcgan", 2, seed), Status.COMPLETE, metrics={"frechet_distance": distance})
        for seed, distance in enumerate((60.0, 66.0))
    ]

    score = verdicts_by_purpose(*seeds, DRAWS)["samples"].score

    assert (score.result.cell, score.value) == (Cell("dcgan", 2), 63.0)
    assert score.reach == pytest.approx(4.243, abs=0.001)


def test_the_leaderboard_file_holds_the_verdicts() -> None:
    document = leaderboard_document("mine", {}, [REBUILDS, MIXES, DRAWS])

    first, second, _ = document["verdicts"]
    assert first["purpose"] == "reconstruction"
    assert (first["family"], first["latent_size"], first["sampler"]) == ("autoencoder", 100, "")
    assert (second["sampler"], second["value"]) == ("mixture", 10.0)
    assert second["half_width"] == pytest.approx(0.8)


def test_a_best_model_that_is_good_for_little_is_told_as_that() -> None:
    metrics = {
        **MIXES.metrics,
        "pca_mean_squared_error": 0.0141,
        "mixture_classes_covered": 1,
        "classes_covered": 6,
    }
    poor = Result(MIXES.cell, Status.COMPLETE, metrics=metrics)

    found = verdicts_by_purpose(poor)

    assert found["reconstruction"].caution == (
        "A PCA with 10 components rebuilds images better (0.0141)."
    )
    assert found["samples"].caution == "All its samples are of one class."
    assert found["compromise"].caution == ""
    assert not any(one.caution for one in verdicts_by_purpose(MIXES, DRAWS).values())


def test_samples_are_set_against_a_gaussian_and_the_judge_that_scored_them() -> None:
    references = {"pixel_gaussian": {"metrics": {"frechet_distance": 9.5}}}

    unsure = {
        one.purpose: one.caution
        for one in find_verdicts([MIXES], references, {"metrics": {"test_accuracy": 0.512}})
    }
    sure = find_verdicts([MIXES], {}, {"metrics": {"test_accuracy": 0.99}})

    doubt = "The judge gets 51% of the test images right, so distances say little."
    assert unsure == {
        "reconstruction": "",
        "samples": f"A Gaussian fitted to the pixels does better (9.50). {doubt}",
        "compromise": doubt,
    }
    assert not any(one.caution for one in sure)
