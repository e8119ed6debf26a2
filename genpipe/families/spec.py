"""What a model family is: its settings, and all in which it differs from the others.

Everything outside a family's own folder reads its ``FamilySpec`` and asks for no family by name.
A spec is read by commands and by steps that never train, so it imports no TensorFlow: ``build``
does, when it is called.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from genpipe.errors import InputError, plain, shown

if TYPE_CHECKING:
    import keras

ImageShape = tuple[int, int, int]  # height, width, channels
NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
TYPES = {"int": int, "float": float, "str": str, "bool": bool}
BATCH_SIZES = (1, 65_536)
LEARNING_RATES = (1e-8, 10.0)
EPOCHS = (1, 100_000)
STEPS = (1, 100_000_000)
# What champions can be compared by, and what it is called within a sentence: two losses of each
# validation image (``validation_losses.npy``), or a distance of samples to them.
COMPARED_BY = {
    "mean_squared_error": "mean squared error",
    "elbo": "ELBO",
    "frechet_distance": "Fréchet distance",
}


def number(default: Any, within: tuple[float, float], about: str) -> Any:
    """A field of settings: a number in a range, so that a typo is refused before a pod starts.

    Args:
        default: ``MISSING`` for none.
        within: the least value and the largest.
        about: what it is, in a few words.
    """
    return field(default=default, metadata={"about": about, "range": within})


def choice(default: str, options: Sequence[str], about: str) -> Any:
    """A field of settings: one of a few words."""
    return field(default=default, metadata={"about": about, "choices": tuple(options)})


def switch(default: bool, about: str) -> Any:
    """A field of settings: true or false."""
    return field(default=default, metadata={"about": about})


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Settings whose fields are made by ``number``, ``choice`` and ``switch``.

    Raises:
        InputError: a value has the wrong type, or lies outside its range.
    """

    def __post_init__(self) -> None:
        for one in fields(self):
            object.__setattr__(self, one.name, checked(one, getattr(self, one.name)))

    def to_dict(self) -> dict[str, Any]:
        """The settings as ``model.json`` and the W&B config hold them."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Settings(Checked):
    """What a model is built and trained from, apart from the data; a family adds its own.

    They are made once, from a run's parameters, and written to ``model.json``. ``precision`` is
    what the networks compute in; weights, losses and what is saved are float32 throughout.
    ``auto`` is bfloat16 on GPUs that have it and float32 elsewhere.
    """

    latent_size: int = number(MISSING, (1, 4096), "units in a code")
    seed: int = number(0, (0, 2**31 - 1), "seed of weights, order and noise")
    precision: str = choice(
        "auto",
        ("auto", "float32", "bfloat16"),
        "number format of the networks during training: float32, bfloat16, or auto (bfloat16 "
        "on GPUs that have it)",
    )
    batch_size: int = number(128, BATCH_SIZES, "images in a batch")
    learning_rate: float = number(1e-3, LEARNING_RATES, "Adam's learning rate")


# Fields that a run has once for all families.
SHARED = ("latent_size", "seed", "precision")


@dataclass(frozen=True)
class Curve:
    """A curve of a training: a column of ``history.csv``, what a legend calls it, and its line."""

    column: str
    label: str
    dashed: bool = False


LOSS_CURVES = (
    Curve("loss", "training loss"),
    Curve("validation_loss", "validation loss", dashed=True),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class FamilySpec:
    """A model family.

    Attributes:
        name: in cells, files and parameters: ``vae``.
        label: in prose: ``VAE``.
        purpose: what its best latent size is best for: ``reconstruction``.
        settings: its ``Settings``, one field per setting.
        build: makes the untrained model of settings for images of a shape (height, width,
            channels), a ``keras.Model`` (docs/extending.md says what the training asks of it).
            TensorFlow is imported here and nowhere else in the spec.
        decoder: its network, by name, that makes images of codes.
        encoder: its network that makes codes of images; empty where it has none.
        discriminator: its network that tells real images from made ones; empty where it has none.
        variational: whether its encoder gives the mean and the log variance of a posterior.
        follows_prior: whether its codes are meant to follow N(0, I).
        rescaling: what its networks read and make: ``unit`` is [0, 1], ``symmetric`` [-1, 1].
        budget: the setting that says how long it trains, ``epochs`` or ``steps``; also what its
            history counts, a row each epoch or every so many steps.
        curves: what a report draws of its training.
        headline: the column of its history that one curve alone shows.
        deciding: metrics that decide its best latent size, the first of them of the validation
            split: by it, and by the next where it is equal.
        shown: metrics that a report shows large, the first of them largest.
        compared_by: what two models are compared by before one is champion (``COMPARED_BY``).
        training_deviation: what another seed alone makes of what models are compared by: its
            standard deviation over seeds, as a share of it, measured (docs/champions.md). 0 where
            that was not measured.
        full: settings that the published original trains it with, where the defaults save time.
        loss_limit: the largest loss of a healthy training with these settings; above it, the
            training counts as diverged.
        compiled_on_cpus: whether XLA makes its training faster on CPUs; on GPUs it always does.
        operations_side_by_side: whether on CPUs its operations are best run side by side, each in
            one thread: many small ones, as of convolutions.

    Raises:
        ValueError: a field holds what it can't.
    """

    name: str
    label: str
    purpose: str = ""
    settings: type[Settings]
    build: Callable[[Any, ImageShape], keras.Model]
    decoder: str
    encoder: str = ""
    discriminator: str = ""
    variational: bool = False
    follows_prior: bool
    rescaling: str = "unit"
    budget: str = "epochs"
    curves: Sequence[Curve] = LOSS_CURVES
    headline: str = "validation_loss"
    deciding: Sequence[str]
    shown: Sequence[str]
    compared_by: str
    training_deviation: float = 0.0
    full: Mapping[str, Any] = field(default_factory=dict)
    loss_limit: Callable[[Any], float]
    compiled_on_cpus: bool = True
    operations_side_by_side: bool = False

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(f"name {self.name!r}: small letters, digits and _, a letter first")
        allowed = {
            "rescaling": ("unit", "symmetric"),
            "budget": ("epochs", "steps"),
            "compared_by": tuple(COMPARED_BY),
        }
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name} {getattr(self, name)!r}: choose from {', '.join(values)}")
        if not self.deciding[0].startswith("validation_"):
            raise ValueError(f"deciding {self.deciding[0]!r}: the first is of the validation split")
        if self.budget not in self.fields:
            raise ValueError(f"its settings have no field {self.budget}")

    def __repr__(self) -> str:
        return f"<family {self.name}>"

    @property
    def promotion_margin(self) -> float:
        """By what share of a champion's metric another seed alone may better it.

        95% of the differences of two trainings lie below 1.96 times the root of 2 standard
        deviations.
        """
        return 1.96 * 2**0.5 * self.training_deviation

    @property
    def axis(self) -> str:
        """The column that its history counts by: ``epoch`` or ``step``."""
        return self.budget.removesuffix("s")

    @property
    def fields(self) -> dict[str, Field[Any]]:
        """Its own settings, without those that a run has once for all families."""
        return {one.name: one for one in fields(self.settings) if one.name not in SHARED}

    def check(self, name: str, value: Any) -> Any:
        """One of its own settings, checked.

        Raises:
            InputError: there is no such setting, or its value is of another type or out of range.
        """
        if name not in self.fields:
            raise InputError(f"no setting {shown(name)}: choose from {', '.join(self.fields)}")
        return checked(self.fields[name], value)


def describe(setting: Field[Any]) -> str:
    """What a setting is, with the words that it may be."""
    words = setting.metadata.get("choices", ())
    about = str(setting.metadata["about"])
    return about if not words or words[0] in about else f"{about}: {' or '.join(words)}"


def checked(setting: Field[Any], value: Any) -> Any:
    """Check one setting's type and range; whole floats become ints, as KFP hands them over.

    Raises:
        InputError: the value is of another type, not finite, or out of range.
    """
    name: str = setting.name
    kind: Any = TYPES.get(str(setting.type), setting.type)
    if kind is str:
        choices = setting.metadata["choices"]
        if value not in choices:
            raise InputError(f"{name} must be one of {', '.join(choices)}, got {shown(value)}")
        return value
    if kind is bool:
        if not isinstance(value, bool):
            raise InputError(f"{name} must be true or false, got {shown(value)}")
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        raise InputError(f"{name} must be a number, got {shown(value)}")
    if value in (float("inf"), -float("inf")):
        raise InputError(f"{name} must be a finite number, got {shown(value)}")
    low, high = setting.metadata["range"]
    if not low <= value <= high:
        within = f"{plain(low)} and {plain(high)}"
        raise InputError(f"{name} must lie between {within}, got {shown(value)}")
    if kind is int and value != int(value):
        raise InputError(f"{name} must be a whole number, got {shown(value)}")
    return kind(value)
