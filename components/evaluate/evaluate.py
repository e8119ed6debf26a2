"""Evaluate one trained model: on the test split, and on the validation split what decides."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np

from genpipe.cells import Cell
from genpipe.data.dataset import RESCALINGS, Dataset, open_dataset
from genpipe.errors import InputError
from genpipe.metrics import latent, likelihood, reconstruction
from genpipe.metrics.bootstrap import mean_interval
from genpipe.metrics.losses import deciding_losses, decode, reconstruct, sampled_losses
from genpipe.reporting.images import grid, plain, write_png
from genpipe.reporting.scatter import draw_scatter
from genpipe.tracking import Picture, Tracker
from genpipe.training.saved import SavedModel

SHOWN = 10
FRESH_SAMPLES = 2000
BOUNDED_IMAGES = 2500
PICTURES_OF_A_CLASS = 2
CODES_DRAWN = 1500
KNOWN_CODES = 10_000
UNIT = RESCALINGS["unit"]


def evaluate(data: Path, model: Path, folder: Path, seed: int, tracker: Tracker) -> dict[str, Any]:
    """Score one model and write the evaluation folder.

    Args:
        data: the data-set folder.
        model: the model folder.
        folder: where ``metrics.json``, the pictures and the latent codes are written; of a model
            with an encoder also ``validation_losses.npy`` and ``test_losses.npy``, what each image
            costs: (n,) float32, the squared error or the negative ELBO. By those of the validation
            split two models of the family compare.
        seed: of sampled codes and of fresh noise.
        tracker: what scores and pictures are logged to.

    Returns:
        The contents of ``metrics.json``: the cell, its status and ``metrics``, flat numbers, of the
        test split but for those that decide, which are called ``validation_…``; of a model with an
        encoder also ``intervals``, 95%, low and high, of some of them, over the test
        images. A diverged model has no metrics; its evaluation says so.

    Raises:
        InputError: a folder is not whole, or the model was trained on other data.
    """
    dataset, saved = open_dataset(data), SavedModel(model)
    trained_on = saved.metadata.get("data", {})
    if trained_on.get("digest") != dataset.digest:
        raise InputError(
            f"{saved.folder} was trained on data {trained_on.get('digest')}, "
            f"but {dataset.folder} holds {dataset.digest}: evaluate it on its own data set"
        )
    folder.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {
        **saved.cell.identity,
        "status": saved.status.value,
        "split": "test",
        "images": dataset.size("test"),
        "seed": seed,
        "data": trained_on,
        "training": saved.metadata.get("training", {}),
        "metrics": {},
    }
    if not saved.complete:
        result["reason"] = saved.metadata.get("reason", "")
        tracker.say(f"{saved.cell.title} diverged ({result['reason']}): nothing to evaluate")
    else:
        family = saved.cell.family
        if family.encoder:
            result |= _evaluate_codes(saved, dataset, folder, seed, tracker)
        if family.discriminator:
            result["metrics"] |= _evaluate_discriminator(saved, dataset, seed)
    text = json.dumps(result, indent=2, allow_nan=False)
    (folder / "metrics.json").write_text(text + "\n", encoding="utf-8")
    tracker.summarize(result["metrics"])
    return result


def _evaluate_codes(
    saved: SavedModel, dataset: Dataset, folder: Path, seed: int, tracker: Tracker
) -> dict[str, Any]:
    """A model with an encoder: losses, reconstructions, latent geometry and scatter plot.

    Returns:
        ``metrics``, ``intervals`` (95%) of those that have one, and ``latent``: at latent size 2
        the share of the plane that each class holds, and of a variational family with idle units a
        note on them.
    """
    pixels, labels = np.asarray(dataset.images("test")), np.asarray(dataset.labels("test"))
    images = UNIT.apply(pixels)
    family = saved.cell.family
    codes, log_var, rebuilt = reconstruct(saved, pixels)
    decides, validation_losses = deciding_losses(
        saved, np.asarray(dataset.images("validation")), seed
    )
    known = saved.encode(dataset.images("train")[:KNOWN_CODES])
    known_labels = np.asarray(dataset.labels("train")[:KNOWN_CODES])
    components = reconstruction.pixel_components(dataset.images("train"))
    linear = reconstruction.pca_squared_errors(components, pixels, saved.cell.latent_size)
    plane = latent.plane_of(codes)
    losses = reconstruction.squared_errors(images, rebuilt)
    worst = np.argsort(-losses, kind="stable")[:SHOWN]
    metrics: dict[str, float] = {
        "mean_squared_error": float(losses.mean()),
        "binary_cross_entropy": reconstruction.binary_cross_entropy(images, rebuilt),
        "pca_mean_squared_error": float(linear.mean()),
        **latent.geometry(codes),
        "neighbour_accuracy": latent.neighbour_accuracy(known, known_labels, codes, labels),
        **{f"validation_{name}": mean for name, mean in decides.items()},
    }
    told: dict[str, Any] = {}
    if saved.cell.latent_size == 2:
        names = [str(name) for name in dataset.class_names]
        shares, gaps = latent.area_shares(codes, labels, len(names))
        told["area_share"] = dict(zip(names, shares.tolist(), strict=True))
        metrics |= {
            "smallest_class_area_share": float(shares.min()),
            "largest_class_area_share": float(shares.max()),
            "gap_share": gaps,
        }
    intervals = {
        "mean_squared_error": list(mean_interval(losses)),
        "pca_mean_squared_error": list(mean_interval(linear)),
    }
    if log_var is not None:
        variational, losses = _variational_losses(saved, images, codes, log_var, seed)
        metrics |= variational
        elbo = mean_interval(-losses)
        intervals["elbo"] = list(elbo)
        constant = reconstruction.log_normalizer(images)
        intervals["total_loss"] = [-end - constant for end in reversed(elbo)]
        if note := latent.collapse_note(codes):
            told["note"] = note
            tracker.say(f"{saved.cell.title}: {note}")
    else:
        metrics["dead_units"] = latent.dead_units(codes)
        trained = saved.metadata.get("training", {})
        metrics |= {name: trained[name] for name in ("revived_units",) if name in trained}

    for split, costs in (("validation", validation_losses), ("test", losses)):
        np.save(folder / f"{split}_losses.npy", costs.astype(np.float32), allow_pickle=False)
    np.save(folder / "latent_codes.npy", codes, allow_pickle=False)
    np.save(folder / "latent_labels.npy", labels, allow_pickle=False)
    pair = grid(np.concatenate([pixels[:SHOWN], UNIT.inverse(rebuilt[:SHOWN])]), SHOWN, zoom=2)
    write_png(folder / "reconstructions.png", pair)
    failed = grid(np.concatenate([pixels[worst], UNIT.inverse(rebuilt[worst])]), SHOWN, zoom=2)
    write_png(folder / "worst_reconstructions.png", failed)
    scatter = draw_scatter(
        folder / "latent_scatter.png",
        plane,
        labels,
        list(dataset.class_names),
        title=f"{saved.cell.title}: codes of {len(codes):,} test images",
        prior=family.follows_prior,
    )
    tracker.log(
        {
            "reconstructions": Picture(pair, "originals above, reconstructions below"),
            "worst_reconstructions": Picture(failed, "the test images that are rebuilt worst"),
            "latent_scatter": Picture(scatter, plane.axes[0]),
        }
    )
    _log_tables(saved.cell, dataset, plane, rebuilt, tracker)
    return {"metrics": metrics, "intervals": intervals, "latent": told}


def _log_tables(
    cell: Cell, dataset: Dataset, plane: latent.Plane, rebuilt: np.ndarray, tracker: Tracker
) -> None:
    """Log what W&B groups and draws anew: some pictures with what they show, and codes."""
    pixels, labels = dataset.images("test"), np.asarray(dataset.labels("test"))
    names = [str(name) for name in dataset.class_names]
    rows: list[list[Any]] = []
    for label, name in enumerate(names):
        for index in np.flatnonzero(labels == label)[:PICTURES_OF_A_CLASS]:
            image = np.asarray(pixels[index])
            error = float(np.square(UNIT.apply(image) - rebuilt[index]).mean())
            pictures = (Picture(plain(one)) for one in (image, UNIT.inverse(rebuilt[index])))
            rows.append([cell.family.name, cell.latent_size, name, *pictures, error])
    columns = ["family", "latent_size", "class", "original", "reconstruction"]
    tracker.table("pictures/reconstructions", [*columns, "mean_squared_error"], rows)
    points = zip(plane.points[:CODES_DRAWN].tolist(), labels[:CODES_DRAWN], strict=True)
    codes = [[float(f"{x:.4g}"), float(f"{y:.4g}"), names[label]] for (x, y), label in points]
    title = f"{cell.title}: codes of test images"
    tracker.scatter("latent/codes", title, ["x", "y", "class"], codes)


def _variational_losses(
    saved: SavedModel, images: np.ndarray, z_mean: np.ndarray, z_log_var: np.ndarray, seed: int
) -> tuple[dict[str, float], np.ndarray]:
    """The loss and its parts with sampled codes, the ELBO, and the units in use.

    And the negative ELBO of each image, (n,) float64.
    """
    losses, divergences = sampled_losses(saved, images, z_mean, z_log_var, seed)
    totals = losses + divergences
    beta = saved.metadata.get("settings", {}).get("beta", 1.0)
    constant = reconstruction.log_normalizer(images)
    # How much tighter the bound is differs little between images, so some of them tell it.
    some = slice(None, None, -(-len(images) // BOUNDED_IMAGES))
    bounds = likelihood.importance_weighted_bounds(
        functools.partial(decode, saved), images[some], z_mean[some], z_log_var[some], seed=seed
    )
    tighter = float((bounds + totals[some] + constant).mean())
    variational = {
        "reconstruction_loss": float(losses.mean()),
        "kl_divergence": float(divergences.mean()),
        "total_loss": float(totals.mean()),
        "training_objective": float((losses + beta * divergences).mean()),
        "elbo": -float(totals.mean()) - constant,
        "importance_weighted_bound": tighter - float(totals.mean()) - constant,
        "active_units": latent.active_units(z_mean),
    }
    return variational, totals + constant


def _evaluate_discriminator(saved: SavedModel, dataset: Dataset, seed: int) -> dict[str, float]:
    """A model with a discriminator: what it says of test images and of fresh samples."""
    family = saved.cell.family
    real = saved.rescaling.apply(dataset.images("test"))
    noise = np.random.default_rng(seed).standard_normal(
        (FRESH_SAMPLES, saved.cell.latent_size), np.float32
    )
    generated = saved.run(family.decoder, noise)
    on_real = saved.run(family.discriminator, real)[:, 0]
    on_generated = saved.run(family.discriminator, generated)[:, 0]
    real_loss = -float(np.log(np.clip(on_real, 1e-7, 1)).mean())
    generated_loss = -float(np.log(np.clip(1 - on_generated, 1e-7, 1)).mean())
    return {
        "discriminator_accuracy_real": float((on_real > 0.5).mean()),
        "discriminator_accuracy_generated": float((on_generated <= 0.5).mean()),
        "discriminator_loss": (real_loss + generated_loss) / 2,
        "generator_loss": -float(np.log(np.clip(on_generated, 1e-7, 1)).mean()),
        # Below 1 the samples vary less than real images do: the sign of a mode collapse.
        "sample_variance_ratio": float(generated.var(axis=0).sum() / real.var(axis=0).sum()),
    }
