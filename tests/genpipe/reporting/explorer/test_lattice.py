"""What the explorer's page holds is what the model decodes, nearly, and small."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from genpipe.reporting.explorer.lattice import Plane
from tests.genpipe.reporting.explorer.explored import Explored

SQUARE = np.eye(2, 5)


def test_a_place_leads_to_a_code_and_back() -> None:
    plane = Plane("any", np.arange(5.0), SQUARE)
    places = np.random.default_rng(0).normal(size=(7, 2))

    found = plane.places(plane.codes(places))

    np.testing.assert_allclose(found, np.column_stack([places, np.zeros(7)]), atol=2e-3)


def test_a_code_off_the_plane_is_projected_and_its_distance_kept() -> None:
    codes = np.array([[3.0, 5, 2, 8, 16]])

    assert Plane("any", np.arange(5.0), SQUARE).places(codes).tolist() == [[3, 4, 13]]


@pytest.mark.parametrize("name", ["vae", "autoencoder", "dcgan"])
def test_the_lattice_is_what_the_model_decodes(name: str, request: pytest.FixtureRequest) -> None:
    explored: Explored = request.getfixturevalue(name)
    [one, *_] = explored.model.decode(np.zeros((1, explored.cell["latent_size"]), np.float32))
    side = explored.cell["side"]

    for plane in explored.cell["planes"]:
        picture = Image.open(io.BytesIO(base64.b64decode(plane["picture"])))
        assert picture.size == (side * one.shape[1], side * one.shape[0])
        assert 0 < plane["error"] < 0.03
    json.dumps(explored.cell, allow_nan=False)


def test_a_plane_latent_space_is_shown_as_it_is(vae: Explored) -> None:
    [plane] = vae.cell["planes"]

    np.testing.assert_allclose(np.array(plane["points"])[:, :2], vae.codes, atol=6e-4)
    assert plane["zero"] == [0, 0, 0]
    assert vae.cell["labels"] == vae.labels.tolist()


def test_a_deeper_one_is_cut_along_principal_components_and_through_codes(
    autoencoder: Explored,
) -> None:
    principal, *through = autoencoder.cell["planes"]

    variances = autoencoder.codes.var(axis=0)
    share = np.sort(variances)[::-1][:2].sum() / variances.sum()
    assert principal["name"] == f"principal components 1 and 2: {share:.0%} of the variance"
    assert [plane["name"] for plane in through] == ["through 0, 1 and 2", "through 3, 4 and 5"]
    for number, plane in enumerate(through):
        on_it = [i for i, point in enumerate(plane["points"]) if point[2] == 0]
        assert sorted(autoencoder.labels[on_it]) == [3 * number + i for i in range(3)]
        corners = np.array(plane["points"])[on_it, :2]
        assert (np.abs(corners - plane["centre"]) < plane["reach"]).all()


def test_draws_stand_for_codes_where_there_is_no_encoder(dcgan: Explored) -> None:
    assert dcgan.cell["labels"] is None
    assert dcgan.cell["planes"][0]["name"] == "through draw 1, draw 2 and draw 3"


def test_a_single_code_unit_is_a_line() -> None:
    plane = Plane("line", np.zeros(1), np.eye(2, 1))

    np.testing.assert_array_equal(plane.codes(np.array([[2.0, 55.0]])), [[2]])
