"""The table of docs/metrics.md, made from the registry (`make golden`)."""

from __future__ import annotations

import re
from pathlib import Path

from genpipe.metrics.registry import METRICS
from genpipe.metrics.samplers import SAMPLERS

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"


def metrics_table() -> str:
    """The table, in Markdown: a row for each metric."""
    rows = [
        f"| `{name}` | {metric.unit} | {metric.better} | {metric.meaning} | {metric.reference} |"
        for name, metric in METRICS.items()
        if not name.startswith(tuple(SAMPLERS))
    ]
    return "\n".join(
        ["| metric | unit | better | what it is | reference |", "|---|---|---|---|---|", *rows]
    )


def write_metrics_page() -> None:
    """Put the table in the place of the page's own."""
    page = PAGE.read_text(encoding="utf-8")
    table = metrics_table() + "\n"
    own = r"^\| metric \|.*\n(\|.*\n)+"
    PAGE.write_text(re.sub(own, lambda _: table, page, count=1, flags=re.M), "utf-8")
