from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from components.sample.sample import MAX_SAMPLES, sample
from components.train.train import build
from genpipe.cells import Status
from genpipe.data.dataset import SPLITS, Dataset, write_dataset
from genpipe.data.readers.published import IMAGE_SHAPE
from genpipe.errors import InputError
from genpipe.families.registry import find_family
from genpipe.metrics.classifier import build_classifier, with_features
from genpipe.metrics.frechet import Gaussian, judge_features
from genpipe.metrics.registry import METRICS
from genpipe.metrics.samples import judge_scores
from genpipe.tracking import Tracker
from genpipe.training import saved

SCORES = {"mean_confidence", "classes_covered", "largest_class_share", "class_entropy"}
OF_SETS = {*SCORES, "frechet_distance", "precision", "recall", "density", "coverage"}
COPYING = {"training_closeness", "nearest_is_training_share", "duplicate_share"}
OPTIONS: dict[str, dict[str, Any]] = {
    "autoencoder": {"hidden_size": 16, "code_activation": "linear"},
    "vae": {"hidden_size": 16},
    "dcgan": {},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    random = np.random.default_rng(0)
    arrays = {
        split: (
            random.integers(0, 256, (40, 28, 28, 1), dtype=np.uint8),
            random.integers(0, 10, 40, dtype=np.uint8),
        )
        for split in SPLITS
    }
    folder = tmp_path_factory.mktemp("data")
    return write_dataset(folder, arrays, name="mnist", class_names=tuple("0123456789"), facts={})


def save(folder: Path, family: str, networks: dict[str, keras.Model], **metadata: Any) -> Path:
    status = Status.COMPLETE if networks else Status.DIVERGED
    saved.save(
        folder, family=family, status=status, networks=networks, history=[], metadata=metadata
    )
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Untrained models of each family at latent size 3, and a judge."""
    keras.utils.set_random_seed(0)
    root = tmp_path_factory.mktemp("models")
    made = {
        family: save(
            root / family,
            family,
            build(
                spec := find_family(family), spec.settings(latent_size=3, **options), IMAGE_SHAPE
            ).parts,
            latent_size=3,
        )
        for family, options in OPTIONS.items()
    }
    classifier = build_classifier(10, IMAGE_SHAPE)
    networks = {"classifier": classifier, "judge": with_features(classifier)}
    return {**made, "judge": save(root / "judge", "judge", networks)}


def draw(
    models: dict[str, Path],
    data: Dataset,
    folder: Path,
    model: str | Path,
    *,
    judge: str = "judge",
    samples: int = 40,
    seed: int = 0,
) -> dict[str, Any]:
    return sample(
        data.folder,
        models[judge],
        models[model] if isinstance(model, str) else model,
        folder,
        samples=samples,
        seed=seed,
        tracker=Tracker(),
    )


@pytest.mark.parametrize("family", ["vae", "dcgan"])
def test_samples_their_grid_and_their_scores_are_written(
    models: dict[str, Path], data: Dataset, tmp_path: Path, family: str
) -> None:
    result = draw(models, data, tmp_path, family)

    samplers = ("", "_fitted_gaussian", "_mixture") if family == "vae" else ("",)
    assert {path.name for path in tmp_path.iterdir()} == {
        "metrics.json",
        *(
            name
            for kind in samplers
            for name in (f"samples{kind}.npy", f"grid{kind}.png", f"grid{kind}.npy")
        ),
        *(f"sampler{kind}.npz" for kind in samplers if kind),
    }
    images = np.load(tmp_path / "samples.npy", allow_pickle=False)
    assert (images.shape, images.dtype) == ((40, 28, 28, 1), np.uint8)
    assert images.std() > 0
    assert json.loads((tmp_path / "metrics.json").read_text()) == result
    assert (result["family"], result["latent_size"], result["status"]) == (family, 3, "complete")
    assert (result["samples"], result["seed"]) == (40, 0)
    with Image.open(tmp_path / "grid.png") as grid:
        # The first of 8 columns and 4 rows, each pixel twice as large.
        np.testing.assert_array_equal(np.asarray(grid)[:56:2, :56:2], images[0, ..., 0])


@pytest.mark.parametrize("family", ["autoencoder", "vae", "dcgan"])
def test_the_judge_scores_what_was_drawn_from_the_prior(
    models: dict[str, Path], data: Dataset, tmp_path: Path, family: str
) -> None:
    metrics = draw(models, data, tmp_path, family)["metrics"]

    images = np.load(tmp_path / "samples.npy").astype(np.float32) / 255
    judge = saved.SavedModel(models["judge"])
    expected = judge_scores(judge.run("classifier", images)).metrics
    assert metrics.keys() >= SCORES
    assert {name: metrics[name] for name in SCORES} == pytest.approx(expected)


def test_the_coverage_is_told_of_each_digit_too(
    models: dict[str, Path], data: Dataset, tmp_path: Path
) -> None:
    """Of as many test images as there are samples."""
    result = draw(models, data, tmp_path, "vae")

    counts = np.bincount(data.labels("test")[:40], minlength=10)
    share = (np.array(result["class_coverage"]) * counts).sum() / counts.sum()
    assert share == pytest.approx(result["metrics"]["coverage"])
    assert len(result["class_coverage"]) == len(result["class_shares"]) == 10


def test_the_distance_is_that_of_the_samples_to_a_split(
    models: dict[str, Path], data: Dataset, tmp_path: Path
) -> None:
    metrics = draw(models, data, tmp_path, "autoencoder")["metrics"]

    judge = saved.SavedModel(models["judge"])
    for name, prefix, split in (
        ("samples", "", "test"),
        ("samples", "validation_", "validation"),
        ("samples_fitted_gaussian", "fitted_gaussian_", "test"),
    ):
        real = Gaussian.fit(judge_features(judge, data.images(split)))
        drawn = Gaussian.fit(judge_features(judge, np.load(tmp_path / f"{name}.npy")))
        expected = drawn.distance(real)
        assert metrics[f"{prefix}frechet_distance"] == pytest.approx(expected, rel=1e-3)
        assert expected > 0


def test_an_autoencoder_is_also_sampled_from_a_gaussian_fitted_to_its_codes(
    models: dict[str, Path], data: Dataset, tmp_path: Path
) -> None:
    metrics = draw(models, data, tmp_path, "autoencoder")["metrics"]

    assert {path.name for path in tmp_path.iterdir()} == {
        *("samples.npy", "grid.png", "grid.npy", "metrics.json"),
        *("samples_fitted_gaussian.npy", "grid_fitted_gaussian.png", "grid_fitted_gaussian.npy"),
        *("samples_mixture.npy", "grid_mixture.png", "grid_mixture.npy"),
        *("sampler_fitted_gaussian.npz", "sampler_mixture.npz"),
    }
    fitted = np.load(tmp_path / "samples_fitted_gaussian.npy")
    assert (fitted.shape, fitted.dtype) == ((40, 28, 28, 1), np.uint8)
    assert not np.array_equal(fitted, np.load(tmp_path / "samples.npy"))
    judge = saved.SavedModel(models["judge"])
    expected = judge_scores(judge.run("classifier", fitted.astype(np.float32) / 255)).metrics
    found = {name: metrics[f"fitted_gaussian_{name}"] for name in SCORES}
    assert found == pytest.approx(expected)


def test_the_seed_fixes_the_samples(models: dict[str, Path], data: Dataset, tmp_path: Path) -> None:
    for place, seed in enumerate((1, 1, 2)):
        draw(models, data, tmp_path / str(place), "autoencoder", seed=seed)

    for name in ("samples.npy", "samples_fitted_gaussian.npy"):
        first, again, other = (np.load(tmp_path / str(place) / name) for place in range(3))
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)


def test_the_samples_of_a_vae_are_decoded_from_n_0_i(
    models: dict[str, Path], data: Dataset, tmp_path: Path
) -> None:
    draw(models, data, tmp_path, "vae", seed=5)

    codes = np.random.default_rng(5).standard_normal((40, 3), np.float32)
    decoded = saved.SavedModel(models["vae"]).run("decoder", codes)
    np.testing.assert_array_equal(np.load(tmp_path / "samples.npy"), np.rint(decoded * 255))


@pytest.mark.parametrize(
    ("family", "samplers"),
    [(family, ("fitted_gaussian_", "mixture_")) for family in ("autoencoder", "vae")]
    + [("dcgan", ())],
)
def test_each_figure_of_each_sampler_has_an_interval_around_it_and_a_meaning(
    models: dict[str, Path],
    data: Dataset,
    tmp_path: Path,
    family: str,
    samplers: tuple[str, ...],
) -> None:
    result = draw(models, data, tmp_path, family)

    metrics, intervals = result["metrics"], result["intervals"]
    expected = OF_SETS | COPYING | {f"{sampler}{name}" for sampler in samplers for name in OF_SETS}
    rebuilt = {"reconstruction_frechet_distance"} if samplers else set()
    assert metrics.keys() == expected | rebuilt | {"validation_frechet_distance"}
    assert metrics.keys() <= METRICS.keys()
    counts = {name for name in metrics if name.endswith("classes_covered")}
    assert intervals.keys() == metrics.keys() - counts
    for name, (low, high) in intervals.items():
        assert low <= metrics[name] <= high, name


@pytest.mark.parametrize("samples", [0, -5, 31, MAX_SAMPLES + 1])
def test_a_count_out_of_range_is_refused(
    models: dict[str, Path], data: Dataset, tmp_path: Path, samples: int
) -> None:
    with pytest.raises(InputError, match=rf"samples must lie between 32 and .*, got {samples}"):
        draw(models, data, tmp_path / "samples", "vae", samples=samples)
    assert not (tmp_path / "samples").exists()


def test_a_model_that_is_no_judge_is_refused(
    models: dict[str, Path], data: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="contains a 'vae' model, but a judge"):
        draw(models, data, tmp_path / "samples", "vae", judge="vae")


def test_a_judge_is_no_model_to_sample(
    models: dict[str, Path], data: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="judge"):
        draw(models, data, tmp_path / "samples", "judge")


def test_a_diverged_model_is_a_result_without_samples(
    models: dict[str, Path], data: Dataset, tmp_path: Path
) -> None:
    model = save(tmp_path / "model", "dcgan", {}, latent_size=3, reason="the loss was NaN")

    draw(models, data, tmp_path / "samples", model)

    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["metrics.json"]
    result = json.loads((tmp_path / "samples" / "metrics.json").read_text())
    assert (result["status"], result["reason"]) == ("diverged", "the loss was NaN")
    assert (result["samples"], result["metrics"]) == (0, {})
