"""The model artifact: networks, ``model.json`` and ``history.csv`` in one folder.

Each network lies there twice: as ``.keras``, to train it further or to build on it, and as
``.onnx``, which the steps after training run without TensorFlow.

``model.json`` holds what a reader needs to rebuild and check the model without the training
code: family, latent size, settings, seed, data digest, package version, digests of the weights
and of the files, and how the training ended. Other steps open models here and nowhere else.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import json
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genpipe.cells import Cell, Status
from genpipe.data.dataset import RESCALINGS, Rescaling, file_digest
from genpipe.documents import parse_document
from genpipe.errors import InputError, StepError

if TYPE_CHECKING:
    import keras

JUDGE = "judge"
# Names in ``model.json`` that hold objects.
SECTIONS = ("data", "settings", "training", "environment", "metrics", "files")
# A DCGAN's activations for 1,000 images are 1.1 GB, and no faster.
BATCH = 200


class SavedModel:
    """A trained model, read lazily from its folder.

    Attributes:
        folder: where it lies.
        metadata: the contents of ``model.json``.

    Raises:
        InputError: the folder holds no ``model.json`` or one that is not readable.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._sessions: dict[str, Any] = {}
        path = self.folder / "model.json"
        try:
            self.metadata: dict[str, Any] = parse_document(path.read_bytes(), *SECTIONS)
            self.family: str = str(self.metadata["family"])
            self.status = Status(self.metadata["status"])
        except FileNotFoundError:
            raise InputError(
                f"{path} does not exist: give the model folder of a train or judge step"
            ) from None
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{path} is not a model description: {error}") from None

    @property
    def cell(self) -> Cell:
        """The cell the model belongs to.

        Raises:
            InputError: it belongs to none, as the judge does.
        """
        if "latent_size" not in self.metadata:
            found = f"a {self.family!r} model without a latent size"
            if self.family == JUDGE:
                found = "the judge (the classifier used for scoring)"
            raise InputError(
                f"{self.folder} contains {found}, not a generative model: give a train step's "
                "model folder"
            )
        return Cell.parse(self.metadata)

    @property
    def complete(self) -> bool:
        """Whether the training came to its end; a diverged model has no weights."""
        return self.status is Status.COMPLETE

    @property
    def rescaling(self) -> Rescaling:
        """From pixels to what its networks read and make."""
        return RESCALINGS[self.cell.family.rescaling]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the images that its encoder reads.

        Raises:
            InputError: it has no encoder.
        """
        height, width, channels = self._session(self.cell.family.encoder).get_inputs()[0].shape[1:]
        return height, width, channels

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """(n, height, width, channels) uint8 images to (n, latent_size) float32 codes.

        Of a variational family the means of their posteriors.
        """
        encoded = self.run(self.cell.family.encoder, self.rescaling.apply(np.asarray(pixels)))
        codes: np.ndarray = encoded[0] if self.cell.family.variational else encoded
        return codes

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """(n, latent_size) float32 codes to (n, height, width, channels) uint8 images."""
        return self.rescaling.inverse(self.run(self.cell.family.decoder, codes))

    def history(self) -> dict[str, list[float]]:
        """The columns of ``history.csv``."""
        with (self.folder / "history.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return {name: [float(row[name]) for row in rows] for name in rows[0]} if rows else {}

    def run(self, part: str, inputs: np.ndarray) -> Any:
        """Run one network over many inputs, without TensorFlow: its import takes seconds.

        Args:
            part: ``encoder``, ``decoder``, ``generator``, ``discriminator``, ``classifier`` or
                ``judge``, the classifier with its features.
            inputs: (n, ...) float32, as the network reads them.

        Returns:
            The network's output, (n, ...) float32; a list of them where it has several.

        Raises:
            InputError: as ``part`` does, or the network reads inputs of another shape.
        """
        session = self._session(part)
        name = session.get_inputs()[0].name
        try:
            batches = [
                session.run(None, {name: inputs[first : first + BATCH]})
                for first in range(0, len(inputs), BATCH)
            ]
        except Exception as error:  # its errors have no class of their own
            raise _unusable(self.folder / f"{part}.onnx", error) from error
        outputs = [np.concatenate(parts) for parts in zip(*batches, strict=True)]
        return outputs if len(outputs) > 1 else outputs[0]

    def part(self, name: str) -> keras.Model:
        """One network of the model: ``encoder``, ``decoder``, ``generator`` and so on.

        Raises:
            InputError: the model has no such part, its file is not the one that was saved, or it
                is not safe to load.
        """
        path = self._file(f"{name}.keras")
        import keras

        import genpipe.families.layers  # noqa: F401  (registers our layers)

        try:
            _refuse_bomb(path)
            return keras.saving.load_model(path, compile=False, safe_mode=True)
        except Exception as error:  # Keras raises anything of a file that only looks like its own
            raise _unusable(path, error) from error

    def _session(self, part: str) -> Any:
        if part not in self._sessions:
            path = self._file(f"{part}.onnx")
            import onnxruntime

            # Threads that spin while they wait take the cores from a step that runs beside: two
            # generators draw 1,000 images each in 1.2 s instead of 1.9 s, one alone in 1.0 s
            # instead of 0.9 s.
            options = onnxruntime.SessionOptions()
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            try:
                self._sessions[part] = onnxruntime.InferenceSession(path, options)
            except Exception as error:  # its errors have no class of their own
                raise _unusable(path, error) from error
        return self._sessions[part]

    def _file(self, name: str) -> Path:
        """A file of the model, after its digest was checked."""
        path = self.folder / name
        expected = self.metadata.get("files", {}).get(name)
        if expected is None:
            raise InputError(f"{self.folder / 'model.json'} lists no {name}")
        found = file_digest(path) if path.is_file() else "no such file"
        if found != expected:
            raise InputError(
                f"{path} was changed or damaged after it was saved (found {found}, "
                f"expected checksum {expected}): train the model again"
            )
        return path

    @cached_property
    def encoder(self) -> keras.Model:
        """(n, 28, 28, 1) in [0, 1] to codes, or for the VAE to [z_mean, z_log_var]."""
        return self.part("encoder")

    @cached_property
    def decoder(self) -> keras.Model:
        """Codes to (n, 28, 28, 1) in [0, 1]."""
        return self.part("decoder")

    @cached_property
    def generator(self) -> keras.Model:
        """Noise to (n, 28, 28, 1) in [-1, 1]."""
        return self.part("generator")

    @cached_property
    def discriminator(self) -> keras.Model:
        """(n, 28, 28, 1) in [-1, 1] to the probability of being real, (n, 1)."""
        return self.part("discriminator")

    @cached_property
    def classifier(self) -> keras.Model:
        """(n, 28, 28, 1) in [0, 1] to class probabilities, (n, classes); the judge's."""
        return self.part("classifier")


def save(
    folder: Path,
    *,
    family: str,
    status: Status,
    networks: Mapping[str, keras.Model],
    history: Sequence[Mapping[str, float]],
    metadata: Mapping[str, Any],
) -> dict[str, Any]:
    """Write a model folder; ``model.json`` comes last, so that a torn folder is never a model.

    Args:
        folder: made if it does not exist.
        family: the model family, or ``judge``.
        status: how the training ended; nothing but ``complete`` has networks.
        networks: by the name they are opened with.
        history: one row a logged point, all with the same names.
        metadata: what else ``model.json`` holds.

    Returns:
        The contents of ``model.json``.

    Raises:
        StepError: the folder can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files, weights = {}, hashlib.sha256()
        for name, network in sorted(networks.items()):
            network.save(folder / f"{name}.keras")
            _export(network, folder / f"{name}.onnx")
            for path in sorted(folder.glob(f"{name}.*")):
                files[path.name] = file_digest(path)
            for array in network.get_weights():
                weights.update(np.ascontiguousarray(array).tobytes())
        write_history(folder / "history.csv", history)
        contents = {
            "family": family,
            "status": status.value,
            **metadata,
            "version": importlib.metadata.version("genpipe"),
            "weights_digest": f"sha256:{weights.hexdigest()}" if networks else None,
            "files": files,
        }
        text = json.dumps(contents, indent=2, allow_nan=False)
        (folder / "model.json").write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        reason = error.strerror or error
        raise StepError(f"the model could not be written to {folder}: {reason}") from error
    return contents


def _refuse_bomb(path: Path) -> None:
    """Refuse an archive that grows when it is unpacked: Keras stores its files as they are."""
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > path.stat().st_size:
        raise ValueError(f"it would take up {size:,} bytes, more than the file itself")


def _unusable(path: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"{path} can't be used ({reason}): train the model again")


def _export(network: keras.Model, path: Path) -> None:
    """Write a network as ONNX; the size of a batch stays open."""
    import keras

    signature = [keras.InputSpec(shape=network.input_shape, dtype="float32", name="input")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # Keras looks for np.object
        network.export(path, format="onnx", verbose=False, input_signature=signature)


def write_history(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write the history as CSV with full float precision."""
    with path.open("w", encoding="utf-8", newline="") as file:
        if not rows:
            return
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
