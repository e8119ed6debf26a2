from __future__ import annotations

from pathlib import Path

import pytest

from components.ingest.archives import write_archives
from components.ingest.prepared import find_prepared
from components.ingest.wheel import read_wheel


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the four archives of MNIST. Tests must not write into it."""
    folder = tmp_path_factory.mktemp("archives")
    write_archives(read_wheel(), folder, find_prepared("mnist", folder).archives)
    return folder
