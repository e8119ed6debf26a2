"""Ingest: labelled images become the checked arrays that every other step reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from genpipe.data.dataset import (
    CLASS_MEANS,
    CLASSES,
    INFO_FILE,
    Dataset,
    check_shape,
    open_dataset,
    write_dataset,
)
from genpipe.data.fitting import Fit
from genpipe.data.readers.labelled import NAMED, Labelled
from genpipe.data.readers.sources import open_source
from genpipe.data.readers.tfds import default_cache
from genpipe.data.splits import RULE, SPLITS, divide
from genpipe.data.staging import Staging
from genpipe.data.statistics import mean_images
from genpipe.errors import InputError, shown
from genpipe.reporting.images import grid, write_png
from genpipe.storage import exists, whole_folder
from genpipe.tracking import Tracker
from genpipe.words import counted, plural

CLASSES_SHOWN = 20
# Below these nothing can be learnt of a class, or told of a split.
FEWEST_OF_A_CLASS = 10
FEWEST_OF_A_SPLIT = 10


def ingest(
    name: str,
    source: str,
    folder: Path,
    *,
    fit: Fit | None = None,
    skip_bad: int = 0,
    cache: Path | None = None,
    tracker: Tracker,
) -> Dataset:
    """Make the data-set artifact: checked images and labels for training, validation and test.

    The result depends on the images alone: not on where they come from or on their order. Memory
    holds a block of them at a time.

    Args:
        name: a published data set (``mnist``, ``fashion_mnist``, ``kmnist``), whose files are
            checked by their published digests; a data set of TFDS, as ``emnist/letters``; or, with
            a place as the source, a name for the images there.
        source: see ``open_source``.
        folder: where the artifact goes. It appears only when it is complete; an earlier data set
            there is replaced.
        fit: what images of another size are brought to.
        skip_bad: how many pictures that can't be read are left out; with more nothing is made.
        cache: the TFDS data folder; ``TFDS_DATA_DIR`` or ``~/tensorflow_datasets`` if left out.
        tracker: reports the work.

    Raises:
        InputError: an argument is wrong; a file is missing, truncated or altered; images differ in
            size, or no model can read theirs; a class or a split has too few; or the folder holds
            something that is not a data set.
        StepError: a host can't be reached, the wheel is missing or altered, or a disk is full.
    """
    folder = Path(folder)
    replace = (folder / INFO_FILE).is_file()
    if exists(folder) and not replace:
        raise InputError(f"{folder} holds something that is not a data set: choose a new folder")

    fit = fit or Fit()
    cache = Path(cache or default_cache()).expanduser()
    found = open_source(name, source, fit, cache, tracker)
    with (
        whole_folder(folder, replace=replace) as temporary,
        Staging(temporary / "staged") as staging,
    ):
        _stage(found, fit, staging, tracker)
        _check_unreadable(found.unreadable, skip_bad, source)
        own, labels, digests = staging.known()
        if "train" not in own:
            raise InputError(f"{source} has no images to train on")
        places, kept_out = divide(own, digests, labels)
        classes, labels = _drop_empty(found.class_names, labels, tracker)
        _check_enough(places, labels, digests, classes)
        write_dataset(
            temporary,
            {split: (staging.images(at), labels[at]) for split, at in places.items()},
            name=name,
            class_names=classes,
            facts={
                **found.facts,
                "image_rule": fit.rule,
                "split_rule": "" if len(own) == len(SPLITS) else RULE,
                "own_splits": list(own),
                "kept_out": kept_out,
                "unreadable": found.unreadable,
            },
        )
        written = open_dataset(temporary, check=False)
        means = mean_images(written.images("train"), written.labels("train"), len(classes))
        write_png(temporary / CLASS_MEANS, grid(means, min(len(classes), CLASSES_SHOWN), zoom=2))
    dataset = open_dataset(folder, check=False)
    sizes = " / ".join(f"{dataset.size(split):,}" for split in SPLITS)
    tracker.say(f"{name}: {sizes} images in {folder}, {dataset.digest}")
    for split, count in kept_out.items():
        if count:
            tracker.note(
                f"{name}: {counted(count, 'image')} of {split} kept out: in an earlier split too"
            )
    if found.unreadable:
        tracker.note(f"{name}: left out {_listed(found.unreadable)}, which can't be read")
    return dataset


def example_grid(dataset: Dataset, columns: int = 12) -> np.ndarray:
    """The first training images of the first classes, a row a class, as one uint8 picture."""
    images, labels = dataset.images("train"), np.asarray(dataset.labels("train"))
    rows = []
    for label in range(min(len(dataset.class_names), CLASSES_SHOWN)):
        own = images[np.flatnonzero(labels == label)[:columns]]
        missing = np.zeros((columns - len(own), *dataset.image_shape), np.uint8)
        rows.append(np.concatenate([own, missing]))
    return grid(np.concatenate(rows), columns, gap=0)


def _stage(found: Labelled, fit: Fit, staging: Staging, tracker: Tracker) -> None:
    """Read all images, bring them to one size, and stage them.

    Raises:
        InputError: the images have several sizes, or one that no model reads.
    """
    total, done, first = sum(found.sizes.values()), 0, ""
    tracker.restart_clock()
    for block in found.blocks():
        images = [fit.apply(image) for image in block.images]
        for number, image in enumerate(images):
            name = block.names[number] if block.names else f"{block.split} image {done + number:,}"
            if staging.shape is None:
                staging.shape, first = check_shape(image.shape), name
            if image.shape != staging.shape:
                raise InputError(
                    f"{name} is {_pixels(image.shape)}, {first} {_pixels(staging.shape)}: set "
                    "image_size, and channels if they differ, to bring them to one shape"
                )
        staging.add(block.split, np.stack(images), block.labels)
        done += len(images)
        tracker.progress(done, total)


def _pixels(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} x {shape[1]} pixels with {shape[2]} {plural('channel', shape[2])}"


def _check_unreadable(unreadable: list[str], skip_bad: int, source: str) -> None:
    if len(unreadable) > skip_bad:
        raise InputError(
            f"{source}: {counted(len(unreadable), 'picture')} can't be read: {_listed(unreadable)} "
            f"(skip_bad allows {skip_bad:,})"
        )


def _listed(lines: list[str]) -> str:
    more = len(lines) - NAMED
    return "; ".join(lines[:NAMED]) + (f"; and {more:,} more" if more > 0 else "")


def _drop_empty(
    names: tuple[str, ...], labels: np.ndarray, tracker: Tracker
) -> tuple[tuple[str, ...], np.ndarray]:
    """The classes that have images, and the labels as places among them."""
    there = np.unique(labels)
    if len(there) < len(names):
        tracker.note(f"{len(names) - len(there)} of {len(names)} classes have no images: left out")
    return tuple(names[label] for label in there), np.searchsorted(there, labels)


def _check_enough(
    places: dict[str, np.ndarray], labels: np.ndarray, digests: np.ndarray, names: tuple[str, ...]
) -> None:
    """Refuse what nothing can be learnt from.

    Raises:
        InputError: a class or a split has too few images, or all images are equal.
    """
    for name in names:
        if not (name.isprintable() and name.strip()):  # nor what no UTF-8 is made of
            raise InputError(f"class {shown(name)}: give it a name that can be printed")
    if len(names) not in CLASSES:
        raise InputError(f"{len(names)} classes with images: 2 to {CLASSES[-1]:,} are needed")
    if len(np.unique(digests)) == 1:
        raise InputError("all images are the same")
    for split, at in places.items():
        if len(at) < FEWEST_OF_A_SPLIT:
            raise InputError(
                f"{split} has {counted(len(at), 'image')}: {FEWEST_OF_A_SPLIT} are needed"
            )
    counts = np.bincount(labels[places["train"]], minlength=len(names))
    if few := [
        f"{name} ({count})"
        for name, count in zip(names, counts, strict=True)
        if count < FEWEST_OF_A_CLASS
    ]:
        raise InputError(
            f"classes with fewer than {FEWEST_OF_A_CLASS} training images: {_listed(few)}: add "
            "images, or take the class out"
        )
