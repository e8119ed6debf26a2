from __future__ import annotations

import importlib
import io
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.evaluate.evaluate import evaluate
from components.evaluate.explore import explore
from genpipe.cells import Cell, Status
from genpipe.data.dataset import RESCALINGS, Dataset
from genpipe.errors import InputError
from genpipe.families.registry import all_families, find_family
from genpipe.metrics import reconstruction
from genpipe.tracking import Picture, Tracker
from genpipe.tracking.progress import Progress
from genpipe.training import saved
from genpipe.training.saved import SavedModel

DENSE = {"hidden_size": 16, "epochs": 1, "batch_size": 32}
TINY: dict[str, dict[str, Any]] = {
    "autoencoder": {**DENSE, "latent_size": 3},
    "vae": {**DENSE, "latent_size": 2, "beta": 3.0},
    "dcgan": {"latent_size": 2, "steps": 2, "batch_size": 4},
}
SHARED = {
    *("mean_squared_error", "binary_cross_entropy", "pca_mean_squared_error"),
    *("code_mean_distance", "code_spread"),
    *("neighbour_accuracy", "validation_mean_squared_error"),
}
METRICS = {
    "autoencoder": SHARED | {"dead_units", "revived_units"},
    "vae": SHARED
    | {"smallest_class_area_share", "largest_class_area_share", "gap_share"}
    | {"reconstruction_loss", "kl_divergence", "total_loss", "elbo", "active_units"}
    | {"training_objective"}
    | {"importance_weighted_bound", "validation_total_loss"},
    "dcgan": {
        *("discriminator_accuracy_real", "discriminator_accuracy_generated"),
        *("discriminator_loss", "generator_loss", "sample_variance_ratio"),
    },
}
PICTURES = {"reconstructions.png", "worst_reconstructions.png", "latent_scatter.png"}
ARRAYS = {"latent_codes.npy", "latent_labels.npy", "validation_losses.npy", "test_losses.npy"}
DENSE_FILES = PICTURES | ARRAYS


class Recorder(Tracker):
    """Keeps what is logged and said."""

    def __init__(self) -> None:
        self.out = io.StringIO()
        super().__init__(Progress("evaluate", stream=self.out))
        self.rows: list[dict[str, float | Picture]] = []
        self.summary: dict[str, Any] = {}

    def log(self, values: Mapping[str, float | Picture]) -> None:
        self.rows.append(dict(values))

    def summarize(self, values: Mapping[str, Any]) -> None:
        self.summary |= values


@dataclass
class Evaluated:
    """A trained model and its evaluation."""

    model: Path
    folder: Path
    result: dict[str, Any]
    tracker: Recorder

    @property
    def metrics(self) -> dict[str, float]:
        return self.result["metrics"]


@pytest.fixture(scope="module")
def evaluations(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Evaluated]:
    from components.train.train import train

    made = {}
    for family, options in TINY.items():
        root, tracker = tmp_path_factory.mktemp(family), Recorder()
        settings = find_family(family).settings(**options)
        train(
            Cell(family, settings.latent_size),
            settings,
            digits.folder,
            root / "model",
            Tracker(),
        )
        folder = root / "deep" / "evaluation"
        result = evaluate(digits.folder, root / "model", folder, 0, tracker)
        made[family] = Evaluated(root / "model", folder, result, tracker)
    return made


@pytest.fixture(params=list(all_families()))
def evaluated(request: pytest.FixtureRequest, evaluations: dict[str, Evaluated]) -> Evaluated:
    return evaluations[request.param]


def test_metrics_json_holds_the_cell_and_its_scores(evaluated: Evaluated, digits: Dataset) -> None:
    result = json.loads((evaluated.folder / "metrics.json").read_text())
    model = SavedModel(evaluated.model)

    assert result == evaluated.result
    assert (result["family"], result["latent_size"]) == (model.family, model.cell.latent_size)
    assert (result["status"], result["split"], result["images"]) == ("complete", "test", 200)
    assert result["data"] == {"name": "mnist", "digest": digits.digest}
    assert result["training"] == model.metadata["training"]
    assert set(result["metrics"]) == METRICS[model.cell.family.name]
    assert np.isfinite(list(result["metrics"].values())).all()
    assert evaluated.tracker.summary == result["metrics"]


def test_the_same_seed_gives_the_same_scores(
    evaluated: Evaluated, digits: Dataset, tmp_path: Path
) -> None:
    again = evaluate(digits.folder, evaluated.model, tmp_path, 0, Tracker())

    assert again == evaluated.result


def test_an_autoencoder_and_a_vae_leave_pictures_and_codes(
    evaluations: dict[str, Evaluated], digits: Dataset
) -> None:
    for family in ("autoencoder", "vae"):
        done = evaluations[family]
        names = {path.name for path in done.folder.iterdir()}
        codes = np.load(done.folder / "latent_codes.npy")
        assert names == DENSE_FILES | {"metrics.json"}
        assert codes.shape == (200, TINY[family]["latent_size"])
        labels = np.load(done.folder / "latent_labels.npy")
        np.testing.assert_array_equal(labels, digits.labels("test"))
        assert set(done.tracker.rows[0]) == {name.removesuffix(".png") for name in PICTURES}
        for name in PICTURES:
            with Image.open(done.folder / name) as image:
                assert min(image.size) > 100


def test_a_dcgan_which_has_no_encoder_leaves_its_scores_alone(
    evaluations: dict[str, Evaluated],
) -> None:
    done = evaluations["dcgan"]

    assert [path.name for path in done.folder.iterdir()] == ["metrics.json"]
    for name in ("discriminator_accuracy_real", "discriminator_accuracy_generated"):
        assert 0 <= done.metrics[name] <= 1


def test_the_reconstruction_scores_are_of_the_whole_test_split(
    evaluations: dict[str, Evaluated], digits: Dataset
) -> None:
    images = RESCALINGS["unit"].apply(digits.images("test"))
    for family in ("autoencoder", "vae"):
        done = evaluations[family]
        model, codes = SavedModel(done.model), np.load(done.folder / "latent_codes.npy")
        encoded = model.run("encoder", images)
        np.testing.assert_array_equal(codes, encoded[0] if family == "vae" else encoded)
        rebuilt = model.run("decoder", codes)
        error = float(np.square(rebuilt - images).mean())
        assert done.metrics["mean_squared_error"] == pytest.approx(error, rel=1e-5)
        worst = np.argsort(-np.square(rebuilt - images).mean(axis=(1, 2, 3)))[:10]
        with Image.open(done.folder / "worst_reconstructions.png") as picture:
            shown = np.asarray(picture)[:56:2]  # the upper row, twice as large as the images
        np.testing.assert_array_equal(
            np.concatenate([shown[:, 58 * place : 58 * place + 56 : 2] for place in range(10)]),
            digits.images("test")[worst].reshape(-1, 28),
        )
        best = reconstruction.pca_squared_errors(
            reconstruction.pixel_components(digits.images("train")),
            digits.images("test"),
            TINY[family]["latent_size"],
        ).mean()
        assert done.metrics["pca_mean_squared_error"] == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize(
    ("family", "split", "mean"),
    [
        ("autoencoder", "test", lambda metrics: metrics["mean_squared_error"]),
        ("autoencoder", "validation", lambda metrics: metrics["validation_mean_squared_error"]),
        ("vae", "test", lambda metrics: -metrics["elbo"]),
        (
            "vae",
            "validation",
            lambda metrics: (
                metrics["validation_total_loss"]
                + reconstruction.log_normalizer(np.empty((1, 28, 28, 1)))
            ),
        ),
    ],
)
def test_what_each_image_costs_is_kept(
    evaluations: dict[str, Evaluated],
    digits: Dataset,
    family: str,
    split: str,
    mean: Callable[[Mapping[str, float]], float],
) -> None:
    done = evaluations[family]

    losses = np.load(done.folder / f"{split}_losses.npy", allow_pickle=False)

    assert (losses.shape, losses.dtype) == ((digits.size(split),), np.float32)
    assert losses.mean(dtype=np.float64) == pytest.approx(mean(done.metrics), rel=1e-6)
    assert losses.std() > 0


def test_the_areas_of_the_classes_are_told_by_name_of_a_plane(
    evaluations: dict[str, Evaluated],
) -> None:
    done = evaluations["vae"]
    areas = done.result["latent"]["area_share"]

    assert list(areas) == list("0123456789")
    assert sum(areas.values()) == pytest.approx(1)
    assert min(areas.values()) == done.metrics["smallest_class_area_share"]
    assert max(areas.values()) == done.metrics["largest_class_area_share"]
    assert evaluations["autoencoder"].result["latent"] == {}  # of three units


def test_the_total_loss_of_a_vae_is_the_sum_of_its_parts(
    evaluations: dict[str, Evaluated], digits: Dataset
) -> None:
    done = evaluations["vae"]
    metrics = done.metrics
    images = RESCALINGS["unit"].apply(digits.images("test"))
    z_mean, z_log_var = SavedModel(done.model).run("encoder", images)

    divergence = 0.5 * (np.square(z_mean) + np.exp(z_log_var) - 1 - z_log_var).sum(axis=1)
    assert metrics["kl_divergence"] == pytest.approx(divergence.mean(), rel=1e-4)
    parts = metrics["reconstruction_loss"] + metrics["kl_divergence"]
    assert metrics["total_loss"] == pytest.approx(parts)
    beyond = (TINY["vae"]["beta"] - 1) * metrics["kl_divergence"]
    assert metrics["training_objective"] == pytest.approx(parts + beyond)
    assert metrics["elbo"] == pytest.approx(-parts - 392 * np.log(np.pi))
    noise = np.random.default_rng(0).standard_normal(z_mean.shape, np.float32)
    sampled = z_mean + np.exp(z_log_var / 2) * noise
    errors = SavedModel(done.model).run("decoder", sampled) - images
    loss = np.square(errors).sum(axis=(1, 2, 3)).mean()
    assert metrics["reconstruction_loss"] == pytest.approx(loss, rel=1e-4)
    assert metrics["reconstruction_loss"] != pytest.approx(784 * metrics["mean_squared_error"])


def test_the_importance_weighted_bound_is_tighter_than_the_elbo(
    evaluations: dict[str, Evaluated],
) -> None:
    metrics = evaluations["vae"].metrics

    assert metrics["elbo"] < metrics["importance_weighted_bound"] < metrics["elbo"] + 50


def test_some_images_tell_how_much_tighter_the_bound_is(
    evaluations: dict[str, Evaluated],
    digits: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = importlib.import_module("components.evaluate.evaluate")
    monkeypatch.setattr(module, "BOUNDED_IMAGES", 50)
    done = evaluations["vae"]
    metrics = evaluate(digits.folder, done.model, tmp_path, 0, Tracker())["metrics"]

    whole = done.metrics["importance_weighted_bound"] - done.metrics["elbo"]
    some = metrics["importance_weighted_bound"] - metrics["elbo"]
    assert metrics["elbo"] == done.metrics["elbo"]
    assert some != whole
    assert some == pytest.approx(whole, rel=0.5)


def test_losses_have_intervals_around_them(evaluations: dict[str, Evaluated]) -> None:
    errors = {"mean_squared_error", "pca_mean_squared_error"}
    for family, names in (
        ("autoencoder", errors),
        ("vae", errors | {"elbo", "total_loss"}),
    ):
        done = evaluations[family]
        assert done.result["intervals"].keys() == names
        for name, (low, high) in done.result["intervals"].items():
            assert low < done.metrics[name] < high, name


def test_the_discriminators_scores_are_those_of_its_answers(
    evaluations: dict[str, Evaluated], digits: Dataset
) -> None:
    done = evaluations["dcgan"]
    model, metrics = SavedModel(done.model), done.metrics
    noise = np.random.default_rng(0).standard_normal((2000, 2), np.float32)
    generated = model.run("generator", noise)
    real = RESCALINGS["symmetric"].apply(digits.images("test"))
    on_real, on_generated = (model.run("discriminator", x)[:, 0] for x in (real, generated))

    assert metrics["discriminator_accuracy_real"] == pytest.approx(np.mean(on_real > 0.5))
    assert metrics["discriminator_accuracy_generated"] == pytest.approx(np.mean(on_generated < 0.5))
    loss = -(np.log(on_real).mean() + np.log(1 - on_generated).mean()) / 2
    assert metrics["discriminator_loss"] == pytest.approx(loss, rel=1e-4)
    assert metrics["generator_loss"] == pytest.approx(-np.log(on_generated).mean(), rel=1e-4)
    ratio = generated.var(axis=0).sum() / real.var(axis=0).sum()
    assert metrics["sample_variance_ratio"] == pytest.approx(ratio, rel=1e-4)


def test_a_model_of_other_data_is_refused_and_both_digests_are_told(
    evaluations: dict[str, Evaluated], digits: Dataset, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(evaluations["vae"].model, model)
    metadata = json.loads((model / "model.json").read_text())
    metadata["data"]["digest"] = "sha256:other"
    (model / "model.json").write_text(json.dumps(metadata))

    with pytest.raises(InputError, match=rf"trained on data sha256:other.* {digits.digest}"):
        evaluate(digits.folder, model, tmp_path / "evaluation", 0, Tracker())
    assert not (tmp_path / "evaluation").exists()


def test_a_diverged_model_is_a_result_without_scores(digits: Dataset, tmp_path: Path) -> None:
    reason = "the loss was NaN at step 7"
    data = {"name": digits.name, "digest": digits.digest}
    saved.save(
        tmp_path / "model",
        family="vae",
        status=Status.DIVERGED,
        networks={},
        history=[],
        metadata={"latent_size": 2, "data": data, "training": {"steps": 7}, "reason": reason},
    )
    tracker = Recorder()

    evaluate(digits.folder, tmp_path / "model", tmp_path / "evaluation", 0, tracker)

    result = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    assert (result["status"], result["reason"], result["metrics"]) == ("diverged", reason, {})
    assert [path.name for path in (tmp_path / "evaluation").iterdir()] == ["metrics.json"]
    assert f"VAE 2 diverged ({reason}): nothing to evaluate" in tracker.out.getvalue()

    page = tmp_path / "explorer"
    explore(digits.folder, tmp_path / "model", tmp_path / "evaluation", page, tracker)
    assert f"Training diverged: {reason}" in page.read_text()
    assert not (tmp_path / "evaluation" / "explorer.json").exists()


def test_each_cell_gets_an_explorer_as_a_page_and_for_the_report(
    evaluated: Evaluated, digits: Dataset, tmp_path: Path
) -> None:
    shutil.copytree(evaluated.folder, tmp_path / "evaluation")
    page = tmp_path / "deep" / "explorer"

    explore(digits.folder, evaluated.model, tmp_path / "evaluation", page, Tracker())

    cell = json.loads((tmp_path / "evaluation" / "explorer.json").read_text())
    assert cell["cell"] == SavedModel(evaluated.model).cell.name
    assert cell["classes"] == list(digits.class_names)
    assert all(plane["picture"] in page.read_text() for plane in cell["planes"])
    assert (tmp_path / "evaluation" / "explorer.html").read_text() == page.read_text()
