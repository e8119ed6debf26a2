"""Files behind one small interface: a local path, ``gs://``, or ``s3://`` and ``minio://``.

An address (``uri``) is a string: a path on this machine, or ``gs://bucket/prefix``, which may end
in a query as Kubeflow's pipeline roots may (``s3://bucket/prefix?region=...``; Cloud Storage needs
none of it).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from genpipe.errors import InputError, StepError
from genpipe.storage.gcs import CloudStorage
from genpipe.storage.local import Folder, cache_folder, holds, sibling, taken, whole_folder
from genpipe.storage.store import Address, File, NoCredentialsError, Snapshot, Store

__all__ = [
    "Address",
    "File",
    "NoCredentialsError",
    "Snapshot",
    "cache_folder",
    "check",
    "download",
    "exists",
    "files_to_upload",
    "is_remote",
    "join",
    "list_files",
    "pull",
    "read_bytes",
    "read_files",
    "remove",
    "scan",
    "snapshot",
    "upload_folder",
    "whole_folder",
    "write_bytes",
    "write_if_unchanged",
]

# Threads of one call; the HTTP library keeps ten connections to a host.
FILES_AT_A_TIME = 8


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
    from what was there: where an answer was lost, what the file holds shows who wrote it.

    Args:
        uri: the file.
        content: what it gets.
        since: what ``snapshot`` returned; one without content where it must not exist yet.

    Returns:
        Whether it was written.

    Raises:
        StepError: it can't be written.
    """
    with _open(uri) as store:
        return store.write_if_unchanged(content, since)


def remove(uri: str | Path) -> None:
    """Remove a file, or a folder with all below it; a missing one is not an error.

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
        StepError: a file is missing or can't be read, or there are no files at all.
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
        done: called with each file that is there.

    Raises:
        StepError: a file is missing, can't be read or written, arrives damaged, its name would
            put it outside ``folder``, or it is a symlink that points outside the local folder that
            it is in.
    """
    for name, file in files.items():
        # An object may be called anything, "../x" included.
        if not holds(folder, name):
            raise StepError(
                f"{join(uri, file.name)} would land outside {folder}: rename the object"
            )
        if not is_remote(uri) and not holds(Path(uri), file.name):
            raise StepError(
                f"{join(uri, file.name)} is a symlink that points outside {uri}: it is not copied"
            )
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
        InputError: there are none, or one is a symlink that points outside the folder.
    """
    names = list_files(folder) if folder.is_dir() else []
    if not names:
        raise InputError(f"nothing to upload: {folder} is missing or empty")
    for name in names:
        if not holds(folder, name):
            raise InputError(
                f"{folder / name} is a symlink that points outside {folder}: put the file there"
            )
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
        raise taken(uri)
    with _open(uri) as store:
        store.upload(folder, names)


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
            temporary = sibling(target)
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


def _s3(uri: str) -> Store:
    # Here, since boto3 is an extra.
    from genpipe.storage.s3 import S3

    return S3(uri)


STORES: Mapping[str, Callable[[str], Store]] = {
    "gs://": CloudStorage,
    "s3://": _s3,
    "minio://": _s3,
}
