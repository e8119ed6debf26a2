"""Files behind one small interface: a local path, ``gs://``, or ``s3://`` and ``minio://``.

No other module imports google.cloud, and none but ``components.s3`` boto3. An address (``uri``) is
a string: a path on this machine, or ``gs://bucket/prefix``, which may end in a query as Kubeflow's
pipeline roots may (``s3://bucket/prefix?region=...``; Cloud Storage needs none of it). With
``STORAGE_EMULATOR_HOST`` set, ``gs://`` is served by that host without credentials; otherwise
by Cloud Storage with the default credentials.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import filecmp
import io
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import parse_qsl

from components.errors import InputError, StepError, unreachable

# A request that fails for a passing reason is sent again for so long, after waits that double from
# the first to the longest. Each part of a large file has that time for itself.
SECONDS_OF_RETRIES = 120.0
SECONDS_TO_WAIT = (0.5, 15.0)
# Until bytes come; well below the time for retries, so that a stalled request is sent again.
SECONDS_A_REQUEST = 30.0
SECONDS_TO_CONNECT = 5.0
# Of a check, which somebody waits for.
SECONDS_TO_ANSWER = 10.0
# Of a large file: what a fault can cost, and what a transfer holds in memory.
BYTES_A_PART = 8 * 2**20
# Of one call; the HTTP library keeps ten connections to a host.
FILES_AT_A_TIME = 8
BYTES_AT_A_TIME = 2**20
KEY_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
LOGIN = "gcloud auth application-default login"


@dataclass(frozen=True)
class File:
    """One file below an address.

    Attributes:
        name: relative to the address.
        size: in bytes; -1 where it is not known.
        checksum: as the store tells it (CRC32C in base64 of Cloud Storage, the ETag of S3); empty
            where it is not known, as for files of this machine.
    """

    name: str
    size: int = -1
    checksum: str = ""


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
        """Remove what there is at the address and below it; nothing there is no error."""

    def matches(self, file: File, path: Path) -> bool:
        """Whether a local file holds what the store's does, as far as that can be told."""


def is_remote(uri: str | Path) -> bool:
    """Whether the address is in a bucket."""
    return str(uri).startswith(tuple(STORES))


def join(uri: str | Path, *parts: str) -> str:
    """The address of something below another: ``join("gs://b/a", "c") == "gs://b/a/c"``.

    Raises:
        InputError: it is to be in a bucket, and names none.
    """
    if is_remote(uri):
        Address.parse(str(uri))
        place, mark, query = str(uri).partition("?")
        below = (part.strip("/") for part in parts)
        return "/".join([place.rstrip("/"), *below]) + mark + query
    return str(Path(uri, *parts))


def check(uri: str | Path, *, write: bool = False) -> None:
    """Make sure, before work starts that will need it, that a place may be used.

    Nothing is written, and an answer comes within seconds. That a bucket is there and that its
    objects may be listed and, with ``write``, made below the address is asked of the bucket itself
    (of ``gs://``; the right to write to ``s3://`` is not looked at). A folder need not be there yet
    to be written to.

    Raises:
        NoCredentialsError: this machine has nothing to log in with.
        StepError: the place is missing, may not be used, or its host can't be reached.
    """
    with _open(uri) as store:
        store.check(write=write)


def exists(uri: str | Path) -> bool:
    """Whether there is a file, or a folder with something in it, at the address.

    Raises:
        StepError: the bucket is missing or can't be read.
    """
    with _open(uri) as store:
        return store.exists()


def list_files(uri: str | Path) -> list[str]:
    """Names of all files below a folder, relative to it and sorted; none where there is nothing.

    Raises:
        StepError: the bucket is missing or can't be read.
    """
    return [file.name for file in scan(uri)]


def scan(uri: str | Path) -> list[File]:
    """All files below a folder, sorted by name; none where there is nothing.

    Raises:
        StepError: the bucket is missing or can't be read.
    """
    with _open(uri) as store:
        # A key that ends in a slash is how the stores' own pages draw an empty folder.
        found = [file for file in store.scan() if file.name and not file.name.endswith("/")]
    return sorted(found, key=lambda file: file.name)


def read_bytes(uri: str | Path) -> bytes:
    """The content of one file.

    Raises:
        StepError: there is no such file, or it can't be read.
    """
    with _open(uri) as store:
        return store.read("")


def read_files(uri: str | Path, names: Sequence[str]) -> dict[str, bytes]:
    """The contents of files below an address, by name, read several at a time.

    Raises:
        StepError: a file is missing or can't be read.
    """

    def read(name: str) -> bytes:
        with store.errors(join(uri, name)):
            return store.read(name)

    with _open(uri) as store, ThreadPoolExecutor(FILES_AT_A_TIME) as pool:
        return dict(zip(names, pool.map(read, names), strict=True))


def write_bytes(uri: str | Path, content: bytes) -> None:
    """Write one file, whole or not at all.

    Raises:
        StepError: it can't be written.
    """
    with _open(uri) as store:
        store.write(content)


def snapshot(uri: str | Path) -> Snapshot:
    """What one file holds, for ``write_if_unchanged``; of no content where there is no file.

    Raises:
        StepError: it can't be read.
    """
    with _open(uri) as store:
        return store.snapshot()


def write_if_unchanged(uri: str | Path, content: bytes, since: Snapshot) -> bool:
    """Write one file, whole or not at all, and only if nobody wrote it since it was looked at.

    Of several writers with one snapshot, one writes. Their contents must differ from each other and
    from what was there: where an answer was lost, what the file holds tells who wrote it.

    Args:
        uri: the file.
        content: what it gets.
        since: what ``snapshot`` told of it; one without content where it must not exist yet.

    Returns:
        Whether it was written.

    Raises:
        StepError: it can't be written.
    """
    with _open(uri) as store:
        return store.write_if_unchanged(content, since)


def remove(uri: str | Path) -> None:
    """Remove a file, or a folder with all below it; one that is not there is no error.

    Raises:
        InputError: the address is a whole bucket.
        StepError: the bucket is missing, or what is there can't be removed.
    """
    if is_remote(uri) and not Address.parse(str(uri)).key:
        raise InputError(f"{uri} is a whole bucket: name what in it is to be removed")
    with _open(uri) as store:
        store.remove()


def download(uri: str | Path, folder: Path, names: Iterable[str] | None = None) -> list[Path]:
    """Copy files below an address into a folder of this machine.

    Args:
        uri: the folder they are in.
        folder: where they go; made where missing.
        names: which, relative to ``uri``; all when left out.

    Returns:
        The copies' paths, in the order of ``names``.

    Raises:
        StepError: a file is missing or can't be read, or there is none at all.
    """
    names = list_files(uri) if names is None else list(names)
    if not names:
        raise StepError(f"there are no files at {uri}: check the address")
    pull(uri, folder, {name: File(name) for name in names})
    return [folder / name for name in names]


def pull(
    uri: str | Path,
    folder: Path,
    files: Mapping[str, File],
    done: Callable[[File], None] = lambda file: None,
) -> None:
    """Copy files below an address into a folder of this machine, several at a time.

    A file that lies there whole already (its checksum says so) is left as it is, so a pull that
    was interrupted goes on where it was. Each file appears under its name only when it is whole.

    Args:
        uri: the folder they are in.
        folder: where they go; made where missing.
        files: which (``scan`` finds them), by the name relative to ``folder`` that each gets.
        done: is told each file that is there.

    Raises:
        StepError: a file is missing, can't be read or written, arrives damaged, its name would
            put it outside ``folder``, or it is a link out of the local folder that it is in.
    """
    for name, file in files.items():
        # An object may be called anything, "../x" included.
        if not _holds(folder, name):
            raise StepError(
                f"{join(uri, file.name)} would land outside {folder}: rename the object"
            )
        if not is_remote(uri) and not _holds(Path(uri), file.name):
            raise StepError(f"{join(uri, file.name)} is a link out of {uri}: it is not copied")
    # One store, and so one pool of connections, serves all.
    with _open(uri) as store, ThreadPoolExecutor(FILES_AT_A_TIME) as pool:
        started = {
            pool.submit(_pull_file, store, join(uri, file.name), file, folder / name): file
            for name, file in files.items()
        }
        try:
            for future in as_completed(started):
                future.result()
                done(started[future])
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def files_to_upload(folder: Path) -> list[str]:
    """Names of all files below a folder of this machine, relative to it and sorted.

    Raises:
        InputError: there are none, or one is a link out of the folder, to what is nobody's to see.
    """
    names = list_files(folder) if folder.is_dir() else []
    if not names:
        raise InputError(f"nothing to upload: {folder} is missing or empty")
    for name in names:
        if not _holds(folder, name):
            raise InputError(f"{folder / name} is a link out of {folder}: put the file there")
    return names


def upload_folder(folder: Path, uri: str | Path, *, replace: bool = False) -> None:
    """Copy a folder of this machine to an address.

    A local target appears under its name only when it is complete; in a bucket each file appears
    whole, in the order of the names.

    Args:
        folder: what to copy, with all below it.
        uri: the address it gets.
        replace: whether it may take the place of what is there. A local folder is replaced; in
            a bucket files of the same names are, and others stay.

    Raises:
        InputError: ``files_to_upload`` refuses the folder, or the target holds something and
            ``replace`` is not set.
        StepError: the target can't be written.
    """
    names = files_to_upload(folder)
    if not replace and exists(uri):
        raise _taken(uri)
    with _open(uri) as store:
        store.upload(folder, names)


@contextlib.contextmanager
def whole_folder(folder: Path, *, replace: bool = False) -> Iterator[Path]:
    """A local folder that appears under its name only when all of it is written.

    Yields a temporary sibling to write into, which takes the name when the block ends and is
    removed when the block fails. A killed process leaves the sibling, whose name starts with a
    dot and ends in ``.partial``, and nothing under the name itself.

    Args:
        folder: the name.
        replace: whether a folder that holds something may be replaced.

    Raises:
        InputError: the folder holds something and ``replace`` is not set; at the end too, where
            somebody else was faster.
        StepError: writing failed.
    """
    if not replace and exists(folder):
        raise _taken(folder)
    temporary = _sibling(folder)
    try:
        # Not tempfile.mkdtemp: its folders are closed to the other users who read the result.
        temporary.mkdir(parents=True)
        yield temporary
        _name_folder(temporary, folder, replace=replace)
    except OSError as error:
        raise StepError(
            f"cannot write {folder}: {error.strerror or error}: check the path and the space left"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _name_folder(temporary: Path, folder: Path, *, replace: bool) -> None:
    """Give a folder its name, whoever else may be giving that name to another right now.

    Raises:
        InputError: the name is taken, and ``replace`` is not set.
        OSError: the folder can't be renamed.
    """
    while True:
        try:
            os.rename(temporary, folder)  # which does not replace a folder that holds something
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        if not replace:
            raise _taken(folder)
        old = _sibling(folder)
        with contextlib.suppress(FileNotFoundError):
            os.rename(folder, old)
        shutil.rmtree(old, ignore_errors=True)


def _holds(folder: Path, name: str) -> bool:
    """Whether a name below a folder, links followed, is of something in the folder."""
    return (folder / name).resolve().is_relative_to(folder.resolve())


def _taken(uri: str | Path) -> InputError:
    return InputError(f"{uri} already holds something: choose another name, or delete it first")


def _sibling(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")


@contextlib.contextmanager
def _open(uri: str | Path) -> Iterator[Store]:
    """The store of an address; what goes wrong with it becomes a ``StepError``."""
    address = str(uri)
    make = next((made for scheme, made in STORES.items() if address.startswith(scheme)), Folder)
    store = make(address)
    with store.errors(address):
        yield store


def _pull_file(store: Store, source: str, file: File, target: Path) -> None:
    try:
        with store.errors(source):
            if target.is_file() and store.matches(file, target):
                return
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = _sibling(target)
            try:
                store.fetch(file.name, temporary)
                if file.checksum and not store.matches(file, temporary):
                    raise StepError(f"{source} arrived damaged, or changed meanwhile: try again")
                os.replace(temporary, target)
            finally:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StepError(
            f"cannot copy {source} to {target}: {error.strerror}: check the path and the space left"
        ) from error


class Folder:
    """A ``Store``: a path of this machine."""

    def __init__(self, uri: str) -> None:
        self.path = Path(uri)

    def errors(self, uri: str) -> contextlib.AbstractContextManager[None]:
        """Nothing: what to say of an ``OSError`` depends on what was done."""
        return contextlib.nullcontext()

    def check(self, *, write: bool) -> None:
        """As ``Store``."""
        above = next(at for at in (self.path, *self.path.absolute().parents) if at.exists())
        if write:
            if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
                raise StepError(
                    f"cannot write to {self.path}: {above} is no folder that this user may write to"
                )
        elif above != self.path or not os.access(above, os.R_OK):
            raise StepError(f"cannot read {self.path}: it is missing, or this user may not read it")

    def exists(self) -> bool:
        """As ``Store``."""
        return self.path.is_file() or (self.path.is_dir() and any(self.path.iterdir()))

    def scan(self) -> Iterable[File]:
        """As ``Store``."""
        paths = [path for path in self.path.rglob("*") if path.is_file()]
        return [File(path.relative_to(self.path).as_posix(), path.stat().st_size) for path in paths]

    def read(self, name: str) -> bytes:
        """As ``Store``."""
        path = self.path / name
        if name and not _holds(self.path, name):
            raise StepError(f"{path} is a link out of {self.path}: it is not read")
        try:
            return path.read_bytes()
        except OSError as error:
            raise StepError(f"cannot read {path}: {error.strerror}: check the path") from error

    def write(self, content: bytes) -> None:
        """As ``Store``."""
        temporary = _sibling(self.path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            os.replace(temporary, self.path)
        except OSError as error:
            with contextlib.suppress(OSError):  # such as of a folder that is none
                temporary.unlink()
            raise StepError(
                f"cannot write {self.path}: {error.strerror}: check the path and the space left"
            ) from error

    def snapshot(self) -> Snapshot:
        """As ``Store``."""
        try:
            return Snapshot(self.path.read_bytes())
        except FileNotFoundError:
            return Snapshot(None)
        except OSError as error:
            raise StepError(f"cannot read {self.path}: {error.strerror}: check the path") from error

    def write_if_unchanged(self, content: bytes, since: Snapshot) -> bool:
        """As ``Store``; writers wait for each other at a lock file, which stays."""
        lock = self.path.with_name(f".{self.path.name}.lock")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with lock.open("wb") as held:
                fcntl.flock(held, fcntl.LOCK_EX)  # of a process that is killed, the kernel lets go
                if self.snapshot().content != since.content:
                    return False
                self.write(content)
                return True
        except OSError as error:
            raise StepError(
                f"cannot lock {lock}: {error.strerror}: check the path and who may write there"
            ) from error

    def upload(self, folder: Path, names: Sequence[str]) -> None:
        """As ``Store``; all of it appears at once."""
        with whole_folder(self.path, replace=True) as temporary:
            shutil.copytree(folder, temporary, dirs_exist_ok=True)

    def fetch(self, name: str, path: Path) -> None:
        """As ``Store``."""
        shutil.copyfile(self.path / name, path)

    def remove(self) -> None:
        """As ``Store``."""
        try:
            if self.path.is_dir() and not self.path.is_symlink():
                shutil.rmtree(self.path)
            else:
                self.path.unlink(missing_ok=True)
        except FileNotFoundError:
            pass  # someone else was faster
        except OSError as error:
            raise StepError(
                f"cannot remove {self.path}: {error.strerror or error}: check who owns it"
            ) from error

    def matches(self, file: File, path: Path) -> bool:
        """As ``Store``."""
        return filecmp.cmp(self.path / file.name, path, shallow=False)


class CloudStorage:
    """A ``Store``: a prefix in a bucket of Cloud Storage.

    Whatever is sent or received is checked by its CRC32C. The server makes an object visible only
    when all of it is there and its checksum is the one announced, and writing the same bytes
    twice is writing them once, so every request may be sent again.
    """

    def __init__(self, uri: str) -> None:
        self.address = Address.parse(uri)
        emulator = os.environ.get("STORAGE_EMULATOR_HOST")
        self.host = emulator or "storage.googleapis.com"
        with self.errors(uri):
            from google.auth.exceptions import DefaultCredentialsError
            from google.cloud import storage
            from google.cloud.storage.retry import DEFAULT_RETRY

            try:
                # Objects belong to buckets: which project the account is of does not matter.
                client = (
                    storage.Client.create_anonymous_client()
                    if emulator
                    else storage.Client(project=None)
                )
            except (AttributeError, TypeError, KeyError) as error:  # a file of other JSON
                raise DefaultCredentialsError("the file holds something else") from error
            except OSError as error:  # a folder, or a file of somebody else's
                raise DefaultCredentialsError(error.strerror) from error
            self.bucket = client.bucket(self.address.bucket)
            # 429, 5xx, connections that are refused or reset, time-outs.
            passing = DEFAULT_RETRY.with_timeout(SECONDS_OF_RETRIES).with_delay(*SECONDS_TO_WAIT)
            self.options = {"retry": passing, "timeout": (SECONDS_TO_CONNECT, SECONDS_A_REQUEST)}
            self._from_the_start = passing.with_predicate(_is_spoilt)

    def check(self, *, write: bool) -> None:
        """As ``Store``."""
        options = {
            "retry": self.options["retry"].with_timeout(SECONDS_TO_ANSWER),
            "timeout": SECONDS_TO_ANSWER,
        }
        prefix = self.address.prefix
        any(True for _ in self.bucket.list_blobs(prefix=prefix, max_results=1, **options))
        if write:
            # It takes the right to make this object, and without content none is made. Unlike
            # testIamPermissions, that heeds conditions on a role, such as a prefix.
            self._blob("preflight").create_resumable_upload_session(**options)

    def exists(self) -> bool:
        """As ``Store``."""
        if self.address.key and self._blob("").exists(**self.options):
            return True
        below = self.bucket.list_blobs(prefix=self.address.prefix, max_results=1, **self.options)
        return any(True for _ in below)

    def scan(self) -> Iterable[File]:
        """As ``Store``."""
        prefix = self.address.prefix
        for blob in self.bucket.list_blobs(prefix=prefix, **self.options):
            yield File(blob.name.removeprefix(prefix), blob.size, blob.crc32c or "")

    def read(self, name: str) -> bytes:
        """As ``Store``."""
        content = io.BytesIO()
        self._receive(name, content)
        return content.getvalue()

    def write(self, content: bytes) -> None:
        """As ``Store``."""
        self._send("", io.BytesIO(content))

    def snapshot(self) -> Snapshot:
        """As ``Store``."""
        from google.api_core.exceptions import NotFound, PreconditionFailed

        while blob := self.bucket.get_blob(self.address.key, **self.options):
            same = {"if_generation_match": blob.generation}
            try:
                return Snapshot(blob.download_as_bytes(**same, **self.options), blob.generation)
            except (NotFound, PreconditionFailed):
                continue  # it was written in between
        return Snapshot(None)

    def write_if_unchanged(self, content: bytes, since: Snapshot) -> bool:
        """As ``Store``."""
        from google.api_core.exceptions import PreconditionFailed

        same = {"if_generation_match": since.generation}
        try:
            self._blob("").upload_from_string(
                content, "application/octet-stream", **same, **self.options
            )
        except PreconditionFailed:
            # A request whose answer was lost is sent again, and finds what it wrote itself.
            return self.snapshot().content == content
        return True

    def upload(self, folder: Path, names: Sequence[str]) -> None:
        """As ``Store``."""
        for name in names:
            with (folder / name).open("rb") as content:
                self._send(name, content)

    def fetch(self, name: str, path: Path) -> None:
        """As ``Store``."""
        with path.open("w+b") as content:
            self._receive(name, content)

    def remove(self) -> None:
        """As ``Store``."""
        below = self.bucket.list_blobs(prefix=self.address.prefix, **self.options)
        found = [self._blob(""), *below]
        # on_error is told of what is not there, and of nothing else.
        self.bucket.delete_blobs(found, on_error=lambda blob: None, **self.options)

    def matches(self, file: File, path: Path) -> bool:
        """As ``Store``."""
        if path.stat().st_size != file.size:
            return False
        with path.open("rb") as content:
            return _crc32c(content) == file.checksum

    def _blob(self, name: str) -> Any:
        return self.bucket.blob(self.address.key_of(name), chunk_size=BYTES_A_PART)

    def _send(self, name: str, content: BinaryIO) -> None:
        """Write an object, in parts if it is large."""
        checksum, size = _crc32c(content), content.tell()

        def send() -> None:
            blob = self._blob(name)
            blob.upload_from_file(
                content,
                rewind=True,
                size=size,
                content_type="application/octet-stream",
                checksum="crc32c",
                # Announced before the first part too: the server refuses what arrives damaged.
                crc32c_checksum_value=checksum,
                **self.options,
            )
            _expect(checksum, blob.crc32c)

        self._from_the_start(send)()

    def _receive(self, name: str, content: BinaryIO) -> None:
        """Read an object, in parts if it is large, all of them of the same generation."""

        def receive() -> None:
            content.seek(0)
            content.truncate()
            blob = self._blob(name)
            blob.reload(**self.options)
            # The library checks no download of several parts, and none that it went on with. What
            # is stored compressed is left so: the checksum is of the stored bytes.
            if blob.size:  # of nothing there is no part to ask for
                blob.download_to_file(content, raw_download=True, checksum=None, **self.options)
            _expect(blob.crc32c, _crc32c(content))

        self._from_the_start(receive)()

    @contextlib.contextmanager
    def errors(self, uri: str) -> Iterator[None]:
        """As ``Store``."""
        from google.api_core.exceptions import GoogleAPIError, RetryError, from_http_status
        from google.auth.exceptions import GoogleAuthError
        from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
        from requests.exceptions import (  # type: ignore[import-untyped, unused-ignore]
            RequestException,
        )

        try:
            yield
        except (GoogleAPIError, GoogleAuthError, RequestException, DataCorruption) as error:
            cause: Any = error
            if isinstance(error, RetryError):  # the last of the errors tells why
                cause = error.cause
            if isinstance(cause, InvalidResponse):
                cause = from_http_status(cause.response.status_code, str(cause.args[0]))
            raise self._explain(uri, cause) from error

    def _explain(self, uri: str, error: Any) -> StepError:
        """What to say of an error of the library's."""
        from google.api_core import exceptions as api
        from google.auth import exceptions as auth
        from google.cloud.storage.exceptions import DataCorruption

        reason = str(error.args[0] if error.args else error).partition("\n")[0]
        match error:
            case auth.DefaultCredentialsError() if key := os.environ.get(KEY_VARIABLE):
                return StepError(
                    f"no Google Cloud credentials to open {uri}: {KEY_VARIABLE} is {key}, which"
                    f" can't be used ({reason})"
                )
            case auth.DefaultCredentialsError():
                return NoCredentialsError(
                    f"no Google Cloud credentials to open {uri}: run `{LOGIN}`, or let the pod run"
                    " under a service account that may use the bucket"
                )
            case auth.RefreshError() | api.Unauthorized():
                return StepError(
                    f"the Google Cloud credentials to open {uri} have expired or are revoked"
                    f" ({reason}): run `{LOGIN}`; in a pod, look at its service account"
                )
            case api.NotFound():
                return StepError(
                    f"{uri} does not exist (404 from {self.host}): check the bucket and the name"
                )
            case api.Forbidden():
                return StepError(
                    f"access to {uri} is denied (403 from {self.host}): check the bucket's name, or"
                    " grant the account roles/storage.objectUser on the bucket"
                )
            case api.TooManyRequests() | api.ServerError():
                return StepError(
                    f"{self.host} answers {error.code} to each request for {uri}: try again later"
                )
            case DataCorruption():
                return StepError(f"{uri} arrives damaged ({reason}): try again")
            case api.GoogleAPICallError():
                return StepError(f"{self.host} refused a request for {uri}: {reason}")
            case auth.GoogleAuthError() if not isinstance(error, auth.TransportError):
                return StepError(f"no login at {self.host} to open {uri}: {reason}")
        return StepError(
            f"cannot reach {self.host} to open {uri} ({unreachable(error)}): check the network, or"
            " STORAGE_EMULATOR_HOST"
        )


def _is_spoilt(error: Exception) -> bool:
    """Whether a transfer can't go on where it was, but a new one may succeed."""
    from google.api_core.exceptions import GoogleAPICallError
    from google.cloud.storage.exceptions import DataCorruption

    if not isinstance(error, GoogleAPICallError) or error.response is None:
        return isinstance(error, DataCorruption)
    request = error.response.request
    if error.code in (404, 410):
        # A part of an upload that the server forgot, or of a generation that was just replaced.
        return request.method == "PUT" or "alt=media" in request.url
    return error.code == 400 and "CRC32C" in str(error)  # not the bytes that were announced


def _expect(checksum: str, found: str) -> None:
    """Raise ``DataCorruption`` unless both are the same."""
    from google.cloud.storage.exceptions import DataCorruption

    if found != checksum:
        raise DataCorruption(None, f"CRC32C {found} in place of {checksum}")


def _crc32c(content: BinaryIO) -> str:
    """The CRC32C of a file as Cloud Storage writes it, read from the start to the end."""
    import google_crc32c

    checksum = google_crc32c.Checksum()
    content.seek(0)
    while part := content.read(BYTES_AT_A_TIME):
        checksum.update(part)
    return base64.b64encode(checksum.digest()).decode()


def _s3(uri: str) -> Store:
    # Here, since boto3 is an extra, and that module takes this one's File.
    from components.s3 import S3

    return S3(uri)


STORES: Mapping[str, Callable[[str], Store]] = {
    "gs://": CloudStorage,
    "s3://": _s3,
    "minio://": _s3,
}
