from __future__ import annotations

from typing import Any

import pytest

from genpipe.cells import Cell, Family, parse_family
from genpipe.errors import InputError


@pytest.mark.parametrize(
    ("family", "latent_size", "name", "title"),
    [
        ("autoencoder", 2, "autoencoder-2", "Autoencoder 2"),
        ("vae", 10, "vae-10", "VAE 10"),
        ("dcgan", 100, "dcgan-100", "DCGAN 100"),
    ],
)
def test_a_cell_is_named_by_family_and_latent_size(
    family: str, latent_size: int, name: str, title: str
) -> None:
    cell = Cell(parse_family(family), latent_size)

    assert (cell.name, cell.title) == (name, title)


def test_a_family_may_be_given_by_its_name() -> None:
    assert Cell("vae", 2) == Cell(Family.VAE, 2)  # type: ignore[arg-type]


def test_a_latent_size_that_arrives_as_a_whole_float_becomes_an_int() -> None:
    cell = Cell(Family.VAE, 10.0)  # type: ignore[arg-type]

    assert type(cell.latent_size) is int
    assert cell.name == "vae-10"


def test_an_unknown_family_is_refused_and_the_known_ones_are_told() -> None:
    with pytest.raises(InputError, match=r"'gan': choose from autoencoder, vae, dcgan"):
        parse_family("gan")
    with pytest.raises(InputError, match="unknown model family 'gan'"):
        Cell("gan", 2)  # type: ignore[arg-type]


@pytest.mark.parametrize("latent_size", [0, -1, 2.5, True])
def test_a_latent_size_that_is_no_whole_number_above_0_is_refused(latent_size: Any) -> None:
    with pytest.raises(InputError, match=rf"latent size must be .*, got {latent_size!r}"):
        Cell(Family.VAE, latent_size)


@pytest.mark.parametrize("latent_size", [float("nan"), float("inf"), "ten", None])
def test_a_latent_size_that_is_no_number_is_refused_in_words(latent_size: Any) -> None:
    with pytest.raises(InputError, match=rf"latent size must be .*, got {latent_size!r}"):
        Cell(Family.VAE, latent_size)


def test_cells_sort_by_family_then_by_latent_size_as_a_number() -> None:
    cells = [
        Cell(Family.VAE, 100),
        Cell(Family.VAE, 10),
        Cell(Family.VAE, 2),
        Cell(Family.DCGAN, 5),
    ]

    assert [cell.name for cell in sorted(cells)] == ["dcgan-5", "vae-2", "vae-10", "vae-100"]
