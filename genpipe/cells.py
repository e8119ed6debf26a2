"""What the fan-out is made of: cells, how they are written, and the state one ends in."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from genpipe.errors import InputError, shown
from genpipe.families.registry import all_families, find_family
from genpipe.families.spec import FamilySpec

CELL = re.compile(r"([^@]+)-([0-9]+)(?:@([0-9]{1,10}))?")


class Status(StrEnum):
    """How a cell ended. A diverged cell is a result; a missing one left no artifact."""

    COMPLETE = "complete"
    DIVERGED = "diverged"
    MISSING = "missing"


@dataclass(frozen=True, init=False)
class Cell:
    """One (family, latent size) of the fan-out. Cells sort as reports show them.

    Args:
        family: a family, or its name.
        latent_size: a whole number.
        seed: that it is trained with, in a run that trains each cell with several; without one it
            is the run's.

    Raises:
        InputError: the family is unknown, the latent size is below 1, or the seed is no whole
            number from 0 on.
    """

    family: FamilySpec
    latent_size: int
    seed: int | None

    def __init__(self, family: FamilySpec | str, latent_size: object, seed: object = None) -> None:
        spec = family if isinstance(family, FamilySpec) else find_family(family)
        size = latent_size
        whole = isinstance(size, int) or (isinstance(size, float) and size.is_integer())
        if isinstance(size, bool) or not whole:
            raise InputError(f"latent size must be a whole number, got {shown(size)}")
        if size < 1:  # type: ignore[operator]
            raise InputError(f"latent size must be at least 1, got {shown(size)}")
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or seed < 0):
            raise InputError(f"seed must be a whole number from 0 on, got {shown(seed)}")
        object.__setattr__(self, "family", spec)
        object.__setattr__(self, "latent_size", int(size))  # type: ignore[call-overload]
        object.__setattr__(self, "seed", seed)

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Cell:
        """The cell that a JSON document is about.

        Raises:
            KeyError: it names none.
            InputError: the family is unknown, or the latent size is none.
        """
        return cls(document["family"], document["latent_size"], document.get("cell_seed"))

    def __lt__(self, other: Cell) -> bool:
        return self._place < other._place

    @property
    def _place(self) -> tuple[int, int, int]:
        place = list(all_families()).index(self.family.name)
        return place, self.latent_size, -1 if self.seed is None else self.seed

    @property
    def identity(self) -> dict[str, Any]:
        """What a JSON document names the cell by, for ``parse``."""
        own = {"family": self.family.name, "latent_size": self.latent_size}
        return own if self.seed is None else {**own, "cell_seed": self.seed}

    @property
    def without_seed(self) -> Cell:
        """The cell that its trainings with several seeds are of."""
        return self if self.seed is None else Cell(self.family, self.latent_size)

    @property
    def variant(self) -> str:
        """``10``, or with a seed ``10@1``: what it is called within its family."""
        return f"{self.latent_size}" if self.seed is None else f"{self.latent_size}@{self.seed}"

    @property
    def name(self) -> str:
        """``vae-10`` or ``vae-10@1``: what folders, logs and W&B runs of it are named after."""
        return f"{self.family.name}-{self.variant}"

    @property
    def title(self) -> str:
        """``VAE 10`` or ``VAE 10, seed 1``: what people read."""
        title = f"{self.family.label} {self.latent_size}"
        return title if self.seed is None else f"{title}, seed {self.seed}"


def write_cell(cell: Cell, settings: Mapping[str, Any]) -> str:
    """A cell, and settings of its training, as the pipeline's loop hands them over.

    One string, since that is the one type of a loop's item that KFP's compiler, its local runner
    and its driver agree upon; and since a training's inputs are its cache key: it holds nothing of
    another family's settings.

    Returns:
        The cell's name, then the settings: ``vae-10 beta=4.0 epochs=40``.
    """
    return " ".join(
        [cell.name, *(f"{name}={json.dumps(value)}" for name, value in sorted(settings.items()))]
    )


def read_cell(text: str) -> tuple[Cell, dict[str, Any]]:
    """Read what ``write_cell`` writes, or people do: ``autoencoder-2@1 code_activation=linear``.

    Raises:
        InputError: the family, a setting or a value is unknown.
    """
    name, *assignments = str(text).split()[:1000] or [""]
    found = CELL.fullmatch(name)
    if not found:
        raise InputError(f"cell {shown(name)}: write a family and a latent size, such as vae-10")
    family, size, seed = found.groups()
    cell = Cell(family, int(size[:9]), None if seed is None else int(seed))
    settings = {}
    for assignment in assignments:
        setting, separator, value = assignment.partition("=")
        if not separator:
            raise InputError(f"cell {shown(text)}: write settings as epochs=40")
        try:
            parsed = json.loads(value)
        except ValueError:
            parsed = value
        settings[setting] = cell.family.check(setting, parsed)
    return cell, settings
