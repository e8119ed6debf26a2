"""``s3://`` and ``minio://`` for ``genpipe.storage``. No other module imports boto3.

Endpoint, region and credentials are found as by every tool of S3's: ``AWS_ENDPOINT_URL`` (or
``AWS_ENDPOINT_URL_S3``), ``AWS_DEFAULT_REGION``, ``AWS_ACCESS_KEY_ID`` and
``AWS_SECRET_ACCESS_KEY``, or a profile that says them. What they leave open, the query of a
pipeline root may say: ``endpoint``, ``region``, ``disableSSL``. ``minio://`` is Kubeflow's name for
the store in its cluster: the same protocol, but never Amazon's host.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from genpipe.errors import InputError, StepError, unreachable
from genpipe.storage.store import BYTES_AT_A_TIME, SECONDS_A_REQUEST, Address, File, Snapshot

# With the waits between them (below 1 s, then 2 s) as long as Cloud Storage's retries.
ATTEMPTS = 3
SECONDS_TO_CONNECT = 3.0
# Of an MD5, or of the MD5s of so many parts.
ETAG = re.compile(r"[0-9a-f]{32}(?:-([0-9]+))?")
AMAZON = re.compile(r"\.amazonaws\.com(\.cn)?$")
FORWARD = (
    "`kubectl port-forward --namespace kubeflow service/seaweedfs 9000`, and set"
    " AWS_ENDPOINT_URL=http://localhost:9000, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
)


@cache
def _client(
    query: frozenset[tuple[str, str]], variables: frozenset[tuple[str, str]], process: int
) -> Any:
    """The client of a process, with its connections: making one takes 0.1 s.

    The arguments are what it depends on; a connection can't be shared across a fork.
    """
    import boto3
    from botocore.config import Config

    asked = dict(query)
    settings = Config(
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        connect_timeout=SECONDS_TO_CONNECT,
        read_timeout=SECONDS_A_REQUEST,
    )
    session = boto3.Session()
    region = session.region_name or asked.get("region")
    # At an endpoint that is not Amazon's, boto3 puts the bucket into the path.
    client = session.client("s3", region_name=region, config=settings)
    if _is_amazons(client) and "endpoint" in asked:
        endpoint = _endpoint(asked)
        client = session.client("s3", endpoint_url=endpoint, region_name=region, config=settings)
    return client


class S3:
    """A ``Store``: a prefix in a bucket.

    Raises:
        InputError: boto3 is not installed, the address names no bucket, or nothing says at which
            endpoint a ``minio://`` bucket is.
    """

    def __init__(self, uri: str) -> None:
        self.address = Address.parse(uri)
        self.host = "S3"
        try:
            import boto3  # noqa: F401
        except ImportError:
            raise InputError(f"{uri}: pip install 'genpipe[s3]' first") from None
        chosen = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        known = (frozenset(one.items()) for one in (self.address.query, chosen))
        try:
            with self.errors(uri):
                self.client = _client(*known, os.getpid())
        except ValueError as error:  # what boto3 says of an endpoint that is no URL
            raise InputError(f"{uri}: {error}: write http://host:port") from None
        if uri.startswith("minio://") and _is_amazons(self.client):
            raise InputError(f"{uri} does not say at which endpoint the bucket is: {FORWARD}")
        self.host = self.client.meta.endpoint_url

    def check(self, *, write: bool) -> None:
        """As ``Store``, but for ``write``."""
        any(True for _ in self._list(self.address.prefix, most=1))

    def exists(self) -> bool:
        """As ``Store``."""
        key = self.address.key
        if key and any(found["Key"] == key for found in self._list(key, most=1)):
            return True
        return any(True for _ in self._list(self.address.prefix, most=1))

    def scan(self) -> Iterable[File]:
        """As ``Store``."""
        prefix = self.address.prefix
        for found in self._list(prefix):
            name = found["Key"].removeprefix(prefix)
            yield File(name, found["Size"], found["ETag"].strip('"'))

    def read(self, name: str) -> bytes:
        """As ``Store``."""
        content: bytes = self.client.get_object(**self._named(name))["Body"].read()
        return content

    def write(self, content: bytes) -> None:
        """As ``Store``."""
        self.client.put_object(**self._named(""), Body=content)

    def snapshot(self) -> Snapshot:
        """As ``Store``."""
        return Snapshot(self.read("") if self.exists() else None)

    def write_if_unchanged(self, content: bytes, since: Snapshot) -> bool:
        """Nothing: not every store of this protocol knows a precondition.

        Raises:
            InputError: always.
        """
        raise InputError(
            f"champions cannot be stored on S3, at s3://{self.address.bucket}/{self.address.key} "
            "(conditional writes are not available on every S3-compatible store): use a local "
            "folder or a gs:// prefix"
        )

    def upload(self, folder: Path, names: Sequence[str]) -> None:
        """As ``Store``."""
        for name in names:
            with (folder / name).open("rb") as content:
                self.client.put_object(**self._named(name), Body=content)

    def fetch(self, name: str, path: Path) -> None:
        """As ``Store``."""
        from boto3.s3.transfer import TransferConfig

        # It goes on with a transfer that broke off; its caller has the threads.
        settings = TransferConfig(use_threads=False, num_download_attempts=ATTEMPTS)
        with path.open("wb") as content:
            self.client.download_fileobj(**self._named(name), Fileobj=content, Config=settings)

    def remove(self) -> None:
        """As ``Store``."""
        for name in ["", *(file.name for file in self.scan())]:
            self.client.delete_object(**self._named(name))

    def matches(self, file: File, path: Path) -> bool:
        """As ``Store``: by the ETag where that is made of MD5s, else by the size alone."""
        if path.stat().st_size != file.size:
            return False
        etag = ETAG.fullmatch(file.checksum)
        if not etag:
            return True
        part_size = None
        if parts := etag[1]:
            part_size = max(1, self._part_size(file.name))
            if math.ceil(file.size / part_size) != int(parts):
                return True  # not every store tells the size of a part
        if _etag(path, part_size) == file.checksum:
            return True
        # An object that a key of KMS encrypts has an ETag that is no MD5, but looks like one.
        head = self.client.head_object(**self._named(file.name))
        return str(head.get("ServerSideEncryption")).startswith("aws:kms")

    def _named(self, name: str) -> dict[str, str]:
        return {"Bucket": self.address.bucket, "Key": self.address.key_of(name)}

    def _list(self, prefix: str, most: int | None = None) -> Iterator[dict[str, Any]]:
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.address.bucket, Prefix=prefix, PaginationConfig={"MaxItems": most}
        )
        for page in pages:
            yield from page.get("Contents", [])

    def _part_size(self, name: str) -> int:
        """Bytes of an object's first part; writers make all parts but the last alike."""
        size: int = self.client.head_object(**self._named(name), PartNumber=1)["ContentLength"]
        return size

    @contextlib.contextmanager
    def errors(self, uri: str) -> Iterator[None]:
        """As ``Store``."""
        from botocore import exceptions as boto
        from s3transfer.exceptions import RetriesExceededError

        try:
            yield
        except (boto.NoCredentialsError, boto.PartialCredentialsError) as error:
            raise StepError(
                f"no S3 credentials to open {uri}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,"
                " or AWS_PROFILE"
            ) from error
        except (boto.ConnectionError, boto.HTTPClientError, RetriesExceededError) as error:
            raise StepError(
                f"cannot reach {self.host} to open {uri} ({unreachable(error)}): check the network"
                f" and AWS_ENDPOINT_URL; for a store inside a cluster, {FORWARD}"
            ) from error
        except boto.ClientError as error:
            raise self._refusal(uri, error.response) from error
        except boto.BotoCoreError as error:
            reason = " ".join(str(error).split())
            raise StepError(f"{self.host} can't be asked for {uri}: {reason}") from error

    def _refusal(self, uri: str, response: Mapping[str, Any]) -> StepError:
        """What to say of an answer that is an error."""
        code = response.get("Error", {}).get("Code", "")
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if code.startswith("Expired") or code == "TokenRefreshRequired":
            return StepError(f"the credentials to open {uri} have expired: log in again")
        if status == 404:
            return StepError(
                f"{uri} does not exist (404 from {self.host}): check the bucket and the name"
            )
        if status in (401, 403):
            return StepError(
                f"access to {uri} is denied ({code} from {self.host}): check the key, its secret,"
                " and that the account may use the bucket"
            )
        reason = " ".join(str(response.get("Error", {}).get("Message") or status).split())
        return StepError(f"{self.host} refused a request for {uri}: {code or status} ({reason})")


def _is_amazons(client: Any) -> bool:
    return bool(AMAZON.search(urlsplit(client.meta.endpoint_url).hostname or ""))


def _endpoint(query: Mapping[str, str]) -> str:
    """The endpoint of a query as a URL: there it may be a host and a port alone."""
    endpoint = query["endpoint"]
    if "://" in endpoint:
        return endpoint
    # disable_https is what Kubeflow's storage library has renamed it to.
    plain = "true" in (query.get("disableSSL"), query.get("disable_https"))
    return f"{'http' if plain else 'https'}://{endpoint}"


def _etag(path: Path, part_size: int | None) -> str:
    """The ETag that a store gives a file: its MD5, or of parts the MD5 of their MD5s."""
    with path.open("rb") as content:
        if part_size is None:
            return hashlib.file_digest(content, _md5).hexdigest()
        parts = []
        left = path.stat().st_size
        while left:
            digest, of_part = _md5(), min(left, part_size)
            left -= of_part
            while of_part and (block := content.read(min(of_part, BYTES_AT_A_TIME))):
                digest.update(block)
                of_part -= len(block)
            parts.append(digest.digest())
    return f"{_md5(b''.join(parts)).hexdigest()}-{len(parts)}"


def _md5(content: bytes = b"") -> Any:
    return hashlib.md5(content, usedforsecurity=False)  # a checksum, against accidents alone
