"""Draw samples from one trained model and let the judge score them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from genpipe.cells import Cell
from genpipe.data.dataset import Dataset, open_dataset
from genpipe.errors import InputError
from genpipe.metrics.frechet import judged
from genpipe.metrics.samples import SampleEvaluator, merged
from genpipe.reporting.images import grid, plain, write_png
from genpipe.sampling import FittedGaussian, FittedMixture, StandardNormal, write_sampler
from genpipe.tracking import Picture, Tracker
from genpipe.training.saved import JUDGE, SavedModel

SHOWN = 32
MAX_SAMPLES = 1_000_000


def sample(
    data: Path,
    judge: Path,
    model: Path,
    folder: Path,
    *,
    samples: int,
    seed: int,
    tracker: Tracker,
) -> dict[str, Any]:
    """Sample a model from N(0, I), score the samples, and write the samples folder.

    A model with an encoder is also sampled from a Gaussian and from a mixture of Gaussians fitted
    to its training codes: where these lie, N(0, I) hardly ever draws for an autoencoder, and not
    quite as often as it should for a VAE. What no sampler can pass is measured with them: the
    reconstructions of the test images.

    Args:
        data: the data-set folder.
        judge: the judge's model folder.
        model: the model folder.
        folder: where ``samples.npy``, ``samples_<sampler>.npy``, the grids and ``metrics.json`` are
            written.
        samples: how many to draw, from 32 to 1,000,000.
        seed: of the draw.
        tracker: what scores and pictures are logged to.

    Returns:
        The contents of ``metrics.json``. A diverged model has no samples and no metrics.

    Raises:
        InputError: a folder is not whole, or ``samples`` is out of range.
    """
    if not SHOWN <= samples <= MAX_SAMPLES:
        raise InputError(f"samples must lie between {SHOWN} and {MAX_SAMPLES:,}, got {samples}")
    saved, classifier = SavedModel(model), SavedModel(judge)
    if classifier.family != JUDGE:
        raise InputError(
            f"{judge} contains a {classifier.family!r} model, but a judge (the classifier) "
            "is needed: give the model folder of the judge step"
        )
    folder.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {
        **saved.cell.identity,
        "status": saved.status.value,
        "samples": samples if saved.complete else 0,
        "seed": seed,
        "metrics": {},
    }
    if saved.complete:
        dataset = open_dataset(data)
        evaluator = SampleEvaluator(classifier, dataset, samples)
        metrics: dict[str, float] = {}
        intervals: dict[str, list[float]] = {}
        generator = np.random.default_rng(seed)
        for kind, sampler in _samplers(saved, dataset, seed):
            images = saved.decode(sampler.draw(samples, generator))
            _keep(images, folder, kind, saved.cell, classifier, tracker)
            if not isinstance(sampler, StandardNormal):
                write_sampler(folder, kind, sampler)
            found = evaluator.measure(images, deciding=not kind)
            if not kind:
                found = merged(found, evaluator.copying(images))
                result |= found.by_class
            prefix = f"{kind}_" if kind else ""
            metrics |= {f"{prefix}{name}": value for name, value in found.metrics.items()}
            intervals |= {f"{prefix}{name}": list(both) for name, both in found.intervals.items()}
        if saved.cell.family.encoder:
            found = evaluator.frechet_distance(saved.decode(saved.encode(dataset.images("test"))))
            metrics["reconstruction_frechet_distance"] = found.metrics["frechet_distance"]
            intervals["reconstruction_frechet_distance"] = [*found.intervals["frechet_distance"]]
        result["metrics"], result["intervals"] = metrics, intervals
    else:
        result["reason"] = saved.metadata.get("reason", "")
        tracker.say(f"{saved.cell.title} diverged ({result['reason']}): nothing to sample")
    text = json.dumps(result, indent=2, allow_nan=False)
    (folder / "metrics.json").write_text(text + "\n", encoding="utf-8")
    tracker.summarize(result["metrics"])
    return result


def _samplers(
    saved: SavedModel, dataset: Dataset, seed: int
) -> Iterator[tuple[str, StandardNormal | FittedGaussian | FittedMixture]]:
    """The samplers of a model by the name their files and metrics carry; N(0, I) has none."""
    yield "", StandardNormal(saved.cell.latent_size)
    if saved.cell.family.encoder:
        # Of a variational family the means, which reconstructions are decoded from. Codes drawn
        # around them bring a mixture no nearer: at latent size 10 the VAE's samples lie at a
        # Fréchet distance of 28.6, from the means' 25.3.
        codes = saved.encode(dataset.images("train"))
        yield "fitted_gaussian", FittedGaussian.fit(codes)
        # A generator of its own, so that the others' draws stay the same whatever the fit draws.
        yield "mixture", FittedMixture.fit(codes, np.random.default_rng(seed))


def _keep(
    images: np.ndarray,
    folder: Path,
    kind: str,
    cell: Cell,
    classifier: SavedModel,
    tracker: Tracker,
) -> None:
    """Write the images and a grid of the first, and show it.

    W&B also gets the first as a table, which groups them by what the judge sees in them.
    """
    suffix = f"_{kind}" if kind else ""
    np.save(folder / f"samples{suffix}.npy", images, allow_pickle=False)
    picture = grid(images[:SHOWN], 8, zoom=2)
    write_png(folder / f"grid{suffix}.png", picture)
    # What a terminal shows of them; all samples are more than a reader of many cells should fetch.
    np.save(folder / f"grid{suffix}.npy", images[:SHOWN], allow_pickle=False)
    drawn_from = kind.replace("_", " ") or "N(0, I)"
    tracker.log({f"samples{suffix}": Picture(picture, drawn_from)})
    probabilities, _ = judged(classifier, images[:SHOWN])
    rows = [
        [
            *(cell.family.name, cell.latent_size, drawn_from, int(seen.argmax())),
            *(float(seen.max()), Picture(plain(image))),
        ]
        for image, seen in zip(images, probabilities, strict=False)
    ]
    columns = ["family", "latent_size", "drawn_from", "class", "confidence", "sample"]
    tracker.table(f"pictures/samples{suffix}", columns, rows)
