"""Which of two models is better, on the data of the run."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from genpipe import storage
from genpipe.data.dataset import Dataset, open_dataset
from genpipe.errors import InputError, StepError
from genpipe.families.spec import FamilySpec
from genpipe.metrics.frechet import judge_features
from genpipe.metrics.losses import deciding_losses
from genpipe.registry.comparison import Comparison, compare_losses, compare_samples
from genpipe.training.saved import SavedModel

LOSS = np.dtype(np.float32)
SPLITS = ("validation", "test")


@dataclass(frozen=True)
class Referee:
    """Says which of two models is better.

    Args:
        data: the data-set folder.
        judge: the judge's model folder. It sees the samples of both, since the features of two
            judges can't be compared.
        margin: by what share of the champion's metric the challenger has to be better, beyond
            the interval; the family's own if None.
    """

    data: Path
    judge: Path
    margin: float | None = None

    @cached_property
    def dataset(self) -> Dataset:
        """The data set, opened."""
        return open_dataset(self.data)

    def compare(
        self,
        family: FamilySpec,
        champion: Mapping[str, str],
        challenger: Mapping[str, Path],
        measured_on: Mapping[str, Any] | None = None,
    ) -> Comparison:
        """Compare two models of a family on the validation split.

        Args:
            family: the family.
            champion: addresses of its ``model``, ``evaluation`` and ``samples``.
            challenger: folders of its own, which were measured on this data set.
            measured_on: the description of the other data set that the champion was measured on:
                it is measured anew, by its networks or its samples. None if it is this one.

        Raises:
            InputError: the champion can't be measured on this data set.
            StepError: a file of theirs can't be read.
        """
        if measured_on is not None:
            self._check_measurable(measured_on)
        compare = (
            self._compare_samples
            if family.compared_by == "frechet_distance"
            else self._compare_losses
        )
        found = compare(family, champion, challenger, anew=measured_on is not None)
        share = family.promotion_margin if self.margin is None else self.margin
        return replace(found, margin=share * abs(found.champion), data=self.dataset.digest)

    def _check_measurable(self, measured_on: Mapping[str, Any]) -> None:
        """Raise an ``InputError`` if the champion's data had other images or classes."""
        shape = tuple(measured_on.get("image_shape") or self.dataset.image_shape)
        if shape != self.dataset.image_shape:
            sizes = (" x ".join(map(str, one)) for one in (shape, self.dataset.image_shape))
            raise InputError("the champion's images have {}, these {}".format(*sizes))
        names = tuple(measured_on.get("class_names") or self.dataset.class_names)
        if names != self.dataset.class_names:
            raise InputError("the champion's data have other classes")

    def _compare_samples(
        self,
        family: FamilySpec,
        champion: Mapping[str, str],
        challenger: Mapping[str, Path],
        *,
        anew: bool,
    ) -> Comparison:
        judge, image = SavedModel(self.judge), np.dtype((np.uint8, self.dataset.image_shape))
        samples = [
            judge_features(judge, _read_array(side["samples"], "samples.npy", image))
            for side in (champion, challenger)
        ]
        found, *test = (
            compare_samples(judge_features(judge, self.dataset.images(split)), *samples)
            for split in (SPLITS if anew else SPLITS[:1])
        )
        return _with_test(found, *test)

    def _compare_losses(
        self,
        family: FamilySpec,
        champion: Mapping[str, str],
        challenger: Mapping[str, Path],
        *,
        anew: bool,
    ) -> Comparison:
        splits = SPLITS if anew else SPLITS[:1]
        new = [_read_array(challenger["evaluation"], f"{s}_losses.npy", LOSS) for s in splits]
        if anew:
            old = self._measure(champion["model"])
        else:
            old = [_read_array(champion["evaluation"], f"{SPLITS[0]}_losses.npy", LOSS)]
        if len(old[0]) != len(new[0]):
            raise StepError(
                f"cannot compare: the champion's evaluation at {champion['evaluation']} covers "
                f"{len(old[0])} validation images, the new model's covers {len(new[0])}"
            )
        return _with_test(
            *(compare_losses(family.compared_by, *pair) for pair in zip(old, new, strict=True))
        )

    def _measure(self, address: str) -> list[np.ndarray]:
        """What the images of each split cost a published model with an encoder."""
        with tempfile.TemporaryDirectory() as folder:
            storage.download(address, Path(folder))
            saved = SavedModel(Path(folder))
            if saved.image_shape != self.dataset.image_shape:
                raise InputError("the champion reads images of another shape")
            return [
                deciding_losses(saved, np.asarray(self.dataset.images(split)), seed=0)[1]
                for split in SPLITS
            ]


def _with_test(found: Comparison, test: Comparison | None = None) -> Comparison:
    if test is None:
        return found
    return replace(found, champion_test=test.champion, challenger_test=test.challenger)


def _read_array(place: Path | str, name: str, kind: np.dtype) -> np.ndarray:
    """An array of finite numbers, each row of a kind, from a folder here or in a bucket."""
    address = storage.join(place, name)
    content = storage.read_bytes(address)
    try:
        array: np.ndarray = np.load(io.BytesIO(content), allow_pickle=False)
    except Exception as error:  # NumPy raises anything of a damaged header
        raise StepError(f"{address} holds no array ({error})") from None
    expected = (kind.base, kind.shape)
    if (array.dtype, array.shape[1:]) != expected or not np.isfinite(array).all():
        raise StepError(f"{address} holds no finite numbers of type and shape {kind}")
    return array
