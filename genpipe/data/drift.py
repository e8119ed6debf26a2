"""What changed from one data set to the next: images that came and went, and how all shifted."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from genpipe.data.dataset import Dataset
from genpipe.data.splits import SPLITS, digests
from genpipe.data.statistics import BLOCK
from genpipe.words import counted

# Of a population stability index: below 0.1 nothing changed, above 0.2 something did (Siddiqi 2006,
# "Credit risk scorecards", chapter 9), if it is not chance.
THRESHOLD = 0.2
BINS = 10
SHIFTS = ("class_shift", "brightness_shift", "class_limit", "brightness_limit")


@dataclass(frozen=True)
class Contents:
    """What is kept of a data set to compare others with: three numbers for each image.

    Attributes:
        digests: (n,) uint64, of the images' pixels.
        classes: (n,) str, the name of each image's class.
        brightness: (n,) float32, the mean of its pixels in [0, 1].
    """

    digests: np.ndarray
    classes: np.ndarray
    brightness: np.ndarray

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Describe all images of a data set."""
        names = np.array(dataset.class_names)
        parts = []
        for split in SPLITS:
            images, labels = dataset.images(split), np.asarray(dataset.labels(split))
            for first in range(0, len(images), BLOCK):
                block = images[first : first + BLOCK]
                mean = block.mean(axis=(1, 2, 3), dtype=np.float32) / np.float32(255)
                parts.append((digests(block), names[labels[first : first + BLOCK]], mean))
        return cls(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def to_bytes(self) -> bytes:
        """As an ``.npz`` file."""
        file = io.BytesIO()
        np.savez_compressed(
            file, digests=self.digests, classes=self.classes, brightness=self.brightness
        )
        return file.getvalue()

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Read what ``to_bytes`` wrote.

        Raises:
            ValueError: it is something else.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                found = cls(file["digests"], file["classes"], file["brightness"])
        except Exception as error:  # NumPy raises anything of a damaged file
            raise ValueError(f"it does not describe a data set: {error}") from None
        if not len(found.digests) == len(found.classes) == len(found.brightness) > 0:
            raise ValueError("it does not describe a data set: its parts don't fit together")
        return found


@dataclass(frozen=True)
class Drift:
    """What changed between two data sets.

    Attributes:
        added: how many images the second has that the first lacks, by the class that it has them
            in; classes without any are left out.
        removed: how many the first has that the second lacks, by the first's class.
        relabelled: how many images both have, in different classes.
        class_shift: population stability index of the shares of the classes.
        brightness_shift: that of the images' brightness, in tenths of the first's.
        class_limit: the index above which the classes shifted by more than chance does.
        brightness_limit: that of the brightness.
    """

    added: dict[str, int]
    removed: dict[str, int]
    relabelled: int
    class_shift: float
    brightness_shift: float
    class_limit: float
    brightness_limit: float

    @classmethod
    def between(cls, before: Contents, after: Contents) -> Self:
        """Compare the contents of two data sets."""
        names = np.union1d(before.classes, after.classes)
        shares = [np.searchsorted(np.sort(one.classes), names, "right") for one in (before, after)]
        counts = [np.diff(ends, prepend=0) for ends in shares]
        edges = np.quantile(before.brightness, np.linspace(0, 1, BINS + 1)[1:-1])
        bins = [
            np.bincount(np.digitize(one.brightness, edges), minlength=BINS)
            for one in (before, after)
        ]
        _, first, second = np.intersect1d(before.digests, after.digests, return_indices=True)
        sizes = len(before.digests), len(after.digests)
        return cls(
            _count(after, ~np.isin(after.digests, before.digests)),
            _count(before, ~np.isin(before.digests, after.digests)),
            int((before.classes[first] != after.classes[second]).sum()),
            stability_index(*counts),
            stability_index(*bins),
            limit(len(names), *sizes),
            limit(BINS, *sizes),
        )

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Read what ``dataclasses.asdict`` made.

        Raises:
            ValueError: it is something else.
        """
        try:
            return cls(
                dict(values["added"]),
                dict(values["removed"]),
                int(values["relabelled"]),
                *(float(values[name]) for name in SHIFTS),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"its drift is malformed ({error})") from None

    @property
    def warns(self) -> bool:
        """Whether the images shifted by more than chance does."""
        return self.class_shift > self.class_limit or self.brightness_shift > self.brightness_limit

    def __str__(self) -> str:
        told = [
            f"{counted(sum(counts.values()), 'image')} {what}{_by_class(counts)}"
            for what, counts in (("added", self.added), ("removed", self.removed))
        ]
        if self.relabelled:
            told.append(f"{self.relabelled:,} in another class")
        for name, shift, most in (
            ("class shares", self.class_shift, self.class_limit),
            ("brightness", self.brightness_shift, self.brightness_limit),
        ):
            told.append(f"{name} shifted by {shift:.2g}" + f" (above {most:.2g})" * (shift > most))
        return ", ".join(told)


def stability_index(before: np.ndarray, after: np.ndarray) -> float:
    """The population stability index of counts, (k,) each: ``sum((q - p) ln(q / p))``.

    Half an image is added to each count, so that one of none has a logarithm.
    """
    first, second = ((counts + 0.5) / (counts + 0.5).sum() for counts in (before, after))
    return float(((second - first) * np.log(second / first)).sum())


def limit(bins: int, first: int, second: int) -> float:
    """The index that two draws of such sizes from one distribution hardly exceed.

    By chance it is a chi-square of ``bins - 1`` degrees of freedom, times ``1/first + 1/second``.
    """
    scale, degrees = 1 / first + 1 / second, bins - 1
    return max(THRESHOLD, scale * (degrees + 3 * (2 * degrees) ** 0.5))


def _count(contents: Contents, chosen: np.ndarray) -> dict[str, int]:
    names, counts = np.unique(contents.classes[chosen], return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def _by_class(counts: Mapping[str, int], most: int = 10) -> str:
    if not counts or len(counts) > most:
        return ""
    return f" ({', '.join(f'{name} {count:,}' for name, count in counts.items())})"
