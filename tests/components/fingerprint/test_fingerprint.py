"""What a place holds: for the cache to know whether it changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from components.fingerprint import step
from genpipe import storage
from genpipe.data.readers.fingerprint import fingerprint
from tests.components.output import Output


@pytest.fixture(params=["folder", "bucket", "s3_bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "images")
    return f"{request.getfixturevalue(request.param)}/images"


def test_it_stays_while_the_files_do_and_changes_with_any_of_them(place: str) -> None:
    for name, content in (("cat/1.png", b"one"), ("dog/2.png", b"two")):
        storage.write_bytes(storage.join(place, name), content)
    first = fingerprint(place)

    assert fingerprint(place) == first
    assert first[1] == 2
    storage.write_bytes(storage.join(place, "dog/2.png"), b"too")
    changed = fingerprint(place)
    storage.write_bytes(storage.join(place, "dog/3.png"), b"three")
    added = fingerprint(place)
    storage.remove(storage.join(place, "cat/1.png"))
    removed = fingerprint(place)
    assert len({first, changed, added, removed}) == 4


def test_a_file_of_this_machine_that_was_written_anew_counts(tmp_path: Path) -> None:
    file = tmp_path / "1.png"
    file.write_bytes(b"one")
    os.utime(file, ns=(10**18, 10**18))
    before = fingerprint(str(tmp_path))

    file.write_bytes(b"two")

    assert fingerprint(str(tmp_path)) != before


def test_a_single_file_counts_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "own.npz").write_bytes(b"one")
    before = fingerprint(f"{tmp_path}/own.npz")
    (tmp_path / "own.npz").write_bytes(b"two")

    assert before[1] == 1
    assert fingerprint(f"{tmp_path}/own.npz") != before


def test_after_so_many_days_it_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.png").write_bytes(b"one")

    def on_day(day: float, days: int) -> str:
        monkeypatch.setattr(step.time, "time", lambda: day * step.SECONDS_A_DAY)
        return step.run(Output(tmp_path / f"run-{day}-{days}"), str(tmp_path / "images"), days)

    assert on_day(30.1, 30) == on_day(59.9, 30)
    assert on_day(59.9, 30) != on_day(60.1, 30)
    assert on_day(30.1, 0) == on_day(900.5, 0)
