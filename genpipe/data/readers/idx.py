"""The four IDX files of a data set, zipped or plain: found, checked and read as arrays."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Mapping

import numpy as np

from genpipe import storage
from genpipe.data.readers.published import DATASETS, FILES, IMAGE_SHAPE, SIZES, plain_names
from genpipe.errors import InputError

HEADERS = {"images": 16, "labels": 8}  # bytes before the first value


def read_archives(name: str, source: str) -> dict[str, bytes]:
    """Read the IDX files of a folder or ``gs://`` prefix, each equal to the published one.

    The published archives of every data set are taken. MNIST's may also be unzipped, or zipped
    anew: the digests of the IDX files in them are known.

    Args:
        name: the data set.
        source: the folder or prefix.

    Returns:
        The IDX files by the names of their archives: see ``to_arrays``.

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
                f"{file} is missing from {source}: the folder must contain "
                f"{', '.join(sorted(published.archives))}"
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


def to_arrays(files: Mapping[str, bytes]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images (n, 28, 28, 1) and labels (n,), both uint8, of ``train`` and ``test``.

    They come in the order in which TFDS reads the same data set.

    Args:
        files: the IDX files, whose digests were checked, by the names of their archives.
    """
    arrays = {}
    for split, (images, labels) in FILES.items():
        order = _order(split, SIZES[split])
        pixels = np.frombuffer(files[images], np.uint8, offset=HEADERS["images"])
        values = np.frombuffer(files[labels], np.uint8, offset=HEADERS["labels"])
        arrays[split] = pixels.reshape(-1, *IMAGE_SHAPE)[order], values[order]
    return arrays


def _order(split: str, size: int) -> list[int]:
    """TFDS's order of a split: by a hash of the split's name and the image's number."""
    hashes = [
        hashlib.md5(f"{split}{number}".encode(), usedforsecurity=False).digest()
        for number in range(size)
    ]
    return sorted(range(size), key=hashes.__getitem__)


def _unzip(content: bytes) -> bytes:
    """What is zipped in a file; the file itself where nothing is."""
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return content


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
