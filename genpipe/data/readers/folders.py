"""Folders of pictures, one folder a class."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np

from genpipe import storage
from genpipe.data.dataset import check_shape
from genpipe.data.fitting import Fit
from genpipe.data.readers.labelled import IMAGES_A_BLOCK, Block, Labelled
from genpipe.data.readers.pictures import SUFFIXES, open_picture
from genpipe.errors import InputError
from genpipe.storage import File

BYTES_A_BLOCK = 2**25
SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training", "train_set", "training_set"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "validation_set"), "validation"),
    **dict.fromkeys(("test", "testing", "test_set"), "test"),
}


def is_picture(name: str) -> bool:
    """Whether a file is a picture of a class, going by its name: hidden ones are not."""
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
    return len(parts) > 1 and name.lower().endswith(SUFFIXES) and not hidden


def read_folders(source: str, files: Sequence[File], fit: Fit) -> Labelled:
    """Read ``cat/1.png``, or ``train/cat/1.png`` and ``test/cat/2.png``.

    Args:
        source: the folder or prefix.
        files: the pictures below it.
        fit: what they are brought to.

    Raises:
        InputError: a picture lies in no folder of a class, or ``train`` lacks a class.
    """
    names, bytes_of = [file.name for file in files], {file.name: file.size for file in files}
    tops = {name.partition("/")[0] for name in names}
    known = {SPLIT_FOLDERS[top.lower()] for top in tops if top.lower() in SPLIT_FOLDERS}
    divided = "train" in known
    if known and not divided:
        raise InputError(f"{source} has a folder {min(known)} and none called train")
    if not divided and all(name.count("/") > 1 for name in names):
        raise InputError(
            f"all pictures of {source} lie two folders deep, such as {min(names)}: call the upper "
            "folders train, validation and test, or give a folder with the classes in it"
        )
    if divided and (other := sorted(top for top in tops if top.lower() not in SPLIT_FOLDERS)):
        raise InputError(
            f"{source} has folders train and {other[0]}: put the classes below train, validation "
            "and test, or all classes side by side"
        )
    places: dict[str, list[tuple[str, str]]] = {}
    for name in names:
        top, _, rest = name.partition("/")
        split = SPLIT_FOLDERS[top.lower()] if divided else "train"
        label, below, _ = (rest if divided else name).partition("/")
        if not below:
            raise InputError(f"{source}/{name} lies in no folder of a class: write {top}/CLASS/…")
        places.setdefault(split, []).append((name, label))
    classes = sorted({label for _, label in places["train"]}, key=_in_order)
    for split, own in places.items():
        if strange := {label for _, label in own} - set(classes):
            raise InputError(f"{source}: {split} has the class {min(strange)}, which train lacks")
    numbers = {label: number for number, label in enumerate(classes)}
    unreadable: list[str] = []

    def blocks() -> Iterator[Block]:
        for split, own in places.items():
            for some in _parts(own, bytes_of):
                contents = storage.read_files(source, [name for name, _ in some])
                images, labels, kept = [], [], []
                for name, label in some:
                    try:
                        picture = open_picture(io.BytesIO(contents.pop(name)))
                    except ValueError as error:
                        unreadable.append(f"{name} ({error})")
                        continue
                    images.append(fit.of_picture(picture))
                    _check(name, images[-1])
                    labels.append(numbers[label])
                    kept.append(name)
                if images:
                    yield Block(split, images, np.array(labels), kept)

    sizes = {split: len(own) for split, own in places.items()}
    return Labelled(tuple(classes), sizes, blocks, {"source": source}, unreadable)


def _parts(
    own: Sequence[tuple[str, str]], bytes_of: Mapping[str, int]
) -> Iterator[list[tuple[str, str]]]:
    """Pictures in parts that memory can hold."""
    part: list[tuple[str, str]] = []
    held = 0
    for one in own:
        part.append(one)
        held += bytes_of[one[0]]
        if len(part) == IMAGES_A_BLOCK or held > BYTES_A_BLOCK:
            yield part
            part, held = [], 0
    if part:
        yield part


def _check(name: str, image: np.ndarray) -> None:
    try:
        check_shape(image.shape)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def _in_order(label: str) -> tuple[int, str]:
    """Numbers by their value, before words."""
    return (int(label) if label.isdecimal() else 2**63, label)
