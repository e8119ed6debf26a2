from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from genpipe import storage
from genpipe.errors import InputError, StepError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "folder"
    (root / "below").mkdir(parents=True)
    (root / "a.txt").write_bytes(b"a")
    (root / "below" / "b.bin").write_bytes(bytes(range(256)))
    return root


@pytest.fixture(params=["local", "bucket", "s3_bucket"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    place = tmp_path if request.param == "local" else request.getfixturevalue(request.param)
    return f"{place}/base"


def test_a_folder_comes_back_as_it_went(root: str, folder: Path, tmp_path: Path) -> None:
    uri = storage.join(root, "copy")

    storage.upload_folder(folder, uri)
    storage.download(uri, tmp_path / "back")

    assert storage.list_files(uri) == ["a.txt", "below/b.bin"]
    assert (tmp_path / "back" / "a.txt").read_bytes() == b"a"
    assert (tmp_path / "back" / "below" / "b.bin").read_bytes() == bytes(range(256))


def test_download_takes_only_the_names_asked_for(root: str, folder: Path, tmp_path: Path) -> None:
    storage.upload_folder(folder, root)

    paths = storage.download(root, tmp_path / "back", ["below/b.bin"])

    assert paths == [tmp_path / "back" / "below" / "b.bin"]
    assert storage.list_files(tmp_path / "back") == ["below/b.bin"]


def test_exists_tells_files_and_folders_from_names_that_start_alike(root: str) -> None:
    storage.write_bytes(storage.join(root, "model-2", "weights"), b"w")

    assert storage.exists(storage.join(root, "model-2"))
    assert storage.exists(storage.join(root, "model-2", "weights"))
    assert not storage.exists(storage.join(root, "model"))
    assert storage.list_files(storage.join(root, "model")) == []


def test_bytes_come_back_and_are_replaced(root: str) -> None:
    uri = storage.join(root, "pointer.json")

    storage.write_bytes(uri, b"old")
    storage.write_bytes(uri, b"new")

    assert storage.read_bytes(uri) == b"new"
    assert storage.list_files(root) == ["pointer.json"]


def test_upload_replaces_only_when_told_to(root: str, folder: Path) -> None:
    storage.upload_folder(folder, root)
    (folder / "a.txt").write_bytes(b"newer")

    with pytest.raises(InputError, match="already holds something"):
        storage.upload_folder(folder, root)
    assert storage.read_bytes(storage.join(root, "a.txt")) == b"a"

    storage.upload_folder(folder, root, replace=True)
    assert storage.read_bytes(storage.join(root, "a.txt")) == b"newer"


def test_an_empty_folder_is_not_uploaded(root: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing or empty"):
        storage.upload_folder(tmp_path / "nothing", root)


def test_remove_takes_a_file_or_a_folder_and_nothing_beside_it(root: str, folder: Path) -> None:
    for name in ("model", "model-2"):
        storage.upload_folder(folder, storage.join(root, name))

    storage.remove(storage.join(root, "model", "a.txt"))
    assert storage.list_files(storage.join(root, "model")) == ["below/b.bin"]

    for _ in range(2):  # what is not there any more is no error
        storage.remove(storage.join(root, "model"))
    assert storage.list_files(root) == ["model-2/a.txt", "model-2/below/b.bin"]


@pytest.mark.parametrize("uri", ["gs://models", "gs://models/", "s3://models?region=x"])
def test_remove_refuses_a_whole_bucket(uri: str) -> None:
    with pytest.raises(InputError, match="is a whole bucket"):
        storage.remove(uri)


def test_a_missing_file_is_named(root: str, tmp_path: Path) -> None:
    uri = storage.join(root, "missing")

    with pytest.raises(StepError, match="missing"):
        storage.read_bytes(uri)
    with pytest.raises(StepError, match="missing"):
        storage.download(root, tmp_path / "back", ["missing"])
    with pytest.raises(StepError, match="no files"):
        storage.download(uri, tmp_path / "back")
    assert storage.list_files(tmp_path / "back") == []


def test_a_query_stays_at_the_end_of_an_address() -> None:
    assert storage.join("s3://b/a/?region=x", "c", "d/") == "s3://b/a/c/d?region=x"
    assert storage.join("gs://b/a/") == "gs://b/a"


def test_a_missing_bucket_is_named(bucket: str, tmp_path: Path, folder: Path) -> None:
    uri = "gs://no-such-bucket/x"
    for ask in (
        lambda: storage.exists(uri),
        lambda: storage.list_files(uri),
        lambda: storage.write_bytes(uri, b""),
        lambda: storage.remove(uri),
        lambda: storage.upload_folder(folder, uri, replace=True),
    ):
        with pytest.raises(StepError, match="gs://no-such-bucket/x does not exist"):
            ask()


def test_an_address_without_a_bucket_is_refused() -> None:
    for uri in ("gs://", "s3://?region=x", "minio:///key"):
        with pytest.raises(InputError, match=f"names no bucket: write {uri.partition(':')[0]}://b"):
            storage.list_files(uri)
        with pytest.raises(InputError, match="names no bucket"):
            storage.join(uri, "below")


def test_an_object_cannot_land_outside_the_folder(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(StepError, match="outside"):
        storage.download(bucket, tmp_path / "back", ["../x"])


def test_a_refused_connection_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    monkeypatch.setattr("genpipe.storage.gcs.SECONDS_OF_RETRIES", 0.5)

    with pytest.raises(StepError, match=r"cannot reach http://127.0.0.1:9 to open gs://b") as told:
        storage.list_files("gs://b")
    assert "\n" not in str(told.value)


def test_missing_credentials_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")

    with pytest.raises(StepError, match=r"no Google Cloud credentials to open gs://b/x"):
        storage.read_bytes("gs://b/x")


def test_a_folder_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "model"

    def write_half() -> None:
        with storage.whole_folder(folder) as temporary:
            (temporary / "half").write_bytes(b"")
            assert not folder.exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert list(tmp_path.iterdir()) == []

    with storage.whole_folder(folder) as temporary:
        (temporary / "all").write_bytes(b"")
    assert storage.list_files(folder) == ["all"]
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("replace", [False, True])
def test_of_many_writers_of_a_folder_each_ends_whole_or_is_told(
    replace: bool, tmp_path: Path
) -> None:
    folder, writers = tmp_path / "model", 16
    start, written = threading.Barrier(writers), threading.Barrier(writers)

    def write(writer: int) -> str:
        start.wait()
        try:
            with storage.whole_folder(folder, replace=replace) as temporary:
                for name in ("one", "two", "three"):
                    (temporary / name).write_text(str(writer))
                written.wait()
        except InputError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(writers) as pool:
        told = list(pool.map(write, range(writers)))

    assert told.count("") == (writers if replace else 1)
    assert all("already holds something" in line for line in told if line)
    assert list(tmp_path.iterdir()) == [folder]
    assert len({path.read_text() for path in folder.iterdir()}) == 1
    assert storage.list_files(folder) == ["one", "three", "two"]


def test_scan_tells_sizes_and_pull_keeps_what_is_whole(
    root: str, folder: Path, tmp_path: Path
) -> None:
    storage.upload_folder(folder, root)
    files = {file.name: file for file in storage.scan(root)}
    told: list[str] = []

    for _ in range(2):
        storage.pull(root, tmp_path / "back", files, lambda file: told.append(file.name))
        copied = (tmp_path / "back" / "below" / "b.bin").stat().st_ino
        told.append(str(copied))

    assert {name: file.size for name, file in files.items()} == {"a.txt": 1, "below/b.bin": 256}
    assert sorted(told) == sorted([*files, str(copied)] * 2)
    assert storage.list_files(tmp_path / "back") == ["a.txt", "below/b.bin"]


def test_a_damaged_file_is_not_kept(bucket: str, folder: Path, tmp_path: Path) -> None:
    storage.upload_folder(folder, bucket)
    files = {file.name: replace(file, checksum="AAAAAA==") for file in storage.scan(bucket)}

    with pytest.raises(StepError, match=r"gs://models/\S+ arrived damaged"):
        storage.pull(bucket, tmp_path / "back", files)
    assert storage.list_files(tmp_path / "back") == []


def test_a_file_in_the_way_of_a_folder_is_told(root: str, folder: Path, tmp_path: Path) -> None:
    storage.upload_folder(folder, root)
    (tmp_path / "back").mkdir()
    (tmp_path / "back" / "below").write_bytes(b"a file")

    with pytest.raises(StepError, match=r"cannot copy .*below/b.bin to .*: check the path"):
        storage.download(root, tmp_path / "back")


@pytest.fixture(params=["local", "bucket"])
def pointer(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    place = tmp_path if request.param == "local" else request.getfixturevalue(request.param)
    return f"{place}/shelf/pointer.json"


def test_of_two_writers_that_saw_the_same_one_writes(pointer: str) -> None:
    nothing = storage.snapshot(pointer)
    assert nothing.content is None
    assert storage.write_if_unchanged(pointer, b"first", nothing)
    assert not storage.write_if_unchanged(pointer, b"too late", nothing)

    seen = storage.snapshot(pointer)
    assert seen.content == b"first"
    assert storage.write_if_unchanged(pointer, b"second", seen)
    assert not storage.write_if_unchanged(pointer, b"too late", seen)
    assert storage.read_bytes(pointer) == b"second"


def test_a_writer_whose_answer_was_lost_learns_that_it_wrote(bucket: str) -> None:
    uri = f"{bucket}/pointer.json"
    nothing = storage.snapshot(uri)
    storage.write_bytes(uri, b"mine")  # as the request did whose answer never came

    assert storage.write_if_unchanged(uri, b"mine", nothing)


def test_a_bucket_of_s3_is_not_written_under_a_condition(s3_bucket: str) -> None:
    uri = f"{s3_bucket}/pointer.json"
    assert storage.snapshot(uri).content is None
    storage.write_bytes(uri, b"before")

    assert storage.snapshot(uri).content == b"before"
    with pytest.raises(InputError, match=r"cannot be stored on S3, at s3://models/pointer.json"):
        storage.write_if_unchanged(uri, b"after", storage.snapshot(uri))
    assert storage.read_bytes(uri) == b"before"


def test_a_folder_that_can_not_be_locked_is_told(tmp_path: Path) -> None:
    (tmp_path / "shelf").write_bytes(b"a file")

    with pytest.raises(StepError, match=r"cannot lock .*: check the path"):
        storage.write_if_unchanged(tmp_path / "shelf" / "pointer", b"", storage.Snapshot(None))


@pytest.mark.parametrize("store", ["bucket", "s3_bucket"])
def test_a_name_that_would_be_another_in_an_address_keeps_what_it_is(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    uri = f"{request.getfixturevalue(store)}/run"
    names = sorted(["a b", "a%2Fb", "a?b=c", "a#b", "a+b", "\u00e9", "<b>", "$(x)", "'", "..x"])
    for name in names:
        storage.write_bytes(tmp_path / "made" / name, name.encode())

    storage.upload_folder(tmp_path / "made", uri)
    storage.download(uri, tmp_path / "back")

    assert storage.list_files(uri) == names
    for name in names:
        assert (tmp_path / "back" / name).read_bytes() == name.encode()
