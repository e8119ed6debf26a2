"""The scale that the metrics of samples are read on: what other sets of images score.

- ``training_images``: real images, as many as samples. What a perfect generator would score by the
  judge, and what one would score that copies.
- ``validation_images``: real images that nothing was trained on. They are fewer, and a Fréchet
  distance grows as their number falls.
- ``pixel_gaussian``: draws from the Gaussian with the training images' mean and covariance, that
  is from all principal components of the pixels: what a linear model achieves.
- ``noise``: every pixel drawn evenly from 0 to 255.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from genpipe.data.dataset import RESCALINGS, Dataset
from genpipe.documents import parse_document
from genpipe.errors import InputError
from genpipe.metrics.frechet import Gaussian
from genpipe.metrics.reconstruction import FEW_IMAGES, are_few
from genpipe.metrics.samples import RealImages, SampleEvaluator, merged
from genpipe.training.saved import SavedModel

FILE = "references.json"
MOST = 10_000


def write_references(judge: SavedModel, dataset: Dataset, *, count: int, seed: int) -> None:
    """Score the references as samples are scored, and write ``references.json``.

    What the references and all samples are held against comes to the judge's folder first
    (``RealImages``).

    Args:
        judge: the judge.
        dataset: the data set.
        count: how many samples the cells will draw; of the references at most 10,000 are.
        seed: of what is drawn.
    """
    RealImages.of(judge, dataset, count).write(judge.folder)
    count = min(count, MOST)
    generator = np.random.default_rng(seed)
    train, validation = dataset.images("train"), dataset.images("validation")
    chosen = np.sort(generator.permutation(len(train))[:count])
    sets = {
        "training_images": np.asarray(train[chosen]),
        "validation_images": np.asarray(validation[:count]),
        "pixel_gaussian": _pixel_gaussian(np.asarray(train[:MOST]), count, generator),
        "noise": generator.integers(0, 256, (count, *dataset.image_shape), np.uint8),
    }
    references = {}
    for name, images in sets.items():
        evaluator = SampleEvaluator(judge, dataset, len(images))
        found = merged(evaluator.measure(images), evaluator.copying(images))
        references[name] = {
            "images": len(images),
            "metrics": found.metrics,
            "intervals": found.intervals,
        }
    contents = {"data": dataset.digest, "references": references}
    text = json.dumps(contents, indent=2, allow_nan=False)
    (judge.folder / FILE).write_text(text + "\n", encoding="utf-8")


def read_references(folder: Path) -> dict[str, Any]:
    """The references in a judge's folder, by name; none if it is of an older version.

    Raises:
        InputError: the file is malformed.
    """
    path = folder / FILE
    if not path.exists():
        return {}
    try:
        return dict(parse_document(path.read_bytes(), "references")["references"])
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} holds no references ({error}): train the judge again") from None


def _pixel_gaussian(images: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    unit = RESCALINGS["unit"]
    if are_few(images):
        few = unit.apply(images[:FEW_IMAGES]).reshape(len(images[:FEW_IMAGES]), -1)
        mean = few.mean(axis=0)
        weights = generator.standard_normal((count, len(few)), np.float32) / len(few) ** 0.5
        return unit.inverse(mean + weights @ (few - mean)).reshape(count, *images.shape[1:])
    fitted = Gaussian.fit(unit.apply(images).reshape(len(images), -1))
    noise = generator.standard_normal((count, len(fitted.mean)), np.float32)
    drawn = fitted.mean + noise @ fitted.root.astype(np.float32)
    return unit.inverse(drawn).reshape(count, *images.shape[1:])
