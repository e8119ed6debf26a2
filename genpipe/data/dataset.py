"""The data-set artifact: a folder of uint8 arrays and ``dataset.json``, and how to read it.

Every step that reads images imports this module, so it needs nothing but numpy. Images stay
uint8 on disk; the declared ``Rescaling`` that a model is trained with is applied afterwards.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genpipe.data.fitting import CHANNELS
from genpipe.data.splits import SPLITS
from genpipe.data.staging import Rows
from genpipe.data.statistics import BLOCK, statistics_of
from genpipe.documents import parse_document
from genpipe.errors import InputError, shown

SIDES = range(8, 97, 4)
CLASSES = range(2, 1001)
INFO_FILE = "dataset.json"
# A picture beside the arrays: the mean image of each class.
CLASS_MEANS = "class_means.png"


@dataclass(frozen=True)
class Rescaling:
    """How pixels become model inputs: ``(x - offset) / scale``, in float32."""

    name: str
    offset: float
    scale: float

    @property
    def table(self) -> np.ndarray:
        """(256,) float32: the value of every pixel.

        Looking a pixel up here is exact on any device; a compiler may turn the division by a
        constant into a multiplication, which is not.
        """
        return self.apply(np.arange(256, dtype=np.uint8))

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Rescale uint8 images of any shape to float32, exact for all 256 values."""
        values = images.astype(np.float32)
        values -= np.float32(self.offset)
        values /= np.float32(self.scale)
        return values

    def to_unit(self, values: np.ndarray) -> np.ndarray:
        """Bring float values of any shape to [0, 1], not rounded."""
        if self.name == "unit":
            return values
        return (values * np.float32(self.scale) + np.float32(self.offset)) / np.float32(255)

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """Turn float values of any shape back into uint8 pixels, rounded and clipped."""
        pixels = np.array(values, dtype=np.float32)
        pixels *= np.float32(self.scale)
        pixels += np.float32(self.offset)
        np.clip(np.rint(pixels, out=pixels), 0, 255, out=pixels)
        return pixels.astype(np.uint8)


RESCALINGS = {
    "unit": Rescaling("unit", offset=0.0, scale=255.0),  # [0, 1], as sigmoid makes them
    "symmetric": Rescaling("symmetric", offset=127.5, scale=127.5),  # [-1, 1], as tanh does
}


@dataclass(frozen=True)
class Dataset:
    """An ingested data set, opened (see ``open_dataset``).

    Attributes:
        folder: where it lies.
        name: such as ``mnist``.
        digest: ``sha256:…`` over all arrays; equal content has an equal digest.
        class_names: the classes, in the order of the labels.
        image_shape: (height, width, channels), such as ``(28, 28, 1)``.
        info: all of ``dataset.json``.
    """

    folder: Path
    name: str
    digest: str
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    info: dict[str, Any]

    def images(self, split: str) -> np.ndarray:
        """(n, *image_shape) uint8, memory-mapped, of ``train``, ``validation`` or ``test``."""
        return _open_array(self.folder, split, "images", (self.size(split), *self.image_shape))

    def labels(self, split: str) -> np.ndarray:
        """(n,) uint8 or uint16, memory-mapped: each image's place in ``class_names``."""
        return _open_array(self.folder, split, "labels", (self.size(split),))

    def size(self, split: str) -> int:
        """How many images the split holds.

        Raises:
            InputError: there is no such split.
        """
        if split not in SPLITS:
            raise InputError(f"unknown split {split!r}: choose from {', '.join(SPLITS)}")
        return int(self.info["splits"][split]["size"])


def open_dataset(folder: str | Path, check: bool = True) -> Dataset:
    """Open a data-set artifact.

    Args:
        folder: the artifact's folder.
        check: compare every file with its digest (about 0.1 s for MNIST's 55 MB).

    Raises:
        InputError: the folder is not a data set, or a file in it is missing or altered, or holds
            another type or shape than ``dataset.json`` says.
    """
    folder = Path(folder)
    info = _read_info(folder)
    dataset = Dataset(
        folder=folder,
        name=info["name"],
        digest=info["digest"],
        class_names=tuple(info["class_names"]),
        image_shape=tuple(info["image_shape"]),
        info=info,
    )
    for file, expected in info["files"].items():
        path = folder / file
        if not path.is_file():
            raise InputError(f"{path} is missing: ingest the data set again")
        if check and (found := file_digest(path)) != expected:
            raise InputError(
                f"{path} was altered or is incomplete: expected {expected}, found {found}:"
                " ingest the data set again"
            )
    for split in SPLITS:
        dataset.images(split)
        dataset.labels(split)
    return dataset


def write_dataset(
    folder: Path,
    arrays: Mapping[str, tuple[np.ndarray | Rows, np.ndarray]],
    *,
    name: str,
    class_names: tuple[str, ...],
    facts: Mapping[str, Any],
) -> Dataset:
    """Write a data-set artifact into a folder that exists.

    Args:
        folder: where to.
        arrays: images (n, height, width, channels) uint8 and labels (n,) of every split, in the
            order of ``SPLITS``.
        name: the data set.
        class_names: its classes, in the order of the labels.
        facts: what else ``dataset.json`` says, such as where the data came from.

    Raises:
        InputError: no model can read images of that shape, or so many classes.
    """
    shape = check_shape(arrays["train"][0].shape[1:])
    if len(class_names) not in CLASSES:
        raise InputError(f"{len(class_names)} classes: a data set needs 2 to 1,000")
    label_type = np.uint8 if len(class_names) <= 256 else np.uint16
    files, splits = {}, {}
    for split in SPLITS:
        images, labels = arrays[split]
        paths = {kind: folder / _file_name(split, kind) for kind in ("images", "labels")}
        _save_blocks(paths["images"], images)
        np.save(paths["labels"], labels.astype(label_type), allow_pickle=False)
        files.update({path.name: file_digest(path) for path in paths.values()})
        counts = np.bincount(labels, minlength=len(class_names))
        splits[split] = {"size": len(images), "class_counts": counts.tolist()}
    info = {
        "name": name,
        "digest": _digest_files(files),
        **facts,
        "image_shape": list(shape),
        "class_names": list(class_names),
        "splits": splits,
        "statistics": {
            split: statistics_of(_open_array(folder, split, "images", arrays[split][0].shape))
            for split in SPLITS
        },
        "rescalings": {
            rescaling.name: {**asdict(rescaling), "range": rescaling.table[[0, -1]].tolist()}
            for rescaling in RESCALINGS.values()
        },
        "files": files,
    }
    info["checksum"] = _checksum(info)
    (folder / INFO_FILE).write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")
    return open_dataset(folder, check=False)


def check_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """The shape of images, (height, width, channels), if models can read it.

    The DCGAN halves and doubles height and width twice.

    Raises:
        InputError: it is another; the message names the nearest one that would do.
    """
    height, width, channels = map(int, shape)
    if height in SIDES and width in SIDES and channels in CHANNELS:
        return height, width, channels
    if channels not in CHANNELS:
        raise InputError(
            f"images of {height} x {width} pixels with {channels} channels: 1 or 3 are needed, as "
            "the last dimension"
        )
    near = [min(SIDES, key=lambda side: (abs(side - own), -side)) for own in (height, width)]
    raise InputError(
        f"images of {height} x {width} pixels with {channels} channels: height and width must be "
        f"multiples of 4 from {SIDES[0]} to {SIDES[-1]} with 1 or 3 channels; image_size "
        f"{near[0]}x{near[1]} would do"
    )


def _read_info(folder: Path) -> dict[str, Any]:
    """Read ``dataset.json`` and check all that this module relies on."""
    path = folder / INFO_FILE
    try:
        info = parse_document(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"{folder} is not a data set: it has no {INFO_FILE}: give the folder that ingest made"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read ({error}): ingest the data set again") from None

    files = {_file_name(split, kind) for split in SPLITS for kind in ("images", "labels")}
    expectations = {
        "name": lambda value: isinstance(value, str),
        "class_names": lambda value: isinstance(value, list) and len(value) in CLASSES,
        "image_shape": lambda value: check_shape(value) == tuple(value),
        "splits": lambda value: all(isinstance(value[split]["size"], int) for split in SPLITS),
        "statistics": lambda value: 0 <= value["train"]["brightness"] <= 1,
        "files": lambda value: set(value) == files,
        "digest": lambda value: value == _digest_files(info["files"]),
        "checksum": lambda value: value == _checksum(info),
    }
    for key, holds in expectations.items():
        try:
            if holds(info[key]):
                continue
        except (KeyError, TypeError, AttributeError, ValueError):
            pass
        raise InputError(
            f"{path} is malformed at {key!r} (found {shown(info.get(key))}): "
            "ingest the data set again"
        )
    return info


def _open_array(folder: Path, split: str, kind: str, expected: tuple[int, ...]) -> np.ndarray:
    path = folder / _file_name(split, kind)
    types = (np.uint8,) if kind == "images" else (np.uint8, np.uint16)
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # NumPy raises anything of a damaged header
        raise InputError(
            f"{path} cannot be opened as an array ({error}): ingest the data set again"
        ) from None
    if array.dtype not in types or array.shape != expected:
        raise InputError(
            f"{path} holds {array.dtype} of shape {array.shape}, expected {types[0].__name__} of "
            f"shape {expected}: ingest the data set again"
        )
    return array


def _save_blocks(path: Path, images: np.ndarray | Rows) -> None:
    """Save images as ``np.save`` does, a block at a time.

    Not through a memory map: where the disk is full, that ends the process by a signal.
    """
    header = {"descr": "|u1", "fortran_order": False, "shape": images.shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for first in range(0, len(images), BLOCK):
            file.write(np.ascontiguousarray(images[first : first + BLOCK]).data)


def _file_name(split: str, kind: str) -> str:
    return f"{split}_{kind}.npy"


def file_digest(path: Path) -> str:
    """``sha256:`` and the digest of a file's content."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def _checksum(info: Mapping[str, Any]) -> str:
    """Digest of everything else in ``dataset.json``: ``digest`` covers the arrays alone."""
    rest = {name: value for name, value in info.items() if name != "checksum"}
    return "sha256:" + hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _digest_files(files: Mapping[str, str]) -> str:
    lines = "".join(f"{name} {files[name]}\n" for name in sorted(files))
    return "sha256:" + hashlib.sha256(lines.encode()).hexdigest()
