"""What the judge makes of a set of images beside the test split, each metric with its interval.

The one list of metrics for samples, and for the references that give them a scale. An interval is
a 95% one (``genpipe.metrics.bootstrap``): over the images; of recall and coverage over the test
images, whose shares they are, with the neighbourhoods left as they are; of the Fréchet distance
over both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from zipfile import BadZipFile

import numpy as np

from genpipe.data.dataset import Dataset
from genpipe.errors import InputError
from genpipe.metrics.bootstrap import REPLICATIONS, margin, mean_interval
from genpipe.metrics.copying import RealNeighbours
from genpipe.metrics.frechet import distance_with_interval, judge_features, judged
from genpipe.metrics.neighbours import Manifold
from genpipe.training.saved import SavedModel

# From this share of the images on a class counts as covered.
COVERED_SHARE = 0.1  # of an even share: 1% of the samples for each of ten classes
# The k-NN metrics compare all pairs: with 10,000 images a set takes four times as long.
MOST_NEIGHBOURS = 5000
# The file in a judge's folder, and its arrays (see ``RealImages``).
REAL_IMAGES = "real_images.npz"
ARRAYS = ("test", "validation", "manifold", "coverage", "training", "same")


@dataclass(frozen=True)
class Quality:
    """Metrics of one set of images.

    Attributes:
        metrics: by name.
        intervals: 95% intervals, of the metrics that have one.
        by_class: metrics of each class, in the order of the classes: ``class_shares``, the share of
            the images that show it, and ``class_coverage``, the coverage of its test images.
    """

    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    by_class: dict[str, list[float]] = field(default_factory=dict)


class RealImages:
    """The real images that samples are held against, as a judge sees them.

    They are the same for all cells of a run, so the judge's step keeps them in its folder.

    Attributes:
        test: (n, 128) float32, the features of the test images.
        validation: (n, 128) float32, of the validation images.
        manifold: the neighbourhoods of the first test images, by direction.
        neighbours: how near test images lie to training images.
    """

    def __init__(self, dataset: Dataset, arrays: Mapping[str, np.ndarray]) -> None:
        self._arrays = arrays
        self.test, self.validation = arrays["test"], arrays["validation"]
        balls = arrays["manifold"], arrays["coverage"]
        self.manifold = Manifold(directions(self.test[: len(balls[0])]), balls)
        self.neighbours = RealNeighbours(dataset, arrays["training"], float(arrays["same"]))

    @classmethod
    def of(cls, judge: SavedModel, dataset: Dataset, count: int) -> Self:
        """Read from the judge's folder, or measured where it has none for sets of ``count`` images.

        Raises:
            InputError: the judge's file is damaged.
        """
        looked_at = min(count, MOST_NEIGHBOURS, dataset.size("test"))
        path = judge.folder / REAL_IMAGES
        if judge.metadata.get("data", {}).get("digest") == dataset.digest and path.exists():
            try:
                with np.load(path, allow_pickle=False) as file:
                    arrays = {name: file[name] for name in ARRAYS}
            except (OSError, ValueError, KeyError, BadZipFile) as error:
                raise InputError(f"{path} is damaged ({error}): train the judge again") from None
            if len(arrays["manifold"]) == looked_at:
                return cls(dataset, arrays)
        test, validation = (
            judge_features(judge, dataset.images(split)) for split in ("test", "validation")
        )
        manifold, coverage = Manifold(directions(test[:looked_at])).balls
        near = RealNeighbours.measure(dataset, count)
        found = (test, validation, manifold, coverage, near.training, np.asarray(near.same))
        return cls(dataset, dict(zip(ARRAYS, found, strict=True)))

    def write(self, folder: Path) -> None:
        """Write them into the judge's folder."""
        np.savez(folder / REAL_IMAGES, allow_pickle=False, **self._arrays)


class SampleEvaluator:
    """The real images as sets of images are held against them.

    Args:
        judge: whose features and classes are used.
        dataset: the data set.
        count: how many images the sets have; as many test images have neighbourhoods, since
            precision, recall, density and coverage are of sets of equal size.

    Raises:
        InputError: what the judge's folder has of the real images is damaged.
    """

    def __init__(self, judge: SavedModel, dataset: Dataset, count: int) -> None:
        self._judge, self._dataset = judge, dataset
        self.real = RealImages.of(judge, dataset, count)

    def frechet_distance(self, images: np.ndarray) -> Quality:
        """The Fréchet distance alone, of (n, 28, 28, 1) uint8 images."""
        return frechet_distance(self.real.test, judge_features(self._judge, images))

    def measure(self, images: np.ndarray, *, deciding: bool = False) -> Quality:
        """All that the judge says of (n, 28, 28, 1) uint8 images.

        Args:
            images: the images.
            deciding: measure their distance to the validation images too.
        """
        manifold = self.real.manifold
        probabilities, features = judged(self._judge, images)
        fidelity = manifold.compare(directions(features[: len(manifold.points)]))
        of_items = {
            "precision": fidelity.precise,
            "recall": fidelity.recalled,
            "density": fidelity.density,
            "coverage": fidelity.covered,
        }
        labels = self._dataset.labels("test")[: len(fidelity.covered)]
        classes = probabilities.shape[1]
        covered = np.bincount(labels, weights=fidelity.covered, minlength=classes)
        coverage = covered / np.maximum(np.bincount(labels, minlength=classes), 1)
        parts = [
            judge_scores(probabilities),
            frechet_distance(self.real.test, features),
            means({name: values.astype(np.float64) for name, values in of_items.items()}),
            Quality({}, {}, {"class_coverage": coverage.tolist()}),
        ]
        if deciding:
            parts.append(frechet_distance(self.real.validation, features, "validation_"))
        return merged(*parts)

    def copying(self, images: np.ndarray) -> Quality:
        """Whether (n, 28, 28, 1) uint8 images are copies (``genpipe.metrics.copying``)."""
        return means(self.real.neighbours.compare(images))


def frechet_distance(real: np.ndarray, features: np.ndarray, prefix: str = "") -> Quality:
    """The Fréchet distance of two sets of features, (n, 128) and (m, 128) float32."""
    name = f"{prefix}frechet_distance"
    distance, interval = distance_with_interval(real, features)
    return Quality({name: distance}, {name: interval})


def judge_scores(probabilities: np.ndarray) -> Quality:
    """What the judge's class probabilities say of a set of samples.

    Args:
        probabilities: (n, classes), rows that sum to 1.

    Returns:
        ``mean_confidence``, the mean probability of each sample's likeliest class;
        ``classes_covered``, how many classes have at least a tenth of an even share of the samples;
        ``largest_class_share``, the share of the class that most samples show;
        ``class_entropy``, the entropy of the shares in nats, at most the logarithm of the number
        of classes; and the share of every class.
    """
    count, classes = probabilities.shape
    shares = np.bincount(probabilities.argmax(axis=1), minlength=classes) / count
    confidence = probabilities.max(axis=1)
    # As many classes drawn anew by their shares: what resampling the samples comes to.
    replications = np.random.default_rng(0).multinomial(count, shares, REPLICATIONS) / count
    largest, entropy = float(shares.max()), float(_entropy(shares))
    reach = {
        "largest_class_share": margin(replications.max(axis=1)),
        "class_entropy": margin(_entropy(replications)),
    }
    most = {"largest_class_share": 1.0, "class_entropy": float(np.log(len(shares)))}
    metrics = {
        "mean_confidence": float(confidence.mean()),
        "classes_covered": int((shares >= COVERED_SHARE / classes).sum()),
        "largest_class_share": largest,
        "class_entropy": entropy,
    }
    intervals = {
        name: (max(metrics[name] - reach[name], 0.0), min(metrics[name] + reach[name], most[name]))
        for name in reach
    }
    intervals["mean_confidence"] = mean_interval(confidence)
    return Quality(metrics, intervals, {"class_shares": shares.tolist()})


def means(of_items: dict[str, np.ndarray]) -> Quality:
    """Metrics that are means over items, (n,) float64 each, with their intervals."""
    metrics = {name: float(values.mean()) for name, values in of_items.items()}
    return Quality(metrics, {name: mean_interval(v) for name, v in of_items.items()})


def merged(*parts: Quality) -> Quality:
    """Metrics of one set of images, brought together."""
    metrics: dict[str, float] = {}
    intervals: dict[str, tuple[float, float]] = {}
    by_class: dict[str, list[float]] = {}
    for part in parts:
        metrics |= part.metrics
        intervals |= part.intervals
        by_class |= part.by_class
    return Quality(metrics, intervals, by_class)


def directions(features: np.ndarray) -> np.ndarray:
    """(n, d) features, each at unit length.

    What is no digit hardly excites the judge (a length of 7, where digits have 20), and so lies
    within the wide balls of a few odd digits: of noise 99.7% would be precise, by direction 2%.
    """
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    found: np.ndarray = features / np.maximum(lengths, np.finfo(np.float32).tiny)
    return found


def _entropy(shares: np.ndarray) -> np.ndarray:
    """In nats, over the last axis."""
    logarithms = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    entropy: np.ndarray = 0.0 - (shares * logarithms).sum(axis=-1)
    return entropy
