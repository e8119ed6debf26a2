"""Which of two models is better, on the data of the run."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from genpipe import storage
from genpipe.data.dataset import Dataset, open_dataset
from genpipe.documents import read_document
from genpipe.errors import InputError, StepError
from genpipe.families.spec import FamilySpec
from genpipe.metrics.frechet import judge_features
from genpipe.metrics.losses import deciding_losses
from genpipe.registry.comparison import Comparison, compare_losses, compare_samples
from genpipe.training.saved import SavedModel

LOSS = np.dtype(np.float32)
SPLITS = ("validation", "test")
# By which rules images and splits were made: by others, images that a champion was trained on may
# be in the splits that it would be measured on.
RULES = ("image_rule", "split_rule", "own_splits")


class NotMeasurableError(InputError):
    """A champion that can't be measured on the data of the run."""


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
            NotMeasurableError: the champion can't be measured on this data set.
            StepError: a file of theirs can't be read.
        """
        if measured_on is not None:
            self._check_measurable(measured_on)
        splits = SPLITS[:1] if measured_on is None else SPLITS
        if family.compared_by == "frechet_distance":
            found, *test = self._compare_samples(champion, challenger, splits)
        else:
            found, *test = self._compare_losses(family.compared_by, champion, challenger, splits)
        for anew in test:
            found = replace(found, champion_test=anew.champion, challenger_test=anew.challenger)
        share = family.promotion_margin if self.margin is None else self.margin
        return replace(found, margin=share * abs(found.champion), data=self.dataset.digest)

    def _check_measurable(self, measured_on: Mapping[str, Any]) -> None:
        """Raise unless the champion's data had such images and classes, by the same rules."""
        info = self.dataset.info
        if "image_shape" not in measured_on or "class_names" not in measured_on:
            raise NotMeasurableError("the champion is of an older version, which says too little")
        if measured_on["image_shape"] != info["image_shape"]:
            sizes = (" x ".join(map(str, one["image_shape"])) for one in (measured_on, info))
            raise NotMeasurableError("the champion's images have {}, these {}".format(*sizes))
        if measured_on["class_names"] != info["class_names"]:
            raise NotMeasurableError("the champion's data have other classes")
        if any(measured_on.get(rule) != info.get(rule) for rule in RULES):
            raise NotMeasurableError("the champion's images were made or divided by another rule")

    def _compare_samples(
        self, champion: Mapping[str, str], challenger: Mapping[str, Path], splits: Sequence[str]
    ) -> list[Comparison]:
        judge, image = SavedModel(self.judge), np.dtype((np.uint8, self.dataset.image_shape))
        samples = [
            judge_features(judge, _read_array(side["samples"], "samples.npy", image))
            for side in (champion, challenger)
        ]
        return [
            compare_samples(judge_features(judge, self.dataset.images(split)), *samples)
            for split in splits
        ]

    def _compare_losses(
        self,
        metric: str,
        champion: Mapping[str, str],
        challenger: Mapping[str, Path],
        splits: Sequence[str],
    ) -> list[Comparison]:
        new = [_read_array(challenger["evaluation"], f"{one}_losses.npy", LOSS) for one in splits]
        if splits == SPLITS:
            metadata = read_document(challenger["evaluation"] / "metrics.json")
            old = self._measure(champion["model"], int(metadata.get("seed", 0)))
        else:
            old = [_read_array(champion["evaluation"], f"{SPLITS[0]}_losses.npy", LOSS)]
        if len(old[0]) != len(new[0]):
            raise StepError(
                f"cannot compare: the champion's evaluation at {champion['evaluation']} covers "
                f"{len(old[0])} validation images, the new model's covers {len(new[0])}"
            )
        return [compare_losses(metric, *pair) for pair in zip(old, new, strict=True)]

    def _measure(self, address: str, seed: int) -> list[np.ndarray]:
        """What the images of each split cost a published model with an encoder."""
        with tempfile.TemporaryDirectory() as folder:
            storage.download(address, Path(folder))
            try:
                saved = SavedModel(Path(folder))
                return [
                    deciding_losses(saved, np.asarray(self.dataset.images(split)), seed)[1]
                    for split in SPLITS
                ]
            except InputError as error:  # it is damaged
                told = str(error).replace(folder, address)
                raise StepError(f"the champion can't be measured: {told}") from None


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
