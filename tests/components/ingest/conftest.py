from __future__ import annotations

from pathlib import Path

import pytest

from components.ingest import wheel


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the four archives of MNIST. Tests must not write into it."""
    folder = tmp_path_factory.mktemp("archives")
    for archive, content in wheel.read_wheel().items():
        (folder / archive.file).write_bytes(wheel.pack(archive, content))
    return folder
