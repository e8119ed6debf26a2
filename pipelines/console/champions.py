"""The published champions: list them, explain how they came about, roll back."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from genpipe import storage
from genpipe.errors import InputError, StepError
from genpipe.families.registry import all_families, find_family
from genpipe.families.spec import COMPARED_BY
from genpipe.registry.champions import Champions, Decision
from pipelines.console.terminal import open_console


def open_target(target: str, family: str = "") -> list[Champions]:
    """The champions at a publish target.

    Args:
        target: a folder, or an address in a bucket.
        family: only this one's.

    Returns:
        Of each family that has one, in the order of the families.

    Raises:
        InputError: there is no champion, or no such family.
        StepError: the target can't be read.
    """
    families = [find_family(family).name] if family else list(all_families())
    place = target if storage.is_remote(target) else str(Path(target).expanduser().absolute())
    found = [Champions(place, one) for one in families]
    found = [champions for champions in found if champions.standing().decision]
    if not found:
        missing = not storage.is_remote(place) and not Path(place).exists()
        reason = "the folder does not exist" if missing else "nothing has been published there yet"
        if family and not missing:
            reason = f"none of {family} has been published there yet"
        raise InputError(f"no champions in {place}: {reason}")
    return found


def show_champions(all_of: Iterable[Champions]) -> None:
    """Print who is champion: version, run, metric, since when and by what decision."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("model", "version", "run", "metric", "since", "by"):
        table.add_column(heading, no_wrap=heading != "metric", overflow="fold")
    for champions in all_of:
        decision = champions.standing().decision
        if decision:
            cell, version, run = decision.cell.name, decision.champion, escape(decision.run)
            metric = escape(_metric(champions, version))
            table.add_row(cell, version, run, metric, _when(decision), decision.outcome.value)
    open_console().print(table)


def show_history(all_of: Iterable[Champions]) -> None:
    """Print every decision, the oldest first, and which version is champion by it."""
    console = open_console()
    decisions = [decision for champions in all_of for decision in champions.decisions()]
    for decision in sorted(decisions, key=lambda decision: decision.id):
        run = f" ({decision.run})" if decision.run else ""
        console.print(f"{_when(decision)}  {escape(str(decision) + run)}", soft_wrap=True)
        console.print(f"    champion: {decision.champion}", style="dim")


def roll_back(target: str, family: str, version: str = "") -> Decision:
    """Make a former champion the champion again.

    Args:
        target: a folder, or an address in a bucket.
        family: the family.
        version: which; the one before the present champion if empty.

    Raises:
        InputError: there is no champion, or the version was never champion, or is champion now.
        StepError: it is not whole, the champion changed meanwhile, or the target can't be written.
    """
    (champions,) = open_target(target, family)
    return champions.roll_back(version)


def _metric(champions: Champions, version: str) -> str:
    metric = find_family(champions.family).compared_by
    try:
        value = champions.metadata(version).get("metrics", {}).get(metric)
    except StepError as error:
        return str(error)
    return f"{COMPARED_BY[metric]} {value:.5g}" if isinstance(value, (int, float)) else ""


def _when(decision: Decision) -> str:
    return f"{decision.when.astimezone():%Y-%m-%d %H:%M}"
