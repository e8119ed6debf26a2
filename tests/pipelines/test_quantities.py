"""Every quantity that a Kubernetes manifest may hold is one that KFP takes."""

# No `from __future__ import annotations` here: kfp reads the annotations as types.
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kfp import dsl
from kubernetes.utils.quantity import parse_quantity
from pydantic import BaseModel, ValidationError

from pipelines.quantities import CPU, Memory


class Asked(BaseModel, strict=True):
    cpu: CPU = "1"
    memory: Memory = "1Gi"


@dsl.component(base_image="python:3.11")
def idle() -> None:
    pass


@pytest.mark.parametrize(
    ("memory", "taken"),
    [
        ("1.5Gi", "1536Mi"),
        ("512Mi", "512Mi"),
        ("2G", "2G"),
        (2147483648, "2147483648"),
        ("1e9", "1000000000"),
        ("1E3", "1000"),
        ("128974848000m", "123Mi"),
        ("500k", "500000"),
        ("0.1Gi", "107374183"),  # Kubernetes rounds up
        (".5Ti", "512Gi"),
    ],
)
def test_memory_is_taken_as_kfp_takes_it(memory: Any, taken: str) -> None:
    assert Asked(memory=memory).memory == taken


@pytest.mark.parametrize(
    ("cpu", "taken"),
    [("500m", "500m"), ("0.5", "0.5"), (2, "2"), (0.25, "0.25"), ("1e-1", "100m"), ("100u", "1m")],
)
def test_cpu_is_taken_as_kfp_takes_it(cpu: Any, taken: str) -> None:
    assert Asked(cpu=cpu).cpu == taken


@pytest.mark.parametrize(
    "text", ["", "two", "2 GB", "-1", "1Gib", "1e", "0x10", "1,5Gi", "\u0661Gi"]
)
def test_what_is_no_quantity_is_refused(text: str) -> None:
    for field in ("cpu", "memory"):
        with pytest.raises(ValidationError, match="give a Kubernetes quantity"):
            Asked(**{field: text})


@given(
    st.from_regex(
        r"([0-9]{1,4}(\.[0-9]{0,3})?)([KMGTPE]i|[numkMGTPE]|e[0-9])?",
        fullmatch=True,
    )
)
def test_what_kfp_gets_is_the_amount_rounded_up(text: str) -> None:
    asked = Asked(cpu=text, memory=text)

    @dsl.pipeline
    def pipeline() -> None:
        idle().set_memory_limit(asked.memory).set_cpu_limit(asked.cpu)

    amount = parse_quantity(text)
    assert 0 <= parse_quantity(asked.memory) - amount < 1
    assert 0 <= parse_quantity(asked.cpu) - amount <= parse_quantity("1m")
