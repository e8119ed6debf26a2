"""A local path or ``gs://`` behind one small interface. No other module imports google.cloud.

An address (``uri``) is a string: ``gs://bucket/prefix``, or a path on this machine. With
``STORAGE_EMULATOR_HOST`` set, ``gs://`` is served by that host without credentials; otherwise
by Cloud Storage with the default credentials.
"""

from __future__ import annotations

import base64
import contextlib
import filecmp
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import InputError, StepError

SCHEME = "gs://"
SECONDS_OF_RETRIES = 10.0
SECONDS_A_REQUEST = 30.0
# Of one pull; the HTTP library keeps ten connections to a host.
DOWNLOADS_AT_A_TIME = 8
BYTES_AT_A_TIME = 2**20


@dataclass(frozen=True)
class File:
    """One file below an address.

    Attributes:
        name: relative to the address.
        size: in bytes; -1 where it is not known.
        checksum: CRC32C in base64, as Cloud Storage tells it; empty where it is not known, as for
            files of this machine.
    """

    name: str
    size: int = -1
    checksum: str = ""


def is_remote(uri: str | Path) -> bool:
    """Whether the address is in Cloud Storage."""
    return str(uri).startswith(SCHEME)


def join(uri: str | Path, *parts: str) -> str:
    """The address of something below another: ``join("gs://b/a", "c") == "gs://b/a/c"``."""
    if is_remote(uri):
        return "/".join([str(uri).rstrip("/"), *(part.strip("/") for part in parts)])
    return str(Path(uri, *parts))


def exists(uri: str | Path) -> bool:
    """Whether there is a file, or a folder with something in it, at the address.

    Raises:
        StepError: the bucket is missing or can't be read.
    """
    if not is_remote(uri):
        path = Path(uri)
        return path.is_file() or (path.is_dir() and any(path.iterdir()))
    with _bucket(uri) as (bucket, key, options):
        if key and bucket.blob(key).exists(**options):
            return True
        below = bucket.client.list_blobs(bucket, prefix=_folder(key), max_results=1, **options)
        return any(True for _ in below)


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
    if not is_remote(uri):
        root = Path(uri)
        paths = [path for path in root.rglob("*") if path.is_file()]
        found = [File(path.relative_to(root).as_posix(), path.stat().st_size) for path in paths]
    else:
        with _bucket(uri) as (bucket, key, options):
            prefix = _folder(key)
            found = [
                File(blob.name.removeprefix(prefix), blob.size, blob.crc32c or "")
                for blob in bucket.client.list_blobs(bucket, prefix=prefix, **options)
                # An object that ends in a slash is how the Cloud Console draws an empty folder.
                if not blob.name.endswith("/")
            ]
    return sorted(found, key=lambda file: file.name)


def read_bytes(uri: str | Path) -> bytes:
    """The content of one file.

    Raises:
        StepError: there is no such file, or it can't be read.
    """
    if not is_remote(uri):
        try:
            return Path(uri).read_bytes()
        except OSError as error:
            raise StepError(f"cannot read {uri}: {error.strerror}: check the path") from error
    with _bucket(uri) as (bucket, key, options):
        content: bytes = bucket.blob(key).download_as_bytes(**options)
        return content


def write_bytes(uri: str | Path, content: bytes) -> None:
    """Write one file, whole or not at all.

    Raises:
        StepError: it can't be written.
    """
    if not is_remote(uri):
        path = Path(uri)
        temporary = _sibling(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            os.replace(temporary, path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise StepError(
                f"cannot write {uri}: {error.strerror}: check the path and the space left"
            ) from error
        return
    with _bucket(uri) as (bucket, key, options):
        bucket.blob(key).upload_from_string(content, "application/octet-stream", **options)


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
        StepError: a file is missing, can't be read or written, arrives damaged, or its name would
            put it outside ``folder``.
    """
    for name, file in files.items():
        # An object may be called anything, "../x" included.
        if not (folder / name).resolve().is_relative_to(folder.resolve()):
            raise StepError(
                f"{join(uri, file.name)} would land outside {folder}: rename the object"
            )
    with _fetcher(uri) as fetch, ThreadPoolExecutor(DOWNLOADS_AT_A_TIME) as pool:
        started = {
            pool.submit(_pull_file, fetch, uri, file, folder / name): file
            for name, file in files.items()
        }
        try:
            for future in as_completed(started):
                future.result()
                done(started[future])
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def upload_folder(folder: Path, uri: str | Path, *, replace: bool = False) -> None:
    """Copy a folder of this machine to an address.

    A local target appears under its name only when it is complete; in Cloud Storage each file
    appears whole, in the order of the names.

    Args:
        folder: what to copy, with all below it.
        uri: the address it gets.
        replace: whether it may take the place of what is there. A local folder is replaced; in
            Cloud Storage files of the same names are, and others stay.

    Raises:
        InputError: the folder is missing or empty, or the target holds something and ``replace``
            is not set.
        StepError: the target can't be written.
    """
    names = list_files(folder) if folder.is_dir() else []
    if not names:
        raise InputError(f"nothing to upload: {folder} is missing or empty")
    if not is_remote(uri):
        with whole_folder(Path(uri), replace=replace) as temporary:
            shutil.copytree(folder, temporary, dirs_exist_ok=True)
        return
    if not replace and exists(uri):
        raise _taken(uri)
    with _bucket(uri) as (bucket, key, options):
        for name in names:
            bucket.blob(_folder(key) + name).upload_from_filename(str(folder / name), **options)


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
        InputError: the folder holds something and ``replace`` is not set.
        StepError: writing failed.
    """
    if not replace and exists(folder):
        raise _taken(folder)
    temporary = _sibling(folder)
    try:
        # Not tempfile.mkdtemp: its folders are closed to the other users who read the result.
        temporary.mkdir(parents=True)
        yield temporary
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(temporary, folder)
    except OSError as error:
        raise StepError(
            f"cannot write {folder}: {error.strerror or error}: check the path and the space left"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _taken(uri: str | Path) -> InputError:
    return InputError(f"{uri} already holds something: choose another name, or delete it first")


def _sibling(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")


def _folder(key: str) -> str:
    return f"{key.rstrip('/')}/" if key else ""


Fetch = Callable[[File, Path], object]


@contextlib.contextmanager
def _fetcher(uri: str | Path) -> Iterator[Fetch]:
    """What copies one file below an address to a path; one connection pool serves all."""
    if not is_remote(uri):
        yield lambda file, target: shutil.copyfile(join(uri, file.name), target)
        return
    with _bucket(uri) as (bucket, key, options):
        yield lambda file, target: bucket.blob(_folder(key) + file.name).download_to_filename(
            str(target), **options
        )


def _pull_file(fetch: Fetch, uri: str | Path, file: File, target: Path) -> None:
    source = join(uri, file.name)
    try:
        with _cloud_errors(source) if is_remote(uri) else contextlib.nullcontext():
            if _is_whole(source, file, target):
                return
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = _sibling(target)
            try:
                fetch(file, temporary)
                if file.checksum and _crc32c(temporary) != file.checksum:
                    raise StepError(f"{source} arrived damaged, or changed meanwhile: try again")
                os.replace(temporary, target)
            finally:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StepError(
            f"cannot copy {source} to {target}: {error.strerror}: check the path and the space left"
        ) from error


def _is_whole(source: str, file: File, target: Path) -> bool:
    if not target.is_file():
        return False
    if not is_remote(source):
        return filecmp.cmp(source, target, shallow=False)
    return target.stat().st_size == file.size and _crc32c(target) == file.checksum


def _crc32c(path: Path) -> str:
    """The checksum of a file as Cloud Storage writes it."""
    import google_crc32c

    checksum = google_crc32c.Checksum()
    with path.open("rb") as content:
        while part := content.read(BYTES_AT_A_TIME):
            checksum.update(part)
    return base64.b64encode(checksum.digest()).decode()


@contextlib.contextmanager
def _bucket(uri: str | Path) -> Iterator[tuple[Any, str, dict[str, Any]]]:
    """The bucket, the key in it, and the options of every request; errors become ``StepError``."""
    name, _, key = str(uri).removeprefix(SCHEME).partition("/")
    if not name:
        raise InputError(f"{uri!r} names no bucket: write gs://bucket/prefix")
    with _cloud_errors(uri):
        from google.cloud import storage
        from google.cloud.storage.retry import DEFAULT_RETRY

        emulator = os.environ.get("STORAGE_EMULATOR_HOST")
        client = storage.Client.create_anonymous_client() if emulator else storage.Client()
        # The library retries a refused connection for two minutes; a person waits for the answer.
        options = {
            "retry": DEFAULT_RETRY.with_timeout(SECONDS_OF_RETRIES),
            "timeout": SECONDS_A_REQUEST,
        }
        yield client.bucket(name), key, options


@contextlib.contextmanager
def _cloud_errors(uri: str | Path) -> Iterator[None]:
    """What Cloud Storage, its library and the network raise becomes a ``StepError``."""
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth
    from google.cloud.storage.exceptions import DataCorruption
    from requests import exceptions as http  # type: ignore[import-untyped, unused-ignore]

    host = os.environ.get("STORAGE_EMULATOR_HOST") or "storage.googleapis.com"
    try:
        yield
    except auth.DefaultCredentialsError as error:
        raise StepError(
            f"no Google Cloud credentials to open {uri}: run `gcloud auth application-default"
            " login`, or let the pod run under a service account that may read the bucket"
        ) from error
    except api.NotFound as error:
        raise StepError(
            f"{uri} does not exist (404 from {host}): check the bucket and the name"
        ) from error
    except (api.Forbidden, api.Unauthorized) as error:
        raise StepError(
            f"access to {uri} is denied ({error.code} from {host}): grant the account"
            " roles/storage.objectUser on the bucket"
        ) from error
    except (api.RetryError, http.ConnectionError, http.Timeout, auth.TransportError) as error:
        raise StepError(
            f"cannot reach {host} to open {uri}: check the network, or STORAGE_EMULATOR_HOST"
        ) from error
    except DataCorruption as error:
        raise StepError(f"{uri} arrived damaged: try again") from error
    except (api.GoogleAPIError, auth.GoogleAuthError, http.RequestException) as error:
        reason = str(error).partition("\n")[0]
        raise StepError(f"{host} refused a request for {uri}: {reason}") from error
