from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any

import pytest

from genpipe.errors import InputError
from genpipe.families.autoencoder.spec import AutoencoderSettings
from genpipe.families.dcgan.spec import DCGANSettings
from genpipe.families.registry import all_families, find_family
from genpipe.families.spec import FamilySpec, Settings, switch
from genpipe.families.vae.spec import VAESettings

OWNER: dict[str, type[Settings]] = {
    one.name: family.settings
    for family in all_families().values()
    for one in fields(family.settings)
}
RANGES: dict[str, tuple[float, float]] = {
    one.name: one.metadata["range"]
    for kind in OWNER.values()
    for one in fields(kind)
    if "range" in one.metadata
}
WHOLE = sorted(set(RANGES) - {"learning_rate", "beta"})


def settings(name: str, value: Any) -> Settings:
    """The settings of a family that has the setting, all but it left as they are."""
    return OWNER[name](**{"latent_size": 2, name: value})


def refused(name: str, value: Any) -> Any:
    return pytest.raises(InputError, match=rf"^{name} must .*, got {re.escape(repr(value))}$")


@pytest.mark.parametrize("name", RANGES)
def test_both_ends_of_a_range_are_taken_and_what_is_beyond_is_refused(name: str) -> None:
    low, high = RANGES[name]
    step = 1 if name in WHOLE else low / 2 or 1e-9

    assert getattr(settings(name, low), name) == low
    assert getattr(settings(name, high), name) == high
    with refused(name, low - step):
        settings(name, low - step)
    with refused(name, high + (1 if name in WHOLE else 1e-3)):
        settings(name, high + (1 if name in WHOLE else 1e-3))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, False, None, "3", [3]])
@pytest.mark.parametrize("name", RANGES)
def test_what_is_no_finite_number_is_refused(name: str, value: Any) -> None:
    with refused(name, value):
        settings(name, value)


@pytest.mark.parametrize("name", WHOLE)
def test_whole_floats_become_ints_and_others_are_refused(name: str) -> None:
    assert type(getattr(settings(name, 3.0), name)) is int
    with refused(name, 3.5):
        settings(name, 3.5)


def test_an_int_beyond_every_float_is_refused_too() -> None:
    with pytest.raises(InputError, match=r"^beta must"):
        settings("beta", 10**400)


def test_ints_become_floats_where_a_setting_is_a_float() -> None:
    made = VAESettings(latent_size=2, learning_rate=1, beta=4)

    assert (type(made.learning_rate), type(made.beta)) == (float, float)


@pytest.mark.parametrize("value", ["tanh", "ReLU", "", None, 1])
@pytest.mark.parametrize(
    ("name", "choices"),
    [("code_activation", "relu, linear"), ("precision", "auto, float32, bfloat16")],
)
def test_what_is_none_of_the_choices_is_refused(name: str, choices: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"{name} must be one of {choices}, got {value!r}"):
        AutoencoderSettings(latent_size=2, **{name: value})


@pytest.mark.parametrize("value", [0, 1, "true", None])
def test_a_switch_is_true_or_false_and_nothing_else(value: Any) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Brought(Settings):
        tied: bool = switch(False, "whether the decoder has the encoder's weights")

    assert Brought(latent_size=2, tied=True).tied
    with pytest.raises(InputError, match="tied must be true or false"):
        Brought(latent_size=2, tied=value)


@pytest.mark.parametrize("family", list(all_families()))
def test_settings_are_frozen_and_rebuilt_from_what_is_saved(
    family: str,
) -> None:
    made = find_family(family).settings(latent_size=10, seed=3)

    assert find_family(family).settings(**made.to_dict()) == made
    with pytest.raises(AttributeError):
        made.seed = 4  # type: ignore[misc]


def test_no_family_is_decided_on_the_test_split() -> None:
    family = find_family("vae")
    given = {one.name: getattr(family, one.name) for one in fields(family)}

    with pytest.raises(ValueError, match="deciding 'total_loss': the first is of the validation"):
        FamilySpec(**{**given, "deciding": ("total_loss",)})


def test_the_dcgan_learns_as_its_source_does() -> None:
    made = DCGANSettings(latent_size=100)

    assert (made.batch_size, made.learning_rate) == (32, 2e-4)
