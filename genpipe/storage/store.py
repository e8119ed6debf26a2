"""What a store of files is: the interface, and what it speaks of."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl

from genpipe.errors import InputError, StepError

# Until bytes come; well below the time for retries, so that a stalled request is sent again.
SECONDS_A_REQUEST = 30.0
BYTES_AT_A_TIME = 2**20


@dataclass(frozen=True, slots=True)
class File:
    """One file below an address.

    Attributes:
        name: relative to the address.
        size: in bytes; -1 where it is not known.
        checksum: as the store reports it (CRC32C in base64 of Cloud Storage, the ETag of S3); empty
            where it is not known, as for files of this machine.
        changed: when a file of this machine was changed last, in nanoseconds.
    """

    name: str
    size: int = -1
    checksum: str = ""
    changed: int = 0


@dataclass(frozen=True)
class Snapshot:
    """What one file held when it was looked at.

    Attributes:
        content: None where there was no file.
        generation: the number that Cloud Storage gives each state of an object, 0 where there is
            none; other stores count nothing.
    """

    content: bytes | None
    generation: int = 0


@dataclass(frozen=True)
class Address:
    """The parts of an address in a bucket."""

    bucket: str
    key: str
    query: Mapping[str, str]

    @classmethod
    def parse(cls, uri: str) -> Address:
        """Take an address apart.

        Raises:
            InputError: it names no bucket.
        """
        place, _, query = uri.partition("?")
        scheme, _, path = place.partition("://")
        bucket, _, key = path.partition("/")
        if not bucket:
            raise InputError(f"{uri!r} names no bucket: write {scheme}://bucket/prefix")
        return cls(bucket, key, dict(parse_qsl(query)))

    @property
    def prefix(self) -> str:
        """What the keys of all files below the address start with."""
        return f"{self.key.rstrip('/')}/" if self.key else ""

    def key_of(self, name: str) -> str:
        """The key of a file below the address, or of the address itself for an empty name."""
        return self.prefix + name if name else self.key


class NoCredentialsError(StepError):
    """This machine has nothing to log in with at a store."""


class Store(Protocol):
    """What there is at one address and below it.

    A ``name`` is relative to the address; an empty one is the address itself.

    Raises:
        StepError: by making one too, not only within ``errors``.
    """

    def errors(self, uri: str) -> contextlib.AbstractContextManager[None]:
        """Make what the store, its library and the network raise a ``StepError`` on ``uri``."""

    def check(self, *, write: bool) -> None:
        """Raise unless the place is there and may be read, and written to if that is asked for."""

    def exists(self) -> bool:
        """Whether there is a file, or a folder with something in it, at the address."""

    def scan(self) -> Iterable[File]:
        """All files below the address."""

    def read(self, name: str) -> bytes:
        """The content of one file."""

    def write(self, content: bytes) -> None:
        """Write the file at the address, whole or not at all."""

    def snapshot(self) -> Snapshot:
        """What the file at the address holds."""

    def write_if_unchanged(self, content: bytes, since: Snapshot) -> bool:
        """Write the file at the address, unless it is not what it was; returns whether."""

    def upload(self, folder: Path, names: Sequence[str]) -> None:
        """Copy all of a local folder, which is these names, below the address."""

    def fetch(self, name: str, path: Path) -> None:
        """Copy one file to a path of this machine."""

    def remove(self) -> None:
        """Remove what there is at the address and below it, if there is anything."""

    def matches(self, file: File, path: Path) -> bool:
        """Whether a local file holds what the store's does, as far as that can be known."""
