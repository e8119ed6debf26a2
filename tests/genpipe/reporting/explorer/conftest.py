"""Three small models, packed: what the pages are tried with. Nothing is trained for it."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import keras
import numpy as np
import pytest

from genpipe.cells import Status
from genpipe.data.dataset import Dataset
from genpipe.reporting.explorer import pack
from genpipe.training.saved import SavedModel, save
from tests.genpipe.reporting.explorer.packed import Packed

CLASSES = [str(digit) for digit in range(10)]


def saved(folder: Path, family: str, latent_size: int, **networks: keras.Model) -> SavedModel:
    card = {"latent_size": latent_size}
    status = Status.COMPLETE
    save(folder, family=family, status=status, networks=networks, history=[], card=card)
    return SavedModel(folder)


def principal_decoder(family: str, latent_size: int, digits: Dataset, folder: Path) -> Packed:
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
    decoder = build_decoder(latent_size, 2 * latent_size)
    decoder.set_weights([signs, np.zeros(2 * latent_size), 5 * signs.T @ components, mean])
    model, labels = saved(folder, family, latent_size, decoder=decoder), digits.labels("test")
    return Packed(model, codes, np.asarray(labels), pack.pack_cell(model, CLASSES, codes, labels))


@pytest.fixture(scope="session")
def vae(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Packed:
    """A cell whose latent space is the plane itself."""
    return principal_decoder("vae", 2, digits, tmp_path_factory.mktemp("vae"))


@pytest.fixture(scope="session")
def autoencoder(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Packed:
    """A cell whose latent space a plane only cuts through."""
    return principal_decoder("autoencoder", 12, digits, tmp_path_factory.mktemp("autoencoder"))


@pytest.fixture(scope="session")
def dcgan(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    """A generator with any weights, so that each of its layers matters."""
    from genpipe.families.dcgan.model import build_generator

    generator, random = build_generator(3), np.random.default_rng(0)
    generator.set_weights(
        [
            # Variances of batch normalization among them: nothing may be negative there.
            np.abs(random.normal(0.5, 0.3, array.shape))
            if array.ndim == 1
            else random.normal(0, 1 / np.sqrt(np.prod(array.shape[:-1])), array.shape)
            for array in generator.get_weights()
        ]
    )
    model = saved(tmp_path_factory.mktemp("dcgan"), "dcgan", 3, generator=generator)
    # A trained generator's kernels survive 7 levels; any survive these.
    with mock.patch.multiple(pack, COARSE=pack.FINE, MIDDLE=pack.FINE):
        return Packed(model, np.empty(0), np.empty(0), pack.pack_cell(model, CLASSES))
