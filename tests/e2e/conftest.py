"""Runs here read the wheel."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def mnist_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TFDS data folder in which nothing is prepared."""
    return tmp_path_factory.mktemp("tfds")
