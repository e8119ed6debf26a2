"""What S3 alone does; tests/genpipe/storage/test_storage.py holds it to what all stores promise."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from genpipe import storage
from genpipe.errors import InputError, StepError
from genpipe.storage import s3

MEBIBYTE = 2**20


@pytest.fixture
def client(s3_bucket: str) -> Any:
    import boto3

    return boto3.Session().client("s3")


def put(client: Any, key: str, content: bytes, **how: str) -> None:
    client.put_object(Bucket="models", Key=key, Body=content, **how)


def put_in_parts(client: Any, key: str, content: bytes, part_size: int) -> None:
    """As Kubeflow's launcher writes whatever is larger than a part."""
    from boto3.s3.transfer import TransferConfig

    path = Path(os.environ["AWS_CONFIG_FILE"]).with_name("content")
    path.write_bytes(content)
    settings = TransferConfig(multipart_threshold=part_size, multipart_chunksize=part_size)
    client.upload_file(str(path), "models", key, Config=settings)


def pull(uri: str, folder: Path) -> dict[str, storage.File]:
    files = {file.name: file for file in storage.scan(uri)}
    storage.pull(uri, folder, files)
    return files


def test_minio_is_the_same_store_by_kubeflows_name(s3_bucket: str) -> None:
    storage.write_bytes("minio://models/v2/file", b"content")

    assert storage.read_bytes("s3://models/v2/file") == b"content"
    assert storage.list_files("minio://models") == ["v2/file"]


def test_a_process_keeps_its_client_until_a_variable_changes(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, again = (s3.S3(f"{s3_bucket}/{name}").client for name in ("one", "other"))
    assert again is first

    for name in ("AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        changed = s3.S3(s3_bucket).client
        assert changed is not first
    assert changed.meta.endpoint_url == "http://127.0.0.1:9"


def test_a_second_pull_fetches_nothing(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(client, "run/a", b"a" * 1000)
    put(client, "run/empty", b"")
    put_in_parts(client, "run/parts", bytes(6 * MEBIBYTE), 5 * MEBIBYTE)
    pull("s3://models/run", tmp_path)
    fetched: list[str] = []
    fetch = s3.S3.fetch
    monkeypatch.setattr(s3.S3, "fetch", lambda *these: fetched.append(these[1]) or fetch(*these))

    files = pull("s3://models/run", tmp_path)
    assert fetched == []
    (tmp_path / "a").write_bytes(b"b" * 1000)
    pull("s3://models/run", tmp_path)

    assert fetched == ["a"]
    assert (tmp_path / "a").read_bytes() == b"a" * 1000
    assert {name: file.size for name, file in files.items()} == {
        "a": 1000,
        "empty": 0,
        "parts": 6 * MEBIBYTE,
    }


def test_more_files_than_a_page_lists_are_found(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        put(client, f"many/{number}", b"")
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "2")

    assert storage.list_files("s3://models/many") == [*"01234"]


@pytest.mark.parametrize("size", [10 * MEBIBYTE, 11 * MEBIBYTE + 3])
def test_parts_are_checked_by_their_md5s(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    content = bytes(range(251)) * (size // 251) + bytes(size % 251)
    put_in_parts(client, "run/weights", content, 5 * MEBIBYTE)
    # moto tells the size of the whole object instead.
    monkeypatch.setattr(s3.S3, "_part_size", lambda self, name: 5 * MEBIBYTE)

    files = pull("s3://models/run", tmp_path)

    assert files["weights"].checksum.endswith("-2" if size == 10 * MEBIBYTE else "-3")
    assert (tmp_path / "weights").read_bytes() == content
    damaged = {
        name: replace(file, checksum="0" * 32 + file.checksum[32:]) for name, file in files.items()
    }
    with pytest.raises(StepError, match="s3://models/run/weights arrived damaged"):
        storage.pull("s3://models/run", tmp_path / "again", damaged)


def test_the_size_decides_where_a_store_does_not_tell_that_of_a_part(
    client: Any, tmp_path: Path
) -> None:
    content = bytes(11 * MEBIBYTE)
    put_in_parts(client, "run/weights", content, 5 * MEBIBYTE)

    pull("s3://models/run", tmp_path)

    assert (tmp_path / "weights").read_bytes() == content


def test_a_damaged_file_is_not_kept(client: Any, tmp_path: Path) -> None:
    put(client, "run/plain", b"plain")
    files = {file.name: replace(file, checksum="0" * 32) for file in storage.scan("s3://models")}

    with pytest.raises(StepError, match="s3://models/run/plain arrived damaged"):
        storage.pull("s3://models", tmp_path, files)
    assert storage.list_files(tmp_path) == []


def test_the_size_decides_where_the_etag_is_no_md5(client: Any, tmp_path: Path) -> None:
    put(client, "run/kms", b"secret", ServerSideEncryption="aws:kms")
    put(client, "run/other", b"other")
    checksums = {"run/kms": "0" * 32, "run/other": "of-its-own-kind"}
    files = {
        file.name: replace(file, checksum=checksums[file.name])
        for file in storage.scan("s3://models")
    }

    storage.pull("s3://models", tmp_path, files)
    assert (tmp_path / "run/kms").read_bytes() == b"secret"

    shorter = {name: replace(file, size=file.size + 1) for name, file in files.items()}
    with pytest.raises(StepError, match="arrived damaged"):
        storage.pull("s3://models", tmp_path, shorter)


def test_an_object_cannot_land_outside_the_folder(client: Any, tmp_path: Path) -> None:
    put(client, "run/../../x", b"x")

    with pytest.raises(StepError, match="would land outside"):
        pull("s3://models/run", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_odd_names_come_back(client: Any, tmp_path: Path) -> None:
    names = ["a b", "ü", "what?", "50%", "a+b&c"]
    for name in names:
        put(client, f"run/{name}", name.encode())
    put(client, "run/", b"")
    put(client, "run/folder/", b"")

    assert sorted(pull("s3://models/run", tmp_path)) == sorted(names)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {n: n for n in names}


def test_a_missing_bucket_is_named(s3_bucket: str, tmp_path: Path) -> None:
    uri = "s3://no-such-bucket/x"
    for ask in (
        lambda: storage.exists(uri),
        lambda: storage.list_files(uri),
        lambda: storage.read_bytes(uri),
        lambda: storage.write_bytes(uri, b""),
        lambda: storage.download(uri, tmp_path, ["y"]),
    ):
        with pytest.raises(StepError, match=r"s3://no-such-bucket/x(/y)? does not exist \(404"):
            ask()


def test_missing_credentials_are_told(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StepError, match="no S3 credentials to open s3://models/x: set AWS_ACC"):
        storage.read_bytes("s3://models/x")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(StepError, match="no S3 credentials to open s3://models/x: set AWS_ACC"):
        storage.read_bytes("s3://models/x")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StepError, match=r"can't be asked for s3://models/x: .*\(nobody\)"):
        storage.read_bytes("s3://models/x")


def test_a_profile_says_all_there_is_to_say(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(client, "x", b"x")
    (tmp_path / "config").write_text(
        "[profile cluster]\naws_access_key_id = a\naws_secret_access_key = b\n"
        f"endpoint_url = {os.environ['AWS_ENDPOINT_URL']}\n"
    )
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "cluster")

    assert storage.read_bytes("minio://models/x") == b"x"


def test_a_refused_connection_is_told_in_one_line(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

    with pytest.raises(StepError, match=r"cannot reach http://127.0.0.1:9 to open s3://b") as told:
        storage.list_files("s3://b")
    assert "\n" not in str(told.value)


def test_minio_without_an_endpoint_is_refused(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")

    with pytest.raises(InputError, match=r"minio://models/x .*port-forward.*AWS_ENDPOINT_URL="):
        storage.read_bytes("minio://models/x")


def test_an_endpoint_that_is_no_url_is_refused(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:9000")

    with pytest.raises(InputError, match="localhost:9000: write http://host:port"):
        storage.read_bytes("s3://models/x")


def test_without_boto3_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)

    with pytest.raises(InputError, match=r"s3://models/x: pip install 'genpipe\[s3\]' first"):
        storage.exists("s3://models/x")


@pytest.mark.parametrize(
    ("query", "endpoint"),
    [
        ("endpoint=store:9000", "https://store:9000"),
        ("endpoint=store:9000&disableSSL=true", "http://store:9000"),
        ("endpoint=store:9000&disable_https=true", "http://store:9000"),
        ("endpoint=http://store:9000&region=eu-west-1", "http://store:9000"),
    ],
)
def test_a_query_says_what_no_variable_does(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch, query: str, endpoint: str
) -> None:
    assert s3.S3(f"s3://models/x?{query}").host == os.environ["AWS_ENDPOINT_URL"]
    monkeypatch.delenv("AWS_ENDPOINT_URL")

    store = s3.S3(f"s3://models/x?{query}")

    assert store.host == endpoint
    regions = [store.client.meta.region_name, s3.S3("s3://b?region=eu-west-1").host]
    assert regions[0] == ("eu-west-1" if "region" in query else "us-east-1")
    assert regions[1] == "https://s3.eu-west-1.amazonaws.com"


@pytest.fixture
def refusing(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, str]]]:
    """A server that refuses everything with the status and code that are put in, and counts."""
    answers: list[tuple[int, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, code = answers[0]
            body = f"<Error><Code>{code}</Code><Message>No.</Message></Error>".encode()
            answers.append(answers[0])
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
        yield answers
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (403, "AccessDenied", r"access to s3://models/x is denied \(AccessDenied from http"),
        (403, "SignatureDoesNotMatch", "denied.*check the key, its secret"),
        (400, "ExpiredToken", "the credentials to open s3://models/x have expired"),
        (404, "NoSuchKey", "s3://models/x does not exist"),
        (503, "SlowDown", r"refused a request for s3://models/x: SlowDown \(No\.\)"),
    ],
)
def test_a_refusal_is_told_in_one_line(
    refusing: list[tuple[int, str]], status: int, code: str, told: str
) -> None:
    refusing.append((status, code))

    with pytest.raises(StepError, match=told) as error:
        storage.read_bytes("s3://models/x")
    assert "\n" not in str(error.value)
    # What may pass is asked again, and not for ever.
    assert len(refusing) - 1 == (s3.ATTEMPTS if status == 503 else 1)
