"""Cloud Storage through a bad network: a real server behind a proxy that injects faults."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from genpipe import storage
from genpipe.errors import StepError
from tests.faulty_proxy import Fault, FaultyProxy

MIB = 2**20
PARTS = r"alt=media"
UPLOADS = r"^/upload/"
# More than the library sends at once: such a file goes in parts.
LARGE = random.Random(0).randbytes(9 * MIB + 12_345)
SMALL = random.Random(1).randbytes(5_000)
CONTENTS = {"large.bin": LARGE, "small.bin": SMALL, "empty.bin": b""}
PASS = Fault("pass")

REFUSED = [Fault("status", status) for status in (429, 500, 502, 503, 504)]
CUT_OFF = [Fault("lose"), Fault("reset", 1_000), Fault("truncate", 1_000)]
STALLED = Fault("stall", 1_000, seconds=1.5)


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genpipe.storage.gcs.SECONDS_OF_RETRIES", 30.0)
    monkeypatch.setattr("genpipe.storage.gcs.SECONDS_TO_WAIT", (0.02, 0.1))
    monkeypatch.setattr("genpipe.storage.gcs.BYTES_A_PART", MIB)


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stalled requests are given up before the stall is over."""
    monkeypatch.setattr("genpipe.storage.gcs.SECONDS_A_REQUEST", 1.0)


@pytest.fixture
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time for retries is soon over, on a clock that only waiting moves: none is missed."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=sleep)
    monkeypatch.setattr("google.api_core.retry.retry_base.time", clock)
    monkeypatch.setattr("google.api_core.retry.retry_unary.time", clock)
    monkeypatch.setattr("genpipe.storage.gcs.SECONDS_OF_RETRIES", 0.3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in storage.list_files(folder)}


@pytest.mark.usefixtures("_impatient")
def test_a_download_survives(proxy: FaultyProxy, folder: Path, tmp_path: Path) -> None:
    storage.upload_folder(folder, "gs://models/x")
    faults = [*REFUSED, *CUT_OFF, STALLED]
    proxy.script("GET", f"large.*{PARTS}", PASS, PASS, *faults)
    proxy.script("GET", f"small.*{PARTS}", *faults)
    proxy.script("GET", "prefix=", *REFUSED, *CUT_OFF)

    storage.download("gs://models/x", tmp_path / "back")

    assert contents(tmp_path / "back") == CONTENTS
    assert proxy.all_met()
    # It goes on where it was: of ten parts, the one that met the faults is asked for again.
    assert proxy.count("GET", f"large.*{PARTS}") == 10 + len(faults)


def test_an_upload_survives(proxy: FaultyProxy, folder: Path) -> None:
    faults = [*REFUSED, Fault("drop", 100_000)]
    proxy.script("POST", f"{UPLOADS}.*multipart", *faults, Fault("lose"))
    proxy.script("POST", f"{UPLOADS}.*resumable", *faults, Fault("lose"))
    proxy.script("PUT", UPLOADS, PASS, PASS, *faults)

    storage.upload_folder(folder, "gs://models/x")

    assert storage.read_files("gs://models/x", list(CONTENTS)) == CONTENTS
    assert proxy.all_met()
    assert proxy.count("PUT", UPLOADS) == 10 + len(faults)


def test_a_part_that_arrived_twice_spoils_no_upload(proxy: FaultyProxy) -> None:
    """Cloud Storage takes it for what it is; this server appends it, and the checksum tells."""
    proxy.script("PUT", UPLOADS, PASS, Fault("lose"))

    storage.write_bytes("gs://models/large.bin", LARGE)

    assert storage.read_bytes("gs://models/large.bin") == LARGE


def test_an_upload_that_the_server_forgot_starts_anew(proxy: FaultyProxy) -> None:
    proxy.script("PUT", UPLOADS, PASS, Fault("status", 410))

    storage.write_bytes("gs://models/large.bin", LARGE)

    assert storage.read_bytes("gs://models/large.bin") == LARGE
    assert proxy.count("POST", f"{UPLOADS}.*resumable") == 2


@pytest.mark.usefixtures("_impatient")
def test_a_file_that_is_replaced_while_it_is_read_is_read_anew(proxy: FaultyProxy) -> None:
    storage.write_bytes("gs://models/large.bin", bytes(len(LARGE)))
    proxy.script("GET", PARTS, PASS, Fault("stall", 1_000, seconds=1.5))
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(storage.read_bytes, "gs://models/large.bin")
        while not proxy.count("GET", PARTS):
            time.sleep(0.02)
        storage.write_bytes("gs://models/large.bin", LARGE)

    assert reading.result() in (LARGE, bytes(len(LARGE)))
    assert proxy.all_met()


@pytest.mark.parametrize("name", ["large.bin", "small.bin"])
def test_flipped_bits_are_seen_both_ways(name: str, proxy: FaultyProxy, tmp_path: Path) -> None:
    uri = f"gs://models/{name}"
    proxy.script("PUT", UPLOADS, PASS, Fault("flip_request", 500))
    proxy.script("POST", f"{UPLOADS}.*multipart", Fault("flip_request", -500))
    proxy.script("GET", PARTS, Fault("flip", 500))

    storage.write_bytes(uri, CONTENTS[name])

    assert storage.read_bytes(uri) == CONTENTS[name]
    assert proxy.count("GET", f"{name}.*{PARTS}") >= 2


@pytest.mark.usefixtures("_no_patience")
def test_a_download_that_stays_damaged_leaves_nothing(
    proxy: FaultyProxy, folder: Path, tmp_path: Path
) -> None:
    storage.write_bytes("gs://models/x/small.bin", SMALL)
    proxy.script("GET", PARTS, *[Fault("flip", 9)] * 1_000)

    with pytest.raises(StepError, match=r"gs://models/x/small.bin arrives damaged \(CRC32C \S+ in"):
        storage.download("gs://models/x", tmp_path / "back")

    assert list((tmp_path / "back").iterdir()) == []


@pytest.mark.usefixtures("_no_patience")
@pytest.mark.parametrize("status", [429, 503])
def test_what_does_not_pass_is_told_in_one_line_when_the_time_is_over(
    status: int, proxy: FaultyProxy
) -> None:
    for method in ("GET", "POST"):
        proxy.script(method, "small", *[Fault("status", status)] * 1_000)
        proxy.script(method, UPLOADS, *[Fault("status", status)] * 1_000)

    for ask in (
        lambda: storage.read_bytes("gs://models/small"),
        lambda: storage.write_bytes("gs://models/small", SMALL),
    ):
        with pytest.raises(
            StepError, match=rf"answers {status} to each request for gs://m"
        ) as told:
            ask()
        assert "\n" not in str(told.value)
    assert proxy.count("GET", "small") > 2


@pytest.mark.usefixtures("_impatient")
def test_a_file_has_its_name_only_when_it_is_whole(proxy: FaultyProxy, tmp_path: Path) -> None:
    storage.write_bytes("gs://models/x/large.bin", LARGE)
    (tmp_path / "large.bin").write_bytes(b"old")
    proxy.script("GET", PARTS, PASS, PASS, Fault("stall", 1_000, seconds=1.5))
    download = threading.Thread(
        target=storage.download, args=("gs://models/x", tmp_path), daemon=True
    )

    download.start()
    seen = set()
    while download.is_alive():
        seen.add((tmp_path / "large.bin").read_bytes())
        download.join(0.05)

    assert b"old" in seen
    assert seen <= {b"old", LARGE}
    assert contents(tmp_path) == {"large.bin": LARGE}


@pytest.mark.usefixtures("_no_patience")
def test_an_upload_that_is_cut_off_leaves_the_old_object(proxy: FaultyProxy) -> None:
    storage.write_bytes("gs://models/large.bin", b"old")
    proxy.script("PUT", UPLOADS, PASS, *[Fault("drop", 1_000)] * 1_000)

    with pytest.raises(StepError, match=r"cannot reach \S+ to open gs://models/large.bin"):
        storage.write_bytes("gs://models/large.bin", LARGE)

    assert storage.read_bytes("gs://models/large.bin") == b"old"


def test_checksums_are_computed_by_compiled_code() -> None:
    import google_crc32c

    assert google_crc32c.implementation == "c"
