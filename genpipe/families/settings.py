"""Settings of each model family: typed, range-checked, saved beside the weights.

A settings object is everything a model is built and trained from, apart from the data. It is
made once, from a component's parameters, and written to ``model.json``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from genpipe.cells import Cell, Family
from genpipe.errors import InputError

Range = tuple[float, float]

CHOICES = {
    "code_activation": ("relu", "linear"),
    "precision": ("auto", "float32", "bfloat16"),
}

# The widest values that a step accepts: a typo is refused before a pod starts, not after.
RANGES: dict[str, Range] = {
    "latent_size": (1, 4096),
    "seed": (0, 2**31 - 1),
    "batch_size": (1, 65_536),
    "learning_rate": (1e-8, 10.0),
    "hidden_size": (1, 65_536),
    "epochs": (1, 100_000),
    "steps": (1, 100_000_000),
    "gen_interval": (1, 100_000_000),
    "beta": (0.0, 1e6),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What all families share.

    ``precision`` is what the networks compute in; weights, losses and what is saved are float32
    throughout. ``auto`` is bfloat16 on GPUs that have it and float32 elsewhere.

    Raises:
        InputError: a value has the wrong type or lies outside its range (see ``RANGES``).
    """

    family: ClassVar[Family]

    latent_size: int
    seed: int = 0
    batch_size: int = 128
    learning_rate: float = 1e-3
    precision: str = "auto"

    def __post_init__(self) -> None:
        for field in fields(self):
            value = checked(field.name, getattr(self, field.name), field.type)
            object.__setattr__(self, field.name, value)

    @property
    def cell(self) -> Cell:
        """The cell these settings train."""
        return Cell(self.family, self.latent_size)

    def to_dict(self) -> dict[str, Any]:
        """The settings as ``model.json`` and the W&B config hold them."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class AutoencoderSettings(Settings):
    """Autoencoder: Adam on mean squared error, codes from relu or linear units."""

    family: ClassVar[Family] = Family.AUTOENCODER

    batch_size: int = 64
    learning_rate: float = 1.5e-3
    hidden_size: int = 512
    epochs: int = 11
    code_activation: str = "relu"


@dataclass(frozen=True, kw_only=True)
class VAESettings(Settings):
    """Variational autoencoder: ``beta`` weighs the KL divergence (1: Kingma & Welling 2013)."""

    family: ClassVar[Family] = Family.VAE

    batch_size: int = 96
    learning_rate: float = 4e-3
    hidden_size: int = 512
    epochs: int = 11
    beta: float = 1.0


@dataclass(frozen=True, kw_only=True)
class DCGANSettings(Settings):
    """DCGAN: a step is one discriminator update and one generator update.

    Every ``gen_interval`` steps a grid of samples from the same fixed noise is logged. With
    ``share_generator_pass`` the generator learns from the images that the discriminator has just
    learned from, where it otherwise makes new ones: less work, and not Keras-GAN's algorithm.
    """

    family: ClassVar[Family] = Family.DCGAN

    batch_size: int = 32
    learning_rate: float = 2e-4
    steps: int = 1100
    gen_interval: int = 250
    share_generator_pass: bool = False


SETTINGS: dict[Family, type[Settings]] = {
    Family.AUTOENCODER: AutoencoderSettings,
    Family.VAE: VAESettings,
    Family.DCGAN: DCGANSettings,
}


def checked(name: str, value: Any, kind: Any) -> Any:
    """Check one setting's type and range; whole floats become ints, as KFP hands them over.

    Raises:
        InputError: the value is of another type, not finite, or out of range.
    """
    kind = {"int": int, "float": float, "str": str, "bool": bool}.get(kind, kind)
    if kind is str:
        if value not in CHOICES[name]:
            raise InputError(f"{name} must be one of {', '.join(CHOICES[name])}, got {value!r}")
        return value
    if kind is bool:
        if not isinstance(value, bool):
            raise InputError(f"{name} must be true or false, got {value!r}")
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        raise InputError(f"{name} must be a number, got {value!r}")
    low, high = RANGES[name]
    if not low <= value <= high:
        raise InputError(f"{name} must lie between {low:g} and {high:g}, got {value!r}")
    if kind is int and value != int(value):
        raise InputError(f"{name} must be a whole number, got {value!r}")
    return kind(value)
