from __future__ import annotations

import re
from typing import Any

import pytest

from genpipe.cells import Cell, read_cell, write_cell
from genpipe.errors import InputError
from genpipe.families.registry import find_family


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
    cell = Cell(find_family(family), latent_size)

    assert (cell.name, cell.title) == (name, title)


def test_a_family_may_be_given_by_its_name() -> None:
    assert Cell("vae", 2) == Cell("vae", 2)


def test_a_latent_size_that_arrives_as_a_whole_float_becomes_an_int() -> None:
    cell = Cell("vae", 10.0)

    assert type(cell.latent_size) is int
    assert cell.name == "vae-10"


def test_an_unknown_family_is_refused_and_the_known_ones_are_told() -> None:
    with pytest.raises(
        InputError, match=r"'gan': did you mean dcgan\? \(autoencoder, vae, dcgan\)"
    ):
        find_family("gan")
    with pytest.raises(InputError, match="unknown model family 'gan'"):
        Cell("gan", 2)


@pytest.mark.parametrize("latent_size", [0, -1, 2.5, True])
def test_a_latent_size_that_is_no_whole_number_above_0_is_refused(latent_size: Any) -> None:
    with pytest.raises(InputError, match=rf"latent size must be .*, got {latent_size!r}"):
        Cell("vae", latent_size)


@pytest.mark.parametrize("latent_size", [float("nan"), float("inf"), "ten", None])
def test_a_latent_size_that_is_no_number_is_refused_in_words(latent_size: Any) -> None:
    with pytest.raises(InputError, match=rf"latent size must be .*, got {latent_size!r}"):
        Cell("vae", latent_size)


def test_cells_sort_by_family_then_by_latent_size_as_a_number() -> None:
    cells = [
        Cell("vae", 100),
        Cell("vae", 10),
        Cell("vae", 2),
        Cell("dcgan", 5),
    ]

    assert [cell.name for cell in sorted(cells)] == ["vae-2", "vae-10", "vae-100", "dcgan-5"]


@pytest.mark.parametrize(
    ("text", "name", "settings"),
    [
        ("vae-10", "vae-10", {}),
        ("vae-10 beta=4.0 epochs=40", "vae-10", {"beta": 4.0, "epochs": 40}),
        ("autoencoder-2 code_activation=linear", "autoencoder-2", {"code_activation": "linear"}),
        ("dcgan-2 steps=4000", "dcgan-2", {"steps": 4000}),
    ],
)
def test_a_cell_is_written_and_read_with_what_its_training_is_told(
    text: str, name: str, settings: dict[str, Any]
) -> None:
    cell, told = read_cell(text)

    assert (cell.name, told) == (name, settings)
    assert read_cell(write_cell(cell, told)) == (cell, told)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("vae", "cell 'vae': write a family and a latent size, such as vae-10"),
        ("", "write a family and a latent size"),
        ("vae-", "write a family and a latent size"),
        ("vae-0", "latent size must be at least 1, got 0"),
        ("gan-2", "unknown model family 'gan'"),
        ("vae-2 epochs", "write settings as epochs=40"),
        ("vae-2 epochs=0", "epochs must lie between 1 and 100,000, got 0"),
        ("vae-2 steps=5", "no setting 'steps': choose from"),
        ("autoencoder-2 code_activation=tanh", "must be one of relu, linear, got 'tanh'"),
    ],
)
def test_what_is_no_cell_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        read_cell(text)


def test_a_cell_with_a_seed_of_its_own_says_so_and_is_read_again() -> None:
    cell = Cell("vae", 10, 1)

    assert (cell.name, cell.title, cell.variant) == ("vae-10@1", "VAE 10, seed 1", "10@1")
    assert read_cell(write_cell(cell, {"epochs": 3})) == (cell, {"epochs": 3})
    assert Cell.parse({**cell.identity, "status": "complete"}) == cell
    assert cell.without_seed == Cell("vae", 10) == Cell.parse(cell.without_seed.identity)
    assert sorted([Cell("vae", 10, 2), cell, Cell("vae", 2, 9)])[1:] == [cell, Cell("vae", 10, 2)]


@pytest.mark.parametrize("name", ["vae-10@", "vae-10@x", "vae@1", "vae-10@-1"])
def test_a_seed_that_is_no_number_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="write a family and a latent size"):
        read_cell(name)


@pytest.mark.parametrize("seed", [-1, 1.5, True, "../../x", [1]])
def test_a_seed_of_a_document_that_is_no_whole_number_is_refused(seed: Any) -> None:
    """Names of folders are made of it."""
    with pytest.raises(InputError, match="seed must be a whole number from 0 on"):
        Cell.parse({"family": "vae", "latent_size": 2, "cell_seed": seed})
