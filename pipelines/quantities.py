"""Amounts of CPU and memory: what a Kubernetes manifest may hold, as KFP takes it."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
QUANTITY = re.compile(r"\+?([0-9]+\.?[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?")
# What KFP's task.set_cpu_limit and task.set_memory_limit take.
KFP_CPU = re.compile(r"[0-9]+(\.[0-9]+)?m?")
KFP_MEMORY = re.compile(r"[0-9]+([KMGTPE]i?)?")
BINARY = ("Ei", "Pi", "Ti", "Gi", "Mi", "Ki")


def amount(quantity: str) -> Decimal:
    """A quantity in cores or bytes."""
    from kubernetes.utils.quantity import parse_quantity

    value: Decimal = parse_quantity(quantity)
    return value


def _text(value: Any) -> Any:
    """YAML reads ``2`` and ``0.5`` as numbers, which a manifest may hold too."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _quantity(text: str) -> str:
    if not QUANTITY.fullmatch(text):
        raise ValueError("give a Kubernetes quantity, such as 500m, 2, 1.5Gi or 512Mi")
    return text


def _cpu(text: str) -> str:
    if KFP_CPU.fullmatch(_quantity(text)):
        return text
    return f"{math.ceil(amount(text) * 1000)}m"  # Kubernetes counts in thousandths, and rounds up


def _memory(text: str) -> str:
    if KFP_MEMORY.fullmatch(_quantity(text)):
        return text
    size = math.ceil(amount(text))
    for power, suffix in zip(range(60, 0, -10), BINARY, strict=True):
        if size >= 2**power and size % 2**power == 0:
            return f"{size >> power}{suffix}"
    return str(size)


CPU = Annotated[str, BeforeValidator(_text), AfterValidator(_cpu)]
Memory = Annotated[str, BeforeValidator(_text), AfterValidator(_memory)]
