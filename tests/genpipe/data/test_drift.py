"""What changed from one data set to the next."""

from __future__ import annotations

import numpy as np
import pytest

from genpipe.data.drift import Contents, Drift, stability_index


def contents(count: int, classes: str = "ab", light: float = 0.5, first: int = 0) -> Contents:
    brightness = np.random.default_rng(first).normal(light, 0.1, count).astype(np.float32)
    names = np.array(list(classes))[np.arange(count) % len(classes)]
    return Contents(np.arange(first, first + count).astype(np.uint64), names, brightness)


def joined(one: Contents, other: Contents) -> Contents:
    parts = zip(vars(one).values(), vars(other).values(), strict=True)
    return Contents(*(np.concatenate(part) for part in parts))


def test_images_that_came_and_went_are_counted_by_class() -> None:
    before = contents(1000)
    after = joined(contents(900), contents(30, "c", first=5000))

    drift = Drift.between(before, after)

    assert drift.added == {"c": 30}
    assert drift.removed == {"a": 50, "b": 50}
    assert "30 images added (c 30), 100 images removed (a 50, b 50)" in str(drift)


def test_more_of_the_same_is_no_shift() -> None:
    drift = Drift.between(contents(5000), joined(contents(5000), contents(2000, first=10_000)))

    assert sum(drift.added.values()) == 2000
    assert max(drift.class_shift, drift.brightness_shift) < 0.02
    assert not drift.warns


@pytest.mark.parametrize(
    ("after", "which"),
    [
        (contents(2000, "aaaaaaab", first=9000), "class_shift"),
        (contents(2000, light=0.6, first=9000), "brightness_shift"),
        (contents(2000, "cd", first=9000), "class_shift"),
    ],
)
def test_a_shift_warns(after: Contents, which: str) -> None:
    drift = Drift.between(contents(2000), after)

    assert getattr(drift, which) > 0.2
    assert drift.warns
    assert "(above 0.2)" in str(drift)


def test_chance_does_not_warn_where_classes_are_many_and_images_few() -> None:
    """Ten images a class: two draws of one distribution are 0.19 apart."""
    classes = "".join(chr(0x4E00 + number) for number in range(200))
    random = np.random.default_rng(0)
    before, after = (
        Contents(
            np.arange(first, first + 2000).astype(np.uint64),
            random.choice(list(classes), 2000),
            random.normal(0.5, 0.1, 2000).astype(np.float32),
        )
        for first in (0, 5000)
    )

    drift = Drift.between(before, after)

    assert drift.class_shift == pytest.approx(0.2, abs=0.04)
    assert not drift.warns


def test_images_in_another_class_are_counted() -> None:
    before = contents(1000)
    classes = np.where(before.digests < 40, "b", before.classes)
    after = Contents(before.digests, classes, before.brightness)

    drift = Drift.between(before, after)

    assert (drift.added, drift.removed, drift.relabelled) == ({}, {}, 20)
    assert "20 in another class" in str(drift)


def test_the_index_is_that_of_the_literature() -> None:
    first, second = np.array([500, 500]), np.array([400, 600])
    expected = (0.4 - 0.5) * np.log(0.4 / 0.5) + (0.6 - 0.5) * np.log(0.6 / 0.5)

    assert stability_index(first, second) == pytest.approx(expected, rel=0.01)
    assert stability_index(first, first) == 0


def test_contents_are_read_as_they_were_written() -> None:
    written = contents(100)

    read = Contents.parse(written.to_bytes())

    for one, other in zip(vars(written).values(), vars(read).values(), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="does not describe a data set"):
        Contents.parse(b"something else")
