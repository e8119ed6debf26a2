"""The families that there are: those of the package, and those that other distributions bring.

A distribution brings one by an entry point of the group ``genpipe.families`` that names its
``FamilySpec``; docs/extending.md walks through it.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from genpipe.errors import InputError, did_you_mean, shown
from genpipe.families.autoencoder.spec import FAMILY as AUTOENCODER
from genpipe.families.dcgan.spec import FAMILY as DCGAN
from genpipe.families.spec import FamilySpec
from genpipe.families.vae.spec import FAMILY as VAE

GROUP = "genpipe.families"


@cache
def all_families() -> dict[str, FamilySpec]:
    """Every family by its name: the package's own first, then the others by name.

    Raises:
        InputError: a distribution's family can't be imported, is not a FamilySpec, or has a
            name that is taken.
    """
    found = {family.name: family for family in (AUTOENCODER, VAE, DCGAN)}
    for entry in family_entry_points():
        family = _load(entry)
        if family.name in found:
            raise InputError(f"{_place(entry)}: a family named {family.name} exists already")
        found[family.name] = family
    return found


def family_entry_points() -> list[EntryPoint]:
    """The entry points of other distributions' families, in the order of their names."""
    return sorted(entry_points(group=GROUP), key=lambda entry: entry.name)


def find_family(name: object) -> FamilySpec:
    """The family of a name.

    Raises:
        InputError: no family has this name.
    """
    found = all_families().get(name) if isinstance(name, str) else None
    if found is None:
        known = ", ".join(all_families())
        meant = did_you_mean(name, all_families())
        hint = f"{meant} ({known})" if meant else f"choose from {known}"
        raise InputError(f"unknown model family {shown(name)}: {hint}")
    return found


def _load(entry: EntryPoint) -> FamilySpec:
    try:
        family = entry.load()
    except Exception as error:  # it runs somebody's module
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{_place(entry)} can't be loaded ({reason})") from error
    if not isinstance(family, FamilySpec):
        raise InputError(f"{_place(entry)} is not a FamilySpec")
    return family


def _place(entry: EntryPoint) -> str:
    brought = entry.dist.name if entry.dist else "a distribution"
    return f"family {entry.name} of {brought} ({entry.value})"
