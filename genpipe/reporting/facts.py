"""What the report says of the run and of its data: what was trained, on what, for how long."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from genpipe.cells import Status
from genpipe.families.registry import all_families
from genpipe.families.spec import FamilySpec
from genpipe.metrics.registry import format_metric
from genpipe.reporting.leaderboard import split_sizes
from genpipe.reporting.results import Result, finite_numbers
from genpipe.tracking.progress import format_seconds
from genpipe.words import plural

DATA_TITLES = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "kmnist": "KMNIST"}


def data_title(dataset: Mapping[str, Any]) -> str:
    """What people call a data set."""
    name = str(dataset.get("name", "unknown data"))
    return DATA_TITLES.get(name, name)


def facts(
    dataset: Mapping[str, Any],
    judge: Mapping[str, Any],
    results: Sequence[Result],
    commit: str = "",
) -> list[tuple[str, str]]:
    """What ran, as (name, value)."""
    title = data_title(dataset)
    splits = ", ".join(f"{size:,} {title}" for title, size in split_sizes(dataset).items())
    families = families_of(results)
    sizes = sorted({result.cell.latent_size for result in results})
    seeds = sorted({seed for r in results if (seed := r.facts.get("seed")) is not None}, key=str)
    accuracy = finite_numbers(judge.get("metrics", {})).get("test_accuracy")
    seconds = [float(result.metrics.get("train_seconds") or 0) for result in results]
    told = [
        ("Data set", f"{title}: {splits}" if splits else title),
        ("Data digest", str(dataset.get("digest", "unknown"))[:19]),
        ("Model families", ", ".join(family.label for family in families)),
        ("Latent sizes", ", ".join(str(size) for size in sizes)),
        ("Training budget", "; ".join(filter(None, (_budget(f, results) for f in families)))),
        ("Seeds" if len(seeds) > 1 else "Seed", ", ".join(map(str, seeds))),
        ("Judge", f"{100 * accuracy:.2f}% test accuracy" if accuracy is not None else ""),
        ("Training time", f"{format_seconds(sum(seconds))}, all cells" if any(seconds) else ""),
        (
            "genpipe",
            _distinct(result.facts.get("version") for result in results) or _package_version(),
        ),
        ("Commit", commit),
    ]
    return [(term, value) for term, value in told if value]


def families_of(results: Sequence[Result]) -> list[FamilySpec]:
    """The families that have cells, in the order of the registry."""
    there = {result.cell.family for result in results}
    return [family for family in all_families().values() if family in there]


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
        kept_out = dataset.get("kept_out", {}).get(split)
        rows.append(
            {
                "split": split,
                "images": f"{facts['size']:,}",
                "smallest": f"{few[1]}: {few[0]:,}",
                "largest": f"{many[1]}: {many[0]:,}",
                "brightness": f"{format_metric('', found['brightness'])}"
                f" ± {format_metric('', found['contrast'])}",
                "duplicates": f"{found['duplicates']:,}",
                "kept_out": "" if kept_out is None else f"{kept_out:,}",
            }
        )
    return rows


def _budget(family: FamilySpec, results: Sequence[Result]) -> str:
    own = [r for r in results if r.cell.family is family and r.status == Status.COMPLETE]
    unit = family.budget
    counts = sorted({int(count) for r in own if (count := r.metrics.get(unit)) is not None})
    source = family.full.get(unit, 0)
    shorter = f" (published: {source:,})" if counts and counts[-1] < source else ""
    told = ", ".join(f"{count:,}" for count in counts)
    return f"{family.label} {told} {plural(family.axis, counts[-1])}{shorter}" if counts else ""


def _distinct(values: Iterable[Any]) -> str:
    return ", ".join(sorted({str(value) for value in values if value is not None}))


def _package_version() -> str:
    try:
        return version("genpipe")
    except PackageNotFoundError:
        return ""
