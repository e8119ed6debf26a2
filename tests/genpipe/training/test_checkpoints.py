from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from genpipe import storage
from genpipe.errors import StepError
from genpipe.tracking import Picture
from genpipe.training import checkpoints as module
from genpipe.training.checkpoints import Checkpoint, Checkpoints

IDENTITY = {"family": "vae", "beta": 0.1, "data digest": "sha256:1", "genpipe version": "1.0"}
RANDOM = np.random.default_rng(0)
CHECKPOINT = Checkpoint(
    step=1200,
    rows=[
        {"epoch": 1, "loss": 1 / 3},
        {"epoch": 2, "loss": 2e-308, "shown": Picture(np.eye(3, dtype=np.uint8), "ep\u00f6che 2")},
    ],
    facts={"tally": {"steps": 3, "sums": {"loss": 0.1}}, "train_seconds": 1.5},
    variables=[
        RANDOM.standard_normal((3, 4), np.float32),
        np.array([1, 2**32 - 1], np.uint32),
        np.array(7, np.int64),
        np.zeros((0, 2), np.float32),
    ],
)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(params=["local", "bucket"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    root = tmp_path if request.param == "local" else request.getfixturevalue("bucket")
    return storage.join(root, "checkpoints", "train-vae-10-0123")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def kept(folder: str | Path, said: list[str] | None = None, seconds: float = 0.0) -> Checkpoints:
    return Checkpoints(str(folder), (said if said is not None else []).append, seconds)


def write(checkpoints: Checkpoints, *steps: int, **identity: Any) -> None:
    """Write checkpoints of these steps one after the other, whatever they cost."""
    with mock.patch.object(module, "LARGEST_SHARE", math.inf):
        for step in steps:
            checkpoints.offer({**IDENTITY, **identity}, partial(replace, CHECKPOINT, step=step))


def steps_in(folder: str) -> list[int]:
    return [int(name[:12]) for name in storage.list_files(folder)]


def assert_same(one: Checkpoint, other: Checkpoint) -> None:
    assert (one.step, one.facts) == (other.step, other.facts)
    assert [list(row) for row in one.rows] == [list(row) for row in other.rows]
    for row, twin in zip(one.rows, other.rows, strict=True):
        for value, again in zip(row.values(), twin.values(), strict=True):
            if isinstance(value, Picture):
                assert isinstance(again, Picture)
                assert value.caption == again.caption
                value, again = value.pixels, again.pixels
            np.testing.assert_array_equal(value, again)
            assert type(value) is type(again)
    for array, twin in zip(one.variables, other.variables, strict=True):
        assert array.dtype == twin.dtype
        np.testing.assert_array_equal(array, twin)


def test_a_checkpoint_comes_back_to_the_bit(folder: str) -> None:
    write(kept(folder), 1200)

    found = kept(folder).newest(IDENTITY)

    assert found is not None
    assert_same(found, CHECKPOINT)


def test_without_a_checkpoint_there_is_none(folder: str) -> None:
    assert kept(folder).newest(IDENTITY) is None


def test_the_last_two_are_kept_and_in_the_end_none(folder: str) -> None:
    checkpoints = kept(folder)

    write(checkpoints, 8, 16, 1000)
    assert steps_in(folder) == [16, 1000]
    again = kept(folder)
    assert again.newest(IDENTITY).step == 1000
    write(again, 1008)
    assert steps_in(folder) == [1000, 1008]
    again.remove()
    assert not storage.exists(folder)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: b"",
        lambda content: content[:500] + bytes([content[500] ^ 1]) + content[501:],
        lambda content: content + b"\0",
    ],
)
def test_a_torn_or_changed_checkpoint_is_skipped_for_the_one_before(
    folder: str, damage: Any
) -> None:
    said: list[str] = []
    write(kept(folder), 8, 16)
    name = storage.list_files(folder)[-1]
    uri = storage.join(folder, name)
    storage.write_bytes(uri, damage(storage.read_bytes(uri)))
    checkpoints = kept(folder, said)

    assert checkpoints.newest(IDENTITY).step == 8
    assert said == [f"checkpoint {name} is not used: it is damaged"]
    write(checkpoints, 12)
    assert steps_in(folder) == [8, 12]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("beta", 0.2, "its beta is 0.2, this training's 0.1"),
        ("data digest", "sha256:2", "its data digest is sha256:2, this training's sha256:1"),
        ("genpipe version", "0.9", "its genpipe version is 0.9, this training's 1.0"),
        ("rate", 3, "its rate is 3, this training's None"),
    ],
)
def test_a_checkpoint_of_another_training_is_not_used_and_the_log_says_why(
    folder: str, name: str, value: Any, told: str
) -> None:
    said: list[str] = []
    write(kept(folder), 8)
    write(kept(folder), 16, **{name: value})

    assert kept(folder, said).newest(IDENTITY).step == 8
    assert len(said) == 1
    assert said[0].endswith(f" is not used: {told}")


def test_half_a_file_under_a_temporary_name_is_no_checkpoint(tmp_path: Path) -> None:
    write(kept(tmp_path), 8)
    name = next(tmp_path.iterdir()).name
    (tmp_path / f".{name.replace('8-', '9-')}.0123abcd.partial").write_bytes(b"half")

    assert kept(tmp_path).newest(IDENTITY).step == 8


def test_checkpoints_are_written_by_time(tmp_path: Path, clock: Clock) -> None:
    checkpoints, taken = kept(tmp_path, seconds=60), []

    for _ in range(10):
        clock.now += 25
        checkpoints.offer(IDENTITY, lambda: taken.append(clock.now) or CHECKPOINT)

    assert taken == [175, 250, 325]


def test_slow_storage_makes_them_rarer_so_that_they_cost_less_than_a_fiftieth(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints, written = kept(tmp_path, seconds=60), storage.write_bytes

    def write_slowly(uri: str, content: bytes) -> None:
        clock.now += 10
        written(uri, content)

    monkeypatch.setattr(storage, "write_bytes", write_slowly)
    began, count = clock.now, 0
    while clock.now < began + 100_000:
        clock.now += 1
        before = clock.now
        checkpoints.offer(IDENTITY, lambda: CHECKPOINT)
        count += clock.now > before

    assert count > 100
    assert count * 10 / (clock.now - began) < 0.021  # the first knows nothing of its cost


def test_training_goes_on_when_a_checkpoint_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    (tmp_path / "file").write_bytes(b"")

    kept(tmp_path / "file" / "below", said).offer(IDENTITY, lambda: CHECKPOINT)

    assert len(said) == 1
    assert said[0].startswith("no checkpoint was written: cannot write ")


def test_a_missing_bucket_ends_the_step_before_it_trains(bucket: str) -> None:
    with pytest.raises(StepError, match="gs://no-such-bucket/x does not exist"):
        kept("gs://no-such-bucket/x").newest(IDENTITY)
