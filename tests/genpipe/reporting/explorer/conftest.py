"""Three small models, decoded: what the pages are tried with. No model is trained for it."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from genpipe.cells import Status
from genpipe.data.dataset import Dataset
from genpipe.reporting.explorer.lattice import decode_planes
from genpipe.training.saved import SavedModel, save
from tests.genpipe.reporting.explorer.explored import Explored

DIRECTIONS = [(1, 0), (0, 1), (1, -1)]
CLASSES = [str(digit) for digit in range(10)]


def saved(folder: Path, family: str, latent_size: int, **networks: keras.Model) -> SavedModel:
    metadata = {"latent_size": latent_size}
    status = Status.COMPLETE
    save(folder, family=family, status=status, networks=networks, history=[], metadata=metadata)
    return SavedModel(folder)


def principal_decoder(family: str, latent_size: int, digits: Dataset, folder: Path) -> Explored:
    """A decoder whose code units are principal components, behind their sigmoid."""
    from genpipe.families.autoencoder.model import build_decoder

    images = np.asarray(digits.images("test")).reshape(-1, 784) / 255
    logits = 6 * (images - 0.5)
    mean = logits.mean(axis=0)
    _, _, components = np.linalg.svd(logits - mean, full_matrices=False)
    components = components[:latent_size]
    codes = (logits - mean) @ components.T / 5
    # Of two relu units a component, one has its positive part, one its negative part.
    signs = np.concatenate([np.eye(latent_size), -np.eye(latent_size)], axis=1)
    decoder = build_decoder(latent_size, 2 * latent_size, (28, 28, 1))
    decoder.set_weights([signs, np.zeros(2 * latent_size), 5 * signs.T @ components, mean])
    model, labels = saved(folder, family, latent_size, decoder=decoder), digits.labels("test")
    cell = decode_planes(model, CLASSES, codes, np.asarray(labels))
    return Explored(model, codes, np.asarray(labels), cell)


@pytest.fixture(scope="session")
def vae(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Explored:
    """A cell whose latent space is the plane itself."""
    return principal_decoder("vae", 2, digits, tmp_path_factory.mktemp("vae"))


@pytest.fixture(scope="session")
def autoencoder(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Explored:
    """A cell whose latent space planes only cut through."""
    return principal_decoder("autoencoder", 12, digits, tmp_path_factory.mktemp("autoencoder"))


@pytest.fixture(scope="session")
def dcgan(tmp_path_factory: pytest.TempPathFactory) -> Explored:
    """A generator of colour images, of another shape, without an encoder."""
    height, width = 12, 20
    generator = keras.Sequential(
        [
            keras.layers.Input((3,)),
            keras.layers.Dense(height * width * 3, activation="tanh"),
            keras.layers.Reshape((height, width, 3)),
        ]
    )
    # Each noise unit moves waves of another direction, at another phase in each colour.
    rows, columns, channels = np.indices((height, width, 3)) / 9
    waves = [np.sin(down * rows + right * columns + 6 * channels) for down, right in DIRECTIONS]
    kernel = np.reshape(waves, (3, -1))
    generator.set_weights([kernel, np.zeros(kernel.shape[1])])
    model = saved(tmp_path_factory.mktemp("dcgan"), "dcgan", 3, generator=generator)
    return Explored(model, np.empty(0), np.empty(0), decode_planes(model, CLASSES))
