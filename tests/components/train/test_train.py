from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from components.train import train as module
from components.train.train import Training, build, decay, train
from genpipe import storage
from genpipe.cells import Cell, Status
from genpipe.data.dataset import Dataset
from genpipe.errors import InputError
from genpipe.families.registry import all_families, find_family
from genpipe.families.spec import FamilySpec, ImageShape, Settings
from genpipe.families.vae.spec import VAESettings
from genpipe.tracking import Picture, Tracker
from genpipe.tracking.progress import Progress
from genpipe.training import saved
from genpipe.training.checkpoints import Checkpoints
from genpipe.training.saved import SavedModel

DENSE = {"latent_size": 3, "hidden_size": 16, "epochs": 2, "batch_size": 32}
TINY: dict[str, dict[str, Any]] = {
    "autoencoder": DENSE,
    "vae": {**DENSE, "beta": 2.0},
    "dcgan": {"latent_size": 3, "steps": 3, "batch_size": 4, "gen_interval": 2},
}
COLUMNS = {
    "autoencoder": ["epoch", "loss", "validation_loss", "images_per_second"],
    "vae": [
        *("epoch", "loss", "reconstruction_loss", "kl_divergence"),
        *("validation_loss", "validation_reconstruction_loss", "validation_kl_divergence"),
        "images_per_second",
    ],
    "dcgan": [
        *("step", "loss", "discriminator_loss", "generator_loss", "discriminator_accuracy"),
        "images_per_second",
    ],
}


class Recorder(Tracker):
    """Keeps what is logged and said."""

    def __init__(self) -> None:
        self.out = io.StringIO()
        super().__init__(Progress("train", stream=self.out))
        self.rows: list[dict[str, float | Picture]] = []
        self.shown: list[Mapping[str, np.ndarray]] = []

    def show(self, images: Mapping[str, np.ndarray]) -> None:
        self.shown.append(images)

    def log(self, values: Mapping[str, float | Picture]) -> None:
        self.rows.append(dict(values))


@dataclass
class Trained:
    """One training: what it gave back, wrote and logged, and the networks it had in memory."""

    folder: Path
    metadata: dict[str, Any]
    tracker: Recorder
    networks: Mapping[str, keras.Model]


def run(family: FamilySpec, settings: Settings, data: Dataset, folder: Path) -> Trained:
    networks: dict[str, keras.Model] = {}

    def save(*arguments: Any, **options: Any) -> dict[str, Any]:
        networks.update(options["networks"])
        return saved_save(*arguments, **options)

    saved_save, tracker = saved.save, Recorder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved, "save", save)
        metadata = train(Cell(family, settings.latent_size), settings, data.folder, folder, tracker)
    return Trained(folder, metadata, tracker, networks)


@pytest.fixture(scope="module", params=list(all_families()))
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def trained(family: str, digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("trained") / "model"
    return run(spec := find_family(family), spec.settings(**TINY[family]), digits, folder)


def test_the_first_images_are_shown_to_who_follows_the_run(family: str, trained: Trained) -> None:
    (images,) = trained.tracker.shown

    first = "samples, step 2" if family == "dcgan" else "reconstructions, epoch 1"
    assert list(images) == ([first] if family == "dcgan" else ["test images", first])
    for rows in images.values():
        assert (rows.shape, rows.dtype) == ((10, 28, 28, 1), np.uint8)


def test_model_json_holds_what_a_reader_needs(
    family: str, trained: Trained, digits: Dataset
) -> None:
    metadata = json.loads((trained.folder / "model.json").read_text())

    assert metadata == trained.metadata
    assert metadata["family"] == family
    assert metadata["status"] == "complete"
    assert (metadata["latent_size"], metadata["seed"]) == (3, 0)
    assert metadata["data"] == {"name": "mnist", "digest": digits.digest}
    assert find_family(family).settings(**metadata["settings"]) == find_family(family).settings(
        **TINY[family]
    )
    assert metadata["version"]
    assert set(metadata["environment"]) == {"tensorflow", "keras", "precision", "variables"}
    assert metadata["environment"]["precision"] == "float32"  # there is no GPU here
    parts = {"generator", "discriminator"} if family == "dcgan" else {"encoder", "decoder"}
    assert set(metadata["files"]) == {
        f"{part}.{kind}" for part in parts for kind in ("keras", "onnx")
    }
    assert metadata["weights_digest"].startswith("sha256:")


def test_the_cost_of_the_training_is_told(family: str, trained: Trained) -> None:
    facts, options = trained.metadata["training"], TINY[family]

    steps = options["steps"] if family == "dcgan" else 2 * (512 // 32)
    assert facts["steps"] == steps
    assert facts["images_seen"] == steps * options["batch_size"]
    assert facts["epochs"] == steps * options["batch_size"] / 512
    assert facts["train_seconds"] > 0
    rate = facts["images_seen"] / facts["train_seconds"]
    assert facts["images_per_second"] == pytest.approx(rate)
    assert ("revived_units" in facts) is (family == "autoencoder")


def test_the_history_has_a_row_an_epoch_or_a_mark(family: str, trained: Trained) -> None:
    with (trained.folder / "history.csv").open(newline="") as file:
        header, *rows = csv.reader(file)

    assert header == COLUMNS[family]
    assert [float(row[0]) for row in rows] == ([2, 3] if family == "dcgan" else [1, 2])
    assert np.isfinite(np.array(rows, float)).all()
    assert list(SavedModel(trained.folder).history()) == header


def test_every_row_is_logged_with_its_picture(family: str, trained: Trained) -> None:
    key = "samples" if family == "dcgan" else "reconstructions"
    history = SavedModel(trained.folder).history()

    assert len(trained.tracker.rows) == 2
    for place, row in enumerate(trained.tracker.rows):
        picture = row.pop(key)
        assert isinstance(picture, Picture)
        assert picture.pixels.dtype == np.uint8
        assert row == {name: values[place] for name, values in history.items()}
    assert "100%" in trained.tracker.out.getvalue()


@pytest.mark.parametrize("family", ["autoencoder", "vae"], indirect=True)
def test_the_loss_falls_on_both_splits(trained: Trained) -> None:
    history = SavedModel(trained.folder).history()

    assert history["loss"][1] < history["loss"][0]
    assert history["validation_loss"][1] < history["validation_loss"][0]


def test_loaded_networks_answer_as_those_in_memory_did(family: str, trained: Trained) -> None:
    model, random = SavedModel(trained.folder), np.random.default_rng(0)

    assert model.complete
    assert model.cell.name == f"{family}-3"
    for name, network in trained.networks.items():
        inputs = random.uniform(size=(5, *network.input_shape[1:])).astype(np.float32)
        expected = np.asarray(network(inputs, training=False))
        loaded = getattr(model, name)(inputs, training=False)
        np.testing.assert_array_equal(loaded, expected)
        np.testing.assert_allclose(model.run(name, inputs), expected, rtol=1e-4, atol=1e-5)
        assert expected.std() > 0


def test_training_in_bfloat16_learns_and_saves_float32(
    family: str, digits: Dataset, tmp_path: Path
) -> None:
    settings = find_family(family).settings(**TINY[family], precision="bfloat16")

    trained = run(find_family(family), settings, digits, tmp_path / "model")

    assert trained.metadata["environment"]["precision"] == "bfloat16"
    assert all(np.isfinite(row["loss"]) for row in trained.tracker.rows)
    model = SavedModel(trained.folder)
    for name, network in trained.networks.items():
        loaded = model.part(name)
        assert {layer.compute_dtype for layer in loaded.layers} == {"float32"}
        assert {weight.dtype for weight in loaded.trainable_variables} == {"float32"}
        inputs = np.random.default_rng(0).random((2, *network.input_shape[1:])).astype(np.float32)
        expected = network(inputs)
        for found, one in zip(
            *(
                value if isinstance(value, list) else [value]
                for value in (model.run(name, inputs), expected)
            ),
            strict=True,
        ):
            np.testing.assert_allclose(found, one, atol=1e-5)


@pytest.mark.parametrize(
    ("capabilities", "policy"),
    [
        ([], "float32"),
        ([(7, 5)], "float32"),
        ([(8, 9)], "mixed_bfloat16"),
        ([(8, 0), (9, 0)], "mixed_bfloat16"),
        ([(8, 0), (7, 0)], "float32"),
        ([None], "float32"),
    ],
)
def test_auto_precision_is_bfloat16_where_every_gpu_has_it(
    capabilities: list[tuple[int, int] | None], policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What TensorFlow says of its GPUs is made up here, where there is none."""
    details = [{"compute_capability": one} if one else {} for one in capabilities]
    config = module.tf.config
    monkeypatch.setattr(config, "list_physical_devices", lambda kind: range(len(details)))
    monkeypatch.setattr(config.experimental, "get_device_details", details.__getitem__)

    assert module.dtype_policy("auto") == policy
    assert module.dtype_policy("float32") == "float32"
    assert module.dtype_policy("bfloat16") == "mixed_bfloat16"


def test_the_seed_fixes_the_weights(
    family: str, trained: Trained, digits: Dataset, tmp_path: Path
) -> None:
    again, other = (
        run(
            spec := find_family(family),
            spec.settings(**TINY[family], seed=seed),
            digits,
            tmp_path / str(seed),
        ).metadata
        for seed in (0, 1)
    )

    assert again["weights_digest"] == trained.metadata["weights_digest"]
    assert other["weights_digest"] != trained.metadata["weights_digest"]


def test_what_the_bits_depend_on_is_told_apart(
    family: str, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint is used by a training of the same identity alone."""

    def identity(dataset: Dataset = digits, **changes: Any) -> dict[str, Any]:
        settings = find_family(family).settings(**{**TINY[family], **changes})
        return dict(Training(find_family(family), settings, dataset, Tracker(), None).identity)

    base = identity()
    others = [identity(seed=1), identity(learning_rate=0.5), identity(latent_size=4)]
    others.append(identity(precision="bfloat16"))
    others.append(identity(replace(digits, digest="sha256:other")))
    monkeypatch.setattr(module.importlib.metadata, "version", lambda name: "9.9")
    others.append(identity())

    assert base == {
        **base,
        **find_family(family).settings(**TINY[family]).to_dict(),
        "precision": "float32",
    }
    assert all(other != base for other in others)


@pytest.mark.parametrize("family", ["vae"], indirect=True)
def test_a_training_that_broke_off_goes_on_from_a_bucket(
    family: str,
    trained: Trained,
    digits: Dataset,
    bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It breaks off in its second epoch, when the call behind the last checkpoint is made."""
    monkeypatch.setattr("genpipe.training.checkpoints.LARGEST_SHARE", np.inf)
    monkeypatch.setattr("genpipe.training.loop.SECONDS_IN_A_CALL", np.inf)
    cell, root = Cell(family, 3), f"{bucket}/checkpoints/train-vae-3"
    settings = cell.family.settings(**TINY[family])
    broken, tracker = Recorder(), Recorder()
    calls = iter([None, None, RuntimeError("the node is gone")])

    def progress(*_: float, **__: float) -> None:
        if error := next(calls):
            raise error

    monkeypatch.setattr(broken, "progress", progress)
    with pytest.raises(RuntimeError, match="the node is gone"):
        train(
            cell, settings, digits.folder, tmp_path / "1", broken, Checkpoints(root, broken.say, 0)
        )
    metadata = train(
        cell, settings, digits.folder, tmp_path, tracker, Checkpoints(root, tracker.say, 0)
    )

    assert len(broken.rows) == 1
    assert "goes on from the checkpoint of step 16" in tracker.out.getvalue()
    assert metadata["weights_digest"] == trained.metadata["weights_digest"]
    assert [row["epoch"] for row in tracker.rows] == [1, 2]
    assert storage.list_files(bucket) == []


def test_the_oldest_pictures_of_a_long_history_stay_out_of_checkpoints(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PICTURES_KEPT", 2)
    training = Training(find_family("vae"), VAESettings(**DENSE), digits, Recorder(), None)

    for epoch in range(1, 5):
        training.log({"epoch": epoch, "shown": Picture(np.zeros((2, 2), np.uint8))})

    assert [list(row) for row in training.rows] == [["epoch"]] * 2 + [["epoch", "shown"]] * 2
    assert all("shown" in row for row in training.tracker.rows)


def test_the_learning_rate_falls_by_half_a_cosine_to_a_twentieth() -> None:
    shares = [decay(epoch, 11) for epoch in range(1, 12)]

    assert shares[0] == 1
    assert shares[5] == pytest.approx((1 + 0.05) / 2)
    assert shares[-1] == pytest.approx(0.05)
    assert shares == sorted(shares, reverse=True)
    assert decay(1, 1) == 1


def test_an_absurd_learning_rate_ends_as_diverged_and_not_as_a_crash(
    digits: Dataset, tmp_path: Path
) -> None:
    done = run(
        find_family("vae"), VAESettings(**DENSE, learning_rate=10.0), digits, tmp_path / "model"
    )

    model = SavedModel(tmp_path / "model")
    assert model.status is Status.DIVERGED
    assert not model.complete
    assert "the loss was" in model.metadata["reason"]
    step = int(model.metadata["reason"].rsplit("at step ", 1)[1])
    assert 1 <= step <= 32
    assert sorted(path.name for path in model.folder.iterdir()) == ["history.csv", "model.json"]
    assert model.metadata["weights_digest"] is None
    assert f"diverged: {model.metadata['reason']}" in done.tracker.out.getvalue()


@pytest.mark.parametrize("family", ["vae", "dcgan"], indirect=True)
def test_a_late_divergence_keeps_the_history_until_then(
    family: str, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss is NaN from step 17, after the VAE's first epoch and the DCGAN's first mark."""

    def build_breaking(
        family: FamilySpec, settings: Settings, image_shape: ImageShape
    ) -> keras.Model:
        model = build(family, settings, image_shape)
        optimizer = model.generator_optimizer if family.name == "dcgan" else model.optimizer
        whole_step = model.train_step

        def step(images: Any) -> dict[str, Any]:
            figures = whole_step(images)
            late = keras.ops.cast(optimizer.iterations > 16, "float32")
            return {**figures, "loss": figures["loss"] + late * 0 / (1 - late)}

        model.train_step = step
        return model

    monkeypatch.setattr(module, "build", build_breaking)
    options = {**TINY[family], "steps": 18, "gen_interval": 16} if family == "dcgan" else DENSE

    run(spec := find_family(family), spec.settings(**options), digits, tmp_path / "model")

    model = SavedModel(tmp_path / "model")
    assert model.status is Status.DIVERGED
    assert model.metadata["reason"] == "the loss was NaN at step 17"
    assert model.metadata["files"] == {}
    assert len(model.history()["loss"]) == 1
    assert np.isfinite(model.history()["loss"]).all()


@pytest.mark.parametrize("name", list(all_families()))
def test_a_batch_larger_than_the_training_split_is_refused(
    name: str, digits: Dataset, tmp_path: Path
) -> None:
    settings = find_family(name).settings(**{**TINY[name], "batch_size": 513})

    with pytest.raises(InputError, match=r"batch_size 513 is larger than .*\(512 images\)"):
        train(
            Cell(name, settings.latent_size), settings, digits.folder, tmp_path / "model", Tracker()
        )
    assert not (tmp_path / "model").exists()
