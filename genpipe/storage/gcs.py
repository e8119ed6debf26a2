"""``gs://``: Cloud Storage. No other module imports google.cloud.

With ``STORAGE_EMULATOR_HOST`` set, that host serves it without credentials; otherwise Cloud Storage
does with the default credentials.
"""

from __future__ import annotations

import base64
import contextlib
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from genpipe.errors import StepError, unreachable
from genpipe.storage.store import (
    BYTES_AT_A_TIME,
    SECONDS_A_REQUEST,
    Address,
    File,
    NoCredentialsError,
    Snapshot,
)

# A request that fails for a passing reason is sent again for so long, after waits that double from
# the first to the longest. Each part of a large file has that time for itself.
SECONDS_OF_RETRIES = 120.0
SECONDS_TO_WAIT = (0.5, 15.0)
SECONDS_TO_CONNECT = 5.0
# Seconds for a check, which somebody waits for.
SECONDS_TO_ANSWER = 10.0
# Of a large file: what a fault can cost, and what a transfer holds in memory.
BYTES_A_PART = 8 * 2**20
KEY_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
LOGIN = "gcloud auth application-default login"


@cache
def _client(emulator: str | None, key: str | None, process: int) -> Any:
    """The client of a process, with its connections: one for each server and each account.

    The arguments are what it depends on; a connection can't be shared across a fork.
    """
    from google.auth.exceptions import DefaultCredentialsError
    from google.cloud import storage

    try:
        # Objects belong to buckets: which project the account is of does not matter.
        return (
            storage.Client.create_anonymous_client() if emulator else storage.Client(project=None)
        )
    except (AttributeError, TypeError, KeyError) as error:  # a file of other JSON
        raise DefaultCredentialsError("the file holds something else") from error
    except OSError as error:  # a folder, or a file of somebody else's
        raise DefaultCredentialsError(error.strerror) from error


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
            from google.cloud.storage.retry import DEFAULT_RETRY

            self.bucket = _client(emulator, os.environ.get(KEY_VARIABLE), os.getpid()).bucket(
                self.address.bucket
            )
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
            if blob.size:  # an empty object has no part to ask for
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
                    f"no Google Cloud credentials to open {uri}: run `{LOGIN}` (in a pod: give its"
                    " service account access)"
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
