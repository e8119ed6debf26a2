"""A local path or ``gs://`` behind one small interface. No other module imports google.cloud.

An address (``uri``) is a string: ``gs://bucket/prefix``, or a path on this machine. With
``STORAGE_EMULATOR_HOST`` set, ``gs://`` is served by that host without credentials; otherwise
by Cloud Storage with the default credentials.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from components.errors import InputError, StepError

SCHEME = "gs://"
SECONDS_OF_RETRIES = 10.0
SECONDS_A_REQUEST = 30.0


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
    if not is_remote(uri):
        root = Path(uri)
        return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())
    with _bucket(uri) as (bucket, key, options):
        prefix = _folder(key)
        blobs = bucket.client.list_blobs(bucket, prefix=prefix, **options)
        # An object that ends in a slash is how the Cloud Console draws an empty folder.
        return sorted(b.name.removeprefix(prefix) for b in blobs if not b.name.endswith("/"))


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
    targets = [folder / name for name in names]
    for name, target in zip(names, targets, strict=True):
        # An object may be called anything, "../x" included.
        if not target.resolve().is_relative_to(folder.resolve()):
            raise StepError(f"{join(uri, name)} would land outside {folder}: rename the object")
    for name, target in zip(names, targets, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _sibling(target)
        try:
            _download_file(join(uri, name), temporary)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    return targets


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


def _download_file(uri: str, target: Path) -> None:
    if not is_remote(uri):
        try:
            shutil.copyfile(uri, target)
        except OSError as error:
            raise StepError(f"cannot copy {uri} to {target}: {error.strerror}") from error
        return
    with _bucket(uri) as (bucket, key, options):
        bucket.blob(key).download_to_filename(str(target), **options)


@contextlib.contextmanager
def _bucket(uri: str | Path) -> Iterator[tuple[Any, str, dict[str, Any]]]:
    """The bucket, the key in it, and the options of every request; errors become ``StepError``."""
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth
    from google.cloud import storage
    from google.cloud.storage.retry import DEFAULT_RETRY
    from requests import exceptions as http  # type: ignore[import-untyped, unused-ignore]

    name, _, key = str(uri).removeprefix(SCHEME).partition("/")
    if not name:
        raise InputError(f"{uri!r} names no bucket: write gs://bucket/prefix")
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    host = emulator or "storage.googleapis.com"
    # The library retries a refused connection for two minutes; a person waits for the answer.
    options = {
        "retry": DEFAULT_RETRY.with_timeout(SECONDS_OF_RETRIES),
        "timeout": SECONDS_A_REQUEST,
    }
    try:
        client = storage.Client.create_anonymous_client() if emulator else storage.Client()
        yield client.bucket(name), key, options
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
    except (api.GoogleAPIError, auth.GoogleAuthError, http.RequestException) as error:
        reason = str(error).partition("\n")[0]
        raise StepError(f"{host} refused a request for {uri}: {reason}") from error
