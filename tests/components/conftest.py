"""What tests of several steps share: a small data set of real digits."""

from __future__ import annotations

import pytest

from components.ingest.dataset import SPLITS, Dataset, write_dataset

SIZES = {"train": 512, "validation": 128, "test": 200}


@pytest.fixture(scope="session")
def digits(mnist: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The first images of each split of MNIST. Tests must not write into its folder."""
    arrays = {
        split: (mnist.images(split)[: SIZES[split]], mnist.labels(split)[: SIZES[split]])
        for split in SPLITS
    }
    folder = tmp_path_factory.mktemp("digits")
    return write_dataset(folder, arrays, name="mnist", class_names=mnist.class_names, facts={})
