"""The compiled pipeline against KFP's driver: the type of every input, and of what feeds it."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from typing import Any

import pytest

from pipelines.parameters import Parameters
from tests.pipelines import driver
from tests.pipelines.golden import NAMES, compiled, documents

PARAMETERS = Parameters.checked(
    {"latent_sizes": [2, 10], "vae.beta": 4, "publish_to": "gs://b/best"}
)


def spec_of(environment: str) -> dict[str, Any]:
    return deepcopy(documents(compiled(environment))[0])


@pytest.mark.parametrize("environment", NAMES)
def test_the_driver_takes_the_inputs_of_every_task(environment: str) -> None:
    spec = spec_of(environment)
    for arguments in ({}, PARAMETERS.arguments()):
        tasks = list(driver.run(spec, arguments))

        cells = (
            arguments.get("cells")
            or spec["root"]["inputDefinitions"]["parameters"]["cells"]["defaultValue"]
        )
        assert [inputs["cell"] for name, inputs in tasks if name == "train"] == cells
        counts = Counter(name.partition("-")[0] for name, _ in tasks)
        assert counts["train"] == counts["evaluate"] == counts["sample"] == len(cells)
        assert counts["compare"] == counts["publish"] == 1


def test_it_refuses_what_the_real_one_refused() -> None:
    """An input of another type than the loop's item has: no training of such a run ran."""
    spec = spec_of("cluster-cpu")
    parameters = spec["components"]["comp-for-loop-1"]["inputDefinitions"]["parameters"]
    assert parameters["pipelinechannel--cells-loop-item"]["parameterType"] == "STRING"
    spec["components"]["comp-train"]["inputDefinitions"]["parameters"]["cell"] = {
        "parameterType": "NUMBER_INTEGER"
    }

    with pytest.raises(driver.Refusal, match="cell type mismatch: expect NUMBER_INTEGER"):
        list(driver.run(spec, {}))
