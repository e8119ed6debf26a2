from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmarks.__main__ import peer_table, processor
from tests.benchmarks.overhead import STEPS, Step
from tests.benchmarks.quality import hold


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_the_benchmark_gives_each_step_inputs_that_it_has(step: Step) -> None:
    spec = step.component.component_spec
    given = {*step.reads, *step.parameters}

    required = {name for name, one in spec.inputs.items() if not one.optional}
    assert required <= given <= set(spec.inputs)


def test_the_bars_go_by_the_mean_over_seeds_and_some_by_each(tmp_path: Path) -> None:
    """Of a DCGAN of 4,000 steps: its distance by the mean, its digits and shares by every seed."""
    rows = [
        {
            "family": "dcgan",
            "latent_size": 100,
            "cell_seed": seed,
            "metrics": {
                "classes_covered": 10,
                "largest_class_share": share,
                "frechet_distance": distance,
                "steps": 4000,
            },
        }
        for seed, (share, distance) in enumerate([(0.2, 25.0), (0.3, 17.0)])
    ]
    mean = {**rows[0], "metrics": {**rows[0]["metrics"], "frechet_distance": 21.0}}
    del mean["cell_seed"]
    (tmp_path / "leaderboard.json").write_text(json.dumps({"cells": rows, "over_seeds": [mean]}))
    (tmp_path / "judge" / "model").mkdir(parents=True)
    judge = {"metrics": {"test_accuracy": 0.9}}
    (tmp_path / "judge" / "model" / "model.json").write_text(json.dumps(judge))

    missed = [(cell, metric, value) for cell, metric, value, *_, held in hold(tmp_path) if not held]

    assert missed == [("judge", "test_accuracy", 0.9), ("dcgan-100", "largest_class_share", 0.3)]
    assert ("dcgan-100", "frechet_distance", 21.0, "<=", 22, True) in list(hold(tmp_path))


def test_a_processor_is_named_with_its_generation_and_what_it_multiplies_with() -> None:
    description = (
        "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n"
        "flags\t\t: fpu avx2 avx512f avx512_bf16\nbugs\t\t:\n"
    )

    assert processor(description) == "AMD EPYC (family 25, model 17, AVX2, AVX-512, AVX-512 BF16)"


def test_a_peer_that_is_not_installed_is_one_line_and_no_column() -> None:
    loop = {"family": "vae", "latent_size": 10, "batch_size": 32}
    loop |= {"peer_ratios": {"JAX": 0.98}, "images_per_second": {"ours": 15_000, "JAX": 15_306}}
    missing = dict.fromkeys(("PyTorch", "PyTorch compiled"), "No module named 'torch'")
    machine = {"jax": "0.10.2", "missing_peers": missing}

    lines = peer_table({"machine": machine, "loops": [loop]})

    assert lines == [
        "Not in the race: PyTorch (No module named 'torch'), "
        "PyTorch compiled (No module named 'torch').",
        "",
        "JAX 0.10.2.",
        "",
        "| family | latent size | batch | times JAX | images/s | JAX |",
        "|---|---|---|---|---|---|",
        "| VAE | 10 | 32 | 0.98 | 15,000 | 15,306 |",
        "",
    ]
