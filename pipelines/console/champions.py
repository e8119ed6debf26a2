"""The published champions: list them, explain how they came about, roll back."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

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


def champion_facts(champions: Champions) -> dict[str, Any]:
    """A family's champion as `genpipe champions list --output json` prints it."""
    decision = champions.standing().decision
    assert decision  # of `open_target`
    metric = find_family(champions.family).compared_by
    return {
        "family": champions.family,
        "cell": decision.cell.name,
        "version": decision.champion,
        "run": decision.run,
        "metric": metric,
        "value": _value(champions, decision.champion, metric),
        "since": decision.when.isoformat(),
        "outcome": decision.outcome.value,
    }


def decision_facts(decision: Decision) -> dict[str, Any]:
    """A decision as `genpipe champions history --output json` prints it."""
    return {
        "when": decision.when.isoformat(),
        "family": decision.family,
        "cell": decision.cell.name,
        "run": decision.run,
        "outcome": decision.outcome.value,
        "reason": decision.reason,
        "champion": decision.champion,
        "previous": decision.previous or None,
    }


def decisions_of(all_of: Iterable[Champions]) -> list[Decision]:
    """Every decision, the oldest first."""
    decisions = [decision for champions in all_of for decision in champions.decisions()]
    return sorted(decisions, key=lambda decision: decision.id)


def show_history(decisions: Iterable[Decision]) -> None:
    """Print decisions, and which version is champion by each."""
    console = open_console()
    for decision in decisions:
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
        value = _value(champions, version, metric)
    except StepError as error:
        return str(error)
    return "" if value is None else f"{COMPARED_BY[metric]} {value:.5g}"


def _value(champions: Champions, version: str, metric: str) -> float | None:
    value = champions.metadata(version).get("metrics", {}).get(metric)
    return value if isinstance(value, (int, float)) else None


def _when(decision: Decision) -> str:
    return f"{decision.when.astimezone():%Y-%m-%d %H:%M}"
