"""What the report says of the data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genpipe.metrics.registry import format_metric


def data_rows(dataset: Mapping[str, Any]) -> list[dict[str, str]]:
    """A row a split: its images, its classes, its brightness, and images that are there twice.

    Args:
        dataset: content of ``dataset.json``; what it lacks is left out.
    """
    names = [str(name) for name in dataset.get("class_names", ())]
    rows = []
    for split, facts in dataset.get("splits", {}).items():
        found = dataset.get("statistics", {}).get(split)
        counts = facts.get("class_counts", ())
        if not found or len(counts) != len(names):
            continue
        few, many = (choose(zip(counts, names, strict=True)) for choose in (min, max))
        shared = found.get("in_train")
        rows.append(
            {
                "split": split,
                "images": f"{facts['size']:,}",
                "smallest": f"{few[1]}: {few[0]:,}",
                "largest": f"{many[1]}: {many[0]:,}",
                "brightness": f"{format_metric('', found['brightness'])}"
                f" ± {format_metric('', found['contrast'])}",
                "duplicates": f"{found['duplicates']:,}",
                "in_train": "" if shared is None else f"{shared:,}",
            }
        )
    return rows
