"""The compiled pipeline against KFP's driver: the type of every input, and of what feeds it."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from typing import Any

import pytest

from pipelines.parameters import Parameters
from tests.pipelines import driver
from tests.pipelines.golden import NAMES, compiled, documents

PARAMETERS = Parameters.checked({"latent_sizes": [2, 10], "beta": 4, "publish_to": "gs://b/best"})


def spec_of(environment: str) -> dict[str, Any]:
    return deepcopy(documents(compiled(environment))[0])


@pytest.mark.parametrize("environment", NAMES)
def test_the_driver_takes_the_inputs_of_every_task(environment: str) -> None:
    spec = spec_of(environment)
    for arguments in ({}, PARAMETERS.arguments()):
        tasks = list(driver.run(spec, arguments))

        sizes = arguments.get("latent_sizes", list(Parameters().latent_sizes))
        trained = [inputs["latent_size"] for name, inputs in tasks if name == "train-vae"]
        assert trained == sizes
        assert not any(isinstance(size, str) for size in trained)
        counts = Counter(name.partition("-")[0] for name, _ in tasks)
        assert counts["train"] == counts["evaluate"] == counts["sample"] == 3 * len(sizes)
        assert counts["compare"] == counts["publish"] == 1


def test_it_refuses_what_the_real_one_refused() -> None:
    """Loops over a parameter annotated ``list`` hand out strings: no training of such a run ran."""
    spec = spec_of("cluster-cpu")
    for name in ("comp-for-loop-1", "comp-for-loop-2", "comp-for-loop-3"):
        parameters = spec["components"][name]["inputDefinitions"]["parameters"]
        item = "pipelinechannel--latent_sizes-loop-item"
        assert parameters[item]["parameterType"] == "NUMBER_INTEGER"
        parameters[item]["parameterType"] = "STRING"

    with pytest.raises(driver.Refusal, match="latent_size type mismatch: expect NUMBER_INTEGER"):
        list(driver.run(spec, {}))
