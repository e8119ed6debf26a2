from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from genpipe.cells import Status
from genpipe.errors import InputError, StepError
from genpipe.training import saved
from genpipe.training.saved import SavedModel

HISTORY = [{"epoch": 1, "loss": 0.1}, {"epoch": 2, "loss": 1 / 3}]


def network(*layers: keras.layers.Layer) -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((3,)), *layers])


def write(folder: Path, *layers: keras.layers.Layer, **options: Any) -> dict[str, Any]:
    parts = {"encoder": network(*(layers or [keras.layers.Dense(2)]))}
    given = {"family": "vae", "status": Status.COMPLETE, "networks": parts, "history": HISTORY}
    return saved.save(folder, **{**given, "metadata": {"latent_size": 2, "seed": 5}, **options})


def test_a_model_is_read_as_it_was_written(tmp_path: Path) -> None:
    metadata = write(tmp_path / "model")

    model = SavedModel(tmp_path / "model")

    assert model.metadata == metadata
    assert (model.family, model.cell.name, model.complete) == ("vae", "vae-2", True)
    assert (metadata["seed"], metadata["version"]) == (5, importlib.metadata.version("genpipe"))
    assert model.history() == {"epoch": [1, 2], "loss": [0.1, 1 / 3]}


def test_the_digests_are_of_the_files_and_of_the_weights(tmp_path: Path) -> None:
    layer = keras.layers.Dense(2)
    metadata = write(tmp_path / "model", layer)

    contents = {
        name: (tmp_path / "model" / name).read_bytes() for name in ("encoder.keras", "encoder.onnx")
    }
    assert metadata["files"] == {
        name: f"sha256:{hashlib.sha256(content).hexdigest()}" for name, content in contents.items()
    }
    weights = b"".join(array.tobytes() for array in layer.get_weights())
    assert metadata["weights_digest"] == f"sha256:{hashlib.sha256(weights).hexdigest()}"


def test_a_diverged_model_has_no_parts_and_may_have_no_history(tmp_path: Path) -> None:
    write(tmp_path, status=Status.DIVERGED, networks={}, history=[])

    model = SavedModel(tmp_path)

    assert not model.complete
    assert model.metadata["weights_digest"] is None
    assert model.history() == {}
    with pytest.raises(InputError, match=r"model\.json lists no encoder\.keras"):
        _ = model.encoder


def test_a_folder_without_description_holds_no_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model\.json does not exist: give the model folder"):
        SavedModel(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", "{}", '{"family": "vae"}'),
        '{"family": "vae", "status": "finished"}',
        "\N{LATIN SMALL LETTER E WITH ACUTE}",
    ],
)
def test_a_broken_description_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.json").write_bytes(text.encode("latin-1"))

    with pytest.raises(InputError, match=r"model\.json is not a model description"):
        SavedModel(tmp_path)


def test_the_cell_of_a_model_that_belongs_to_none_is_refused(tmp_path: Path) -> None:
    write(tmp_path, family=saved.JUDGE, metadata={"seed": 0})

    with pytest.raises(InputError, match="judge"):
        _ = SavedModel(tmp_path).cell


def test_an_altered_file_is_refused_and_both_digests_are_told(tmp_path: Path) -> None:
    expected = write(tmp_path)["files"]["encoder.keras"]
    path = tmp_path / "encoder.keras"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    found = f"sha256:{hashlib.sha256(content).hexdigest()}"

    with pytest.raises(
        InputError, match=rf"encoder\.keras was .*found {found}, expected checksum {expected}"
    ):
        _ = SavedModel(tmp_path).encoder


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "encoder.keras").unlink()

    with pytest.raises(InputError, match=r"encoder\.keras .*found no such file"):
        _ = SavedModel(tmp_path).encoder


def test_a_part_that_the_model_has_not_is_refused(tmp_path: Path) -> None:
    write(tmp_path)

    with pytest.raises(InputError, match=r"lists no generator\.keras"):
        _ = SavedModel(tmp_path).generator


def test_a_model_with_code_in_it_is_not_loaded(tmp_path: Path) -> None:
    """Its digest is right: whoever can write the model folder can write model.json as well."""
    write(tmp_path, keras.layers.Lambda(lambda x: x + 1))

    with pytest.raises(InputError, match=r"encoder\.keras can't be used \(.*(?i:lambda)"):
        _ = SavedModel(tmp_path).encoder


def zipped(**members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in members.items():
            archive.writestr(name.replace("__", "."), member)
    return content.getvalue()


CONFIG = json.dumps({"module": "keras", "class_name": "Sequential", "config": {}}).encode()


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"no archive", b"PK\x03\x04", b"<html></html>", zipped()),
        *(zipped(config__json=b"{"), zipped(config__json=b"[" * 100_000)),
        zipped(config__json=bytes(10**8)),
        zipped(config__json=CONFIG, model__weights__h5=bytes(10**8)),
    ],
    ids=["empty", "text", "cut", "HTML", "no files", "torn", "deep", "bomb", "bomb of weights"],
)
def test_what_only_claims_to_be_a_network_is_refused(tmp_path: Path, content: bytes) -> None:
    """Its digest is right again, and 100 MB of zeros take up no memory."""
    metadata = write(tmp_path)
    (tmp_path / "encoder.keras").write_bytes(content)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    files = {**metadata["files"], "encoder.keras": digest}
    (tmp_path / "model.json").write_text(json.dumps({**metadata, "files": files}))

    tracemalloc.start()
    with pytest.raises(InputError, match=r"encoder\.keras can't be used") as refusal:
        _ = SavedModel(tmp_path).encoder
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert "\n" not in str(refusal.value)
    assert peak < 5e7


def test_a_torn_folder_is_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saved, "write_history", full)

    with pytest.raises(StepError, match=r"could not be written to .*No space left"):
        write(tmp_path)
    with pytest.raises(InputError, match=r"model\.json does not exist"):
        SavedModel(tmp_path)


def test_model_json_is_strict_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write(tmp_path, metadata={"latent_size": 2, "loss": float("nan")})

    write(tmp_path)
    assert json.loads((tmp_path / "model.json").read_text())["seed"] == 5


@pytest.mark.parametrize("count", [1, 7, 8, 20])
def test_batches_change_no_answer(
    tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved, "BATCH", 8)
    inputs = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    single = network(keras.layers.Dense(2))
    several = keras.Model(single.inputs, [single.outputs[0], single.outputs[0] * 2])
    write(tmp_path, networks={"encoder": single, "decoder": several})
    model = SavedModel(tmp_path)

    answer, (first, second) = model.run("encoder", inputs), model.run("decoder", inputs)

    np.testing.assert_allclose(answer, single(inputs), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(first, answer)
    np.testing.assert_array_equal(second, 2 * answer)


def test_networks_run_as_in_inference(tmp_path: Path) -> None:
    inputs = np.ones((4, 3), np.float32)
    write(tmp_path, keras.layers.Dropout(0.9))

    np.testing.assert_array_equal(SavedModel(tmp_path).run("encoder", inputs), inputs)


def test_an_altered_network_is_not_run(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "encoder.onnx").write_bytes(b"another")

    with pytest.raises(
        InputError, match=r"encoder\.onnx was changed or damaged after it was saved"
    ):
        SavedModel(tmp_path).run("encoder", np.ones((4, 3), np.float32))


def test_a_network_of_other_inputs_is_refused(tmp_path: Path) -> None:
    write(tmp_path)

    with pytest.raises(InputError, match=r"encoder\.onnx can't be used \("):
        SavedModel(tmp_path).run("encoder", np.ones((4, 2), np.float32))
