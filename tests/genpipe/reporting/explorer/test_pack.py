"""What a pack holds is what the model holds, nearly, and small."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import numpy as np
import pytest

from genpipe.reporting.explorer.pack import MOST_DIRECTIONS, Bundle, Frame, frame_of_codes
from tests.genpipe.reporting.explorer.packed import Packed


def unpack(pack: dict[str, Any]) -> dict[str, np.ndarray]:
    """Read the arrays of a bundle, as the page does."""
    data = zlib.decompress(base64.b64decode(pack["data"]))
    arrays, offset = {}, 0
    for name, kind, shape in pack["arrays"]:
        count = int(np.prod(shape))
        arrays[name] = np.frombuffer(data, kind, count, offset).reshape(shape)
        offset += arrays[name].nbytes
    assert offset == len(data)
    return arrays


def test_a_rounded_matrix_is_off_by_half_a_level_at_most() -> None:
    rows = np.random.default_rng(0).normal(size=(5, 300)) * [[1], [10], [0.01], [1e4], [0]]
    bundle = Bundle()

    told = bundle.rounded("rows", rows, 127)
    read = unpack(bundle.encode())

    again = read["rows"] * read["rows scales"][:, None]
    np.testing.assert_array_equal(again, told)
    levels = np.abs(rows).max(axis=1, keepdims=True) / 127
    assert (np.abs(again - rows) <= 0.501 * levels + 1e-9).all()


def test_principal_directions_lead_to_the_codes_and_back() -> None:
    codes = np.random.default_rng(0).normal(size=(50, 4)) * [1, 9, 3, 0.1] + 7

    frame = frame_of_codes(codes)
    coordinates = frame.coordinates(codes)

    assert (np.diff(coordinates.var(axis=0)) < 0).all()
    np.testing.assert_allclose(frame.codes(coordinates), codes, rtol=1e-5)
    assert frame.names[0].startswith("principal direction 1: 8")


def test_a_wide_latent_space_is_explored_along_its_first_directions() -> None:
    codes = np.random.default_rng(0).normal(size=(400, MOST_DIRECTIONS + 10))

    frame = frame_of_codes(codes)

    assert len(frame.names) == len(frame.directions) == MOST_DIRECTIONS


def test_a_single_code_unit_is_explored_as_a_line() -> None:
    frame: Frame = frame_of_codes(np.ones((9, 1)))

    coordinates = np.array([[2.0, 55.0]])
    np.testing.assert_array_equal(frame.codes(coordinates), [[2]])


@pytest.mark.parametrize("name", ["vae", "autoencoder", "dcgan"])
def test_the_packed_network_makes_the_models_own_images(
    name: str, request: pytest.FixtureRequest
) -> None:
    packed: Packed = request.getfixturevalue(name)

    assert packed.pack["error"]["points"] < 0.02
    assert packed.pack["error"]["plane"] < 0.02
    json.dumps(packed.pack, allow_nan=False)


def test_the_points_are_the_codes_of_the_test_images(autoencoder: Packed) -> None:
    arrays = unpack(autoencoder.pack)
    points = (arrays["points"] * arrays["points scales"][:, None]).T

    mean = autoencoder.codes.mean(axis=0)
    near = np.linalg.norm(points, axis=1)
    np.testing.assert_allclose(near, np.linalg.norm(autoencoder.codes - mean, axis=1), rtol=1e-3)
    np.testing.assert_array_equal(arrays["labels"], autoencoder.labels)


def test_a_pack_is_a_fraction_of_the_model(vae: Packed) -> None:
    whole = (vae.model.folder / "decoder.keras").stat().st_size
    assert len(json.dumps(vae.pack)) < whole / 2


def test_weights_are_read_without_tensorflow_as_keras_holds_them(vae: Packed) -> None:
    layers = vae.model.weights("decoder")

    assert list(layers) == ["dense", "dense_1"]
    for ours, keras in zip(
        [array for arrays in layers.values() for array in arrays],
        vae.model.decoder.get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, keras)
