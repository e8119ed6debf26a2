"""What the fan-out is made of: model families, cells, and the state a cell ends in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from genpipe.errors import InputError, shown


class Family(StrEnum):
    """A model family of the pipeline."""

    AUTOENCODER = "autoencoder"
    VAE = "vae"
    DCGAN = "dcgan"

    @property
    def label(self) -> str:
        """The name as prose writes it: ``Autoencoder``, ``VAE``, ``DCGAN``."""
        return {"autoencoder": "Autoencoder", "vae": "VAE", "dcgan": "DCGAN"}[self.value]


class Status(StrEnum):
    """How a cell ended. A diverged cell is a result; a missing one left no artifact."""

    COMPLETE = "complete"
    DIVERGED = "diverged"
    MISSING = "missing"


@dataclass(frozen=True, order=True)
class Cell:
    """One (family, latent size) of the fan-out.

    Raises:
        InputError: the family is unknown or the latent size is below 1.
    """

    family: Family
    latent_size: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "family", parse_family(self.family))
        size: object = self.latent_size
        whole = isinstance(size, int) or (isinstance(size, float) and size.is_integer())
        if isinstance(size, bool) or not whole:
            raise InputError(f"latent size must be a whole number, got {shown(size)}")
        object.__setattr__(self, "latent_size", int(self.latent_size))
        if self.latent_size < 1:
            raise InputError(f"latent size must be at least 1, got {shown(self.latent_size)}")

    @property
    def name(self) -> str:
        """``vae-10``: what folders, logs and W&B runs of the cell are named after."""
        return f"{self.family.value}-{self.latent_size}"

    @property
    def title(self) -> str:
        """``VAE 10``: what people read."""
        return f"{self.family.label} {self.latent_size}"


def parse_family(name: object) -> Family:
    """Turn a family's name into a ``Family``.

    Raises:
        InputError: there is no such family.
    """
    found = next((family for family in Family if family == name), None)
    if found is None:
        known = ", ".join(family.value for family in Family)
        raise InputError(f"unknown model family {shown(name)}: choose from {known}")
    return found
