"""What small runs share: their surroundings, where they lie, and pictures. They read the wheel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.e2e.small_runs import SURROUNDINGS
from tests.recording_proxy import recording_proxy


@pytest.fixture(scope="session")
def mnist_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TFDS data folder in which nothing is prepared."""
    return tmp_path_factory.mktemp("tfds")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def proxy(home):
    with recording_proxy() as proxy:
        SURROUNDINGS.update(proxy.variables, HOME=str(home))
        yield proxy


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def flowers(place):
    """``~/flowers``: colour pictures of three classes and of several sizes."""
    random = np.random.default_rng(0)
    for label, colour in (
        ("iris", (90, 60, 200)),
        ("poppy", (210, 40, 30)),
        ("rose", (230, 90, 130)),
    ):
        folder = place / "flowers" / label
        folder.mkdir(parents=True)
        for number in range(80):
            shape = (30 + number % 5, 40, 3)
            pixels = np.clip(random.normal(colour, 30, shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.jpg")
