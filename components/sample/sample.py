"""Draw samples from one trained model and let the judge score them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from components.cells import Cell, Family
from components.errors import InputError
from components.frechet import Gaussian, judge_features
from components.ingest.dataset import RESCALINGS, open_dataset
from components.pictures import grid, write_png
from components.tracking import Picture, Tracker
from components.train.saved import JUDGE, SavedModel

SHOWN = 32
COVERED_SHARE = 0.01
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

    The autoencoder is also sampled from a Gaussian fitted to its training codes: its codes do
    not lie where N(0, I) does, which is why sampling it from there fails.

    Args:
        data: the data-set folder.
        judge: the judge's model folder.
        model: the model folder.
        folder: where ``samples.npy``, the grids and ``metrics.json`` are written.
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
        raise InputError(f"{judge} holds a model of family {classifier.family!r}, not a judge")
    folder.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {
        "family": saved.family,
        "latent_size": saved.cell.latent_size,
        "status": saved.status.value,
        "samples": samples if saved.complete else 0,
        "seed": seed,
        "metrics": {},
    }
    if saved.complete:
        dataset = open_dataset(data)
        test = Gaussian.fit(judge_features(classifier, dataset.images("test")))
        generator = np.random.default_rng(seed)
        codes = generator.standard_normal((samples, saved.cell.latent_size), np.float32)
        scores, shares = _draw(saved, classifier, test, codes, folder, "", tracker)
        if saved.cell.family is Family.AUTOENCODER:
            images = RESCALINGS["unit"].apply(np.asarray(dataset.images("train")))
            codes = fitted_gaussian(saved.run("encoder", images), samples, generator)
            fitted, _ = _draw(saved, classifier, test, codes, folder, "fitted_gaussian", tracker)
            scores |= {f"fitted_gaussian_{name}": value for name, value in fitted.items()}
        result["metrics"], result["digit_shares"] = scores, shares
    else:
        result["reason"] = saved.card.get("reason", "")
        tracker.say(f"{saved.cell.title} diverged ({result['reason']}): nothing to sample")
    text = json.dumps(result, indent=2, allow_nan=False)
    (folder / "metrics.json").write_text(text + "\n", encoding="utf-8")
    tracker.summarize(result["metrics"])
    return result


def fitted_gaussian(codes: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Draw from the Gaussian with the codes' mean and covariance.

    Args:
        codes: (n, latent_size) float.
        count: how many to draw.
        generator: of random numbers.

    Returns:
        (count, latent_size) float32.
    """
    covariance = np.atleast_2d(np.cov(codes, rowvar=False, dtype=np.float64))
    # By eigenvalues, since dead units leave the covariance singular.
    drawn = generator.multivariate_normal(codes.mean(axis=0), covariance, count, method="eigh")
    return drawn.astype(np.float32)


def judge_scores(probabilities: np.ndarray) -> tuple[dict[str, float], list[float]]:
    """What the judge's class probabilities say of a set of samples.

    Args:
        probabilities: (n, classes), rows that sum to 1.

    Returns:
        ``mean_confidence``, the mean probability of each sample's likeliest class;
        ``digits_covered``, how many classes at least 1% of the samples show;
        ``largest_digit_share``, the share of the class that most samples show; and the share of
        every class.
    """
    likeliest = probabilities.argmax(axis=1)
    shares = np.bincount(likeliest, minlength=probabilities.shape[1]) / len(probabilities)
    scores = {
        "mean_confidence": float(probabilities.max(axis=1).mean()),
        "digits_covered": int((shares >= COVERED_SHARE).sum()),
        "largest_digit_share": float(shares.max()),
    }
    return scores, [float(share) for share in shares]


def _draw(
    saved: SavedModel,
    classifier: SavedModel,
    test: Gaussian,
    codes: np.ndarray,
    folder: Path,
    kind: str,
    tracker: Tracker,
) -> tuple[dict[str, float], list[float]]:
    """Decode codes, write the images and a grid of them, and score them."""
    is_dcgan = saved.cell.family is Family.DCGAN
    rescaling = RESCALINGS["symmetric" if is_dcgan else "unit"]
    images = rescaling.inverse(saved.run("generator" if is_dcgan else "decoder", codes))
    suffix = f"_{kind}" if kind else ""
    np.save(folder / f"samples{suffix}.npy", images, allow_pickle=False)
    picture = grid(images[:SHOWN], 8, zoom=2)
    write_png(folder / f"grid{suffix}.png", picture)
    drawn_from = kind.replace("_", " ") or "N(0, I)"
    tracker.log({f"samples{suffix}": Picture(picture, drawn_from)})
    probabilities = classifier.run("classifier", RESCALINGS["unit"].apply(images))
    key, seen = f"pictures/samples{suffix}", probabilities[:SHOWN]
    _log_table(key, saved.cell, drawn_from, images[:SHOWN], seen, tracker)
    scores, shares = judge_scores(probabilities)
    scores["frechet_distance"] = test.distance(Gaussian.fit(judge_features(classifier, images)))
    return scores, shares


def _log_table(
    key: str,
    cell: Cell,
    drawn_from: str,
    images: np.ndarray,
    probabilities: np.ndarray,
    tracker: Tracker,
) -> None:
    """Log samples as a table that W&B groups by what the judge sees in them."""
    rows = [
        [
            *(cell.family.value, cell.latent_size, drawn_from, int(seen.argmax())),
            *(float(seen.max()), Picture(image[..., 0])),
        ]
        for image, seen in zip(images, probabilities, strict=True)
    ]
    columns = ["family", "latent_size", "drawn_from", "digit", "confidence", "sample"]
    tracker.table(key, columns, rows)
