"""IDX files, zipped or plain: the published ones by their digests, and any others."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import BinaryIO

import numpy as np

from genpipe import storage
from genpipe.data.readers.labelled import (
    IMAGES_A_BLOCK,
    NAMED,
    Block,
    Labelled,
    blocks_of,
    number_classes,
)
from genpipe.data.readers.published import DATASETS, FILES, plain_names
from genpipe.errors import InputError

# The third byte of a file says what a value is; the fourth, how many dimensions it has.
TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4"}
IMAGES = re.compile(r"images|idx[34]", re.IGNORECASE)
LABELS = re.compile(r"labels|idx[12]", re.IGNORECASE)
ENDING = re.compile(r"(ubyte|idx\d|-int)(\.gz)?$", re.IGNORECASE)
CLASSES_FILE = "classes.txt"
WORDS = {
    "train": re.compile("train(ing)?"),
    "test": re.compile(r"test(ing)?(\d+k)?|t10k"),
    "validation": re.compile("val(id(ation)?)?"),
}


def read_published(name: str, source: str) -> dict[str, bytes]:
    """Read the IDX files of a folder or ``gs://`` prefix, each equal to the published one.

    The published archives of every data set are taken. MNIST's may also be unzipped, or zipped
    anew: the digests of the IDX files in them are known.

    Args:
        name: the data set.
        source: the folder or prefix.

    Returns:
        The IDX files by the names of their archives: see ``published_images``.

    Raises:
        InputError: an archive is missing, truncated or altered.
        StepError: the folder or prefix can't be read.
    """
    published = DATASETS[name]
    files = {}
    for file, digest in sorted(published.archives.items()):
        known = published.contents.get(file)
        names = (file, *plain_names(file)) if known else (file,)
        places = (storage.join(source, one) for one in names)
        address = next(filter(storage.exists, places), None)
        if address is None:
            raise InputError(
                f"{file} is missing from {source}: {name} needs "
                f"{', '.join(sorted(published.archives))} there (for images of your own, give them "
                "another name: --dataset NAME)"
            )
        content = storage.read_bytes(address)
        found, plain = _sha256(content), _unzip(content)
        if found != digest and _sha256(plain) != known:
            raise InputError(
                f"{address} is truncated or altered: expected sha256 {digest}, found {found}"
                f" ({len(content):,} bytes): fetch the published archive again"
            )
        files[file] = plain
    return files


def published_images(name: str, files: Mapping[str, bytes], source: str) -> Labelled:
    """The images of a published data set.

    Args:
        name: the data set.
        files: its IDX files, whose digests were checked, by the names of their archives.
        source: where they are from.
    """
    streams = {
        split: (io.BytesIO(files[images]), io.BytesIO(files[labels]))
        for split, (images, labels) in FILES.items()
    }
    return _labelled(streams, DATASETS[name].classes, source, {"source": source})


def is_idx(name: str) -> bool:
    """Whether a file holds IDX data, going by its name."""
    return bool(ENDING.search(name) and (IMAGES.search(name) or LABELS.search(name)))


def read_idx(name: str, source: str, names: Sequence[str]) -> Labelled:
    """Read IDX files of any names: ``*-images*-ubyte*`` and ``*-labels*``, or ``idx3``, ``idx1``.

    ``train``, ``val`` and ``test`` or ``t10k`` in a name say which split it is; without any it is
    divided. Labels may have several columns, as QMNIST's, of which the first is the class. A file
    ``classes.txt`` may name the classes, a line each, from label 0 on.

    Args:
        name: the data set. Of several sets in the folder, it is the one whose files have it in
            their names, as EMNIST's have.
        source: the folder or prefix.
        names: of the IDX files in it.

    Raises:
        InputError: a file is missing, or is no IDX file, or the two of a split don't fit.
        StepError: one can't be read.
    """
    found: dict[tuple[str, str], list[str]] = {}
    own = [file for file in names if name.lower() in file.lower()]
    for file in own or names:
        kind = "labels" if re.search("labels", file, re.IGNORECASE) else ""
        kind = kind or ("images" if IMAGES.search(file) else "labels")
        found.setdefault((_split(file), kind), []).append(file)
    streams = {}
    for split in {split for split, _ in found}:
        pair = [_only(source, split, kind, found) for kind in ("images", "labels")]
        streams[split] = tuple(_stream(storage.join(source, file)) for file in pair)
    if "train" not in streams:
        raise InputError(f"{source} holds no IDX files of train: found {', '.join(names)}")
    classes = storage.join(source, CLASSES_FILE)
    class_names = _read_names(classes) if storage.exists(classes) else []
    return _labelled(streams, class_names, source, {"source": source})  # type: ignore[arg-type]


def _read_names(address: str) -> list[str]:
    """The names of classes, a line each."""
    try:
        names = [line.strip() for line in storage.read_bytes(address).decode().splitlines()]
    except UnicodeDecodeError:
        raise InputError(f"{address} is no text in UTF-8") from None
    if not all(names):
        raise InputError(f"{address} has an empty line: write the name of a class in each")
    return names


def _split(file: str) -> str:
    """The split that a file's name says, in whole words."""
    words = re.split(r"[^a-z0-9]+", file.rpartition("/")[2].lower())
    for split, known in WORDS.items():
        if any(known.fullmatch(word) for word in words):
            return split
    return "train"


def _only(
    source: str, split: str, kind: str, found: Mapping[tuple[str, str], Sequence[str]]
) -> str:
    files = found.get((split, kind), ())
    if len(files) == 1:
        return files[0]
    if not files:
        raise InputError(f"{source} holds no IDX file with the {kind} of {split}")
    raise InputError(
        f"{source} holds several IDX files with {kind} of {split}: {', '.join(files[:NAMED])}; "
        "name the data set as one of them is called, or give a folder with one"
    )


def _labelled(
    streams: Mapping[str, tuple[BinaryIO, BinaryIO]],
    class_names: Sequence[str],
    source: str,
    facts: Mapping[str, str],
) -> Labelled:
    values, images = {}, {}
    for split, (pixels, labels) in streams.items():
        shape, kind = _header(labels, f"{source}: labels of {split}", (1, 2))
        own = _values(labels, shape, kind, f"{source}: labels of {split}")
        if 0 in shape[1:]:
            raise InputError(f"{source}: labels of {split} have no column")
        values[split] = own if own.ndim == 1 else own[:, 0]
        shape, kind = _header(pixels, f"{source}: images of {split}", (3, 4))
        if 0 in shape[1:]:
            raise InputError(f"{source}: images of {split} have no pixels")
        if kind != "u1":
            raise InputError(f"{source}: images of {split} are {kind}: a byte a pixel is needed")
        if shape[0] != len(own):
            backwards = int.from_bytes(shape[0].to_bytes(4, "little"), "big") == len(own)
            why = ": its sizes are not written high byte first" if backwards else ""
            raise InputError(
                f"{source}: {split} has {shape[0]:,} images and {len(own):,} labels{why}"
            )
        full = shape if len(shape) == 4 else (*shape, 1)
        images[split] = partial(_blocks, pixels, full, f"{source}: images of {split}")
    names, labels_of = number_classes(values, class_names, source)

    def blocks() -> Iterator[Block]:
        return blocks_of({split: (images[split], labels_of[split]) for split in images})

    return Labelled(names, {s: len(own) for s, own in labels_of.items()}, blocks, facts)


def _header(stream: BinaryIO, where: str, dimensions: Sequence[int]) -> tuple[tuple[int, ...], str]:
    """Read the shape and the type of an IDX file."""
    start = _read(stream, 4, where)
    if start[:2] != b"\0\0" or start[2] not in TYPES or start[3] not in dimensions:
        told = "with its bytes in the wrong order" if start[2:] == b"\0\0" else "no IDX file"
        raise InputError(f"{where}: {told}: it begins with {start.hex(' ')}")
    return struct.unpack(f">{start[3]}I", _read(stream, 4 * start[3], where)), TYPES[start[2]]


def _values(stream: BinaryIO, shape: tuple[int, ...], kind: str, where: str) -> np.ndarray:
    size = int(np.prod(shape, dtype=object)) * np.dtype(kind).itemsize
    return np.frombuffer(_read(stream, size, where), kind).reshape(shape).astype(np.int64)


def _blocks(stream: BinaryIO, shape: tuple[int, ...], where: str) -> Iterator[np.ndarray]:
    size = int(np.prod(shape[1:], dtype=object))
    for first in range(0, shape[0], IMAGES_A_BLOCK):
        count = min(IMAGES_A_BLOCK, shape[0] - first)
        yield np.frombuffer(_read(stream, count * size, where), np.uint8).reshape(-1, *shape[1:])


def _read(stream: BinaryIO, size: int, where: str) -> bytes:
    """So many bytes; a file that ends before is truncated, or its sizes are written backwards."""
    try:
        # A size out of a damaged header must not be asked for at once.
        found = stream.read(size) if size < 2**40 else b""
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{where}: the archive is damaged or truncated ({error})") from None
    if len(found) != size:
        raise InputError(
            f"{where}: the file ends {size - len(found):,} bytes early: it is truncated, or its "
            "sizes are not written high byte first"
        )
    return found


def _stream(address: str) -> BinaryIO:
    content = storage.read_bytes(address)
    if content[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=io.BytesIO(content))  # type: ignore[return-value]
    if address.endswith(".gz"):
        raise InputError(f"{address} is no gzip archive: it begins with {content[:4].hex(' ')}")
    return io.BytesIO(content)


def _unzip(content: bytes) -> bytes:
    """What is zipped in a file; the file itself where nothing is."""
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return content


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
