"""The four archives that TFDS prepares a data set from: found, checked and packed."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import struct
import subprocess
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from genpipe import storage
from genpipe.errors import InputError


@dataclass(frozen=True)
class Archive:
    """One published archive of MNIST.

    Attributes:
        file: what TFDS calls it.
        stored_name: the file name in its gzip header.
        modified: the time in its gzip header, in seconds since 1970.
        content_sha256: digest of the IDX file in it.
    """

    file: str
    stored_name: str
    modified: int
    content_sha256: str


TRAIN_IMAGES = Archive(
    "train-images-idx3-ubyte.gz",
    "train-images.idx3-ubyte",
    848331386,
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
)
TRAIN_LABELS = Archive(
    "train-labels-idx1-ubyte.gz",
    "train-labels.idx1-ubyte",
    848331398,
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
)
TEST_IMAGES = Archive(
    "t10k-images-idx3-ubyte.gz",
    "t10k-images.idx3-ubyte",
    885827245,
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
)
TEST_LABELS = Archive(
    "t10k-labels-idx1-ubyte.gz",
    "t10k-labels.idx1-ubyte",
    885827268,
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
MNIST = {one.file: one for one in (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)}


def fetch_archives(
    name: str, source: str, folder: Path, registered: Mapping[str, str]
) -> dict[str, bytes]:
    """Bring a folder's or ``gs://`` prefix's archives into a folder, and check them.

    The published archives of every data set are taken. MNIST's may also be unzipped, or zipped
    anew: the digests of the IDX files in them are known.

    Args:
        name: the data set.
        source: the folder or prefix.
        folder: an empty folder of this machine.
        registered: the registered sha256 of each archive, by file name.

    Returns:
        Those whose bytes are not the published ones, by file name: see ``write_archives``.

    Raises:
        InputError: an archive is missing, truncated or altered.
        StepError: the folder or prefix can't be read.
    """
    replaced: dict[str, bytes] = {}
    for file, digest in registered.items():
        archive = MNIST[file] if name == "mnist" else None
        names = [file, file.removesuffix(".gz"), archive.stored_name] if archive else [file]
        address = next(filter(storage.exists, (storage.join(source, one) for one in names)), None)
        if address is None:
            raise InputError(
                f"{storage.join(source, file)} is missing: there must be"
                f" {', '.join(sorted(registered))}"
            )
        content = storage.read_bytes(address)
        found = hashlib.sha256(content).hexdigest()
        if found == digest:
            (folder / file).write_bytes(content)
            continue
        plain = _unzip(content)
        if archive is None or hashlib.sha256(plain).hexdigest() != archive.content_sha256:
            raise InputError(
                f"{address} is truncated or altered: expected sha256 {digest}, found {found}"
                f" ({len(content):,} bytes): fetch the published archive again"
            )
        replaced |= write_archives({archive: plain}, folder, registered)
    return replaced


def write_archives(
    contents: Mapping[Archive, bytes], folder: Path, registered: Mapping[str, str]
) -> dict[str, bytes]:
    """Pack IDX files, whose digests were checked, into a folder's archives.

    Returns:
        Those whose bytes are not the published ones, by file name: there is no GNU gzip.
    """
    replaced = {}
    for archive, content in contents.items():
        packed = _pack(archive, content)
        (folder / archive.file).write_bytes(packed)
        if hashlib.sha256(packed).hexdigest() != registered[archive.file]:
            replaced[archive.file] = packed
    return replaced


def _pack(archive: Archive, content: bytes) -> bytes:
    """Compress an IDX file into the published archive.

    The archives were made by GNU gzip, whose deflate differs from zlib's. Without it the
    result holds the same content in other bytes.
    """
    command = shutil.which("gzip")
    packed = b""
    if command:
        run = subprocess.run([command, "-6", "-n", "-c"], input=content, capture_output=True)
        packed = run.stdout if run.returncode == 0 else b""
    if not packed:
        return gzip.compress(content, compresslevel=1, mtime=archive.modified)
    # 1f 8b: gzip; 08: deflate; 08: a name follows; the time; 00 03: default level, Unix.
    header = b"\x1f\x8b\x08\x08" + struct.pack("<I", archive.modified) + b"\x00\x03"
    return header + archive.stored_name.encode() + b"\x00" + packed[10:]


def _unzip(content: bytes) -> bytes:
    """What is zipped in a file; the file itself where nothing is."""
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return content
