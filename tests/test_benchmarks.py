from __future__ import annotations

import pytest

from tests.benchmarks.overhead import STEPS, Step


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_the_benchmark_gives_each_step_inputs_that_it_has(step: Step) -> None:
    spec = step.component.component_spec
    given = {*step.reads, *step.parameters}

    required = {name for name, one in spec.inputs.items() if not one.optional}
    assert required <= given <= set(spec.inputs)
