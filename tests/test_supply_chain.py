"""What comes from others: pinned by its digest, never run as code, and no key of ours in it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [
    path for name in ("genpipe", "components", "pipelines") for path in (ROOT / name).rglob("*.py")
]
# Reads arrays and nothing else (see ``_ArrayUnpickler``).
RESTRICTED = "genpipe/data/readers/wheel.py"
# What makes a call safe; None where nothing does.
UNSAFE: dict[str, str | None] = {
    "pickle.load": None,
    "pickle.loads": None,
    "joblib.load": None,
    "torch.load": None,
    "marshal.loads": None,
    "yaml.load": None,
    "yaml.unsafe_load": None,
    "np.load": "allow_pickle=False",
    "numpy.load": "allow_pickle=False",
    "keras.saving.load_model": "safe_mode=True",
    "keras.models.load_model": "safe_mode=True",
}
FORBIDDEN = ("joblib", "torch", "marshal", "shelve", "dill", "cloudpickle")


def unsafe(text: str) -> Iterator[str]:
    """The calls of a source that run what a file says, and imports that are for nothing else."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            given = {f"{one.arg}={ast.unparse(one.value)}" for one in node.keywords}
            if name in UNSAFE and UNSAFE[name] not in given:
                yield name
        elif isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name in (*FORBIDDEN, "pickle"))
        elif isinstance(node, ast.ImportFrom) and node.module in (*FORBIDDEN, "pickle"):
            yield str(node.module)


def test_no_file_of_others_is_read_as_code() -> None:
    found = {path.relative_to(ROOT).as_posix(): list(unsafe(path.read_text())) for path in SOURCES}

    assert found.pop(RESTRICTED) == ["pickle"]  # the import alone
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("import pickle\npickle.load(file)", ["pickle", "pickle.load"]),
        ("from joblib import load", ["joblib"]),
        ("np.load(path)", ["np.load"]),
        ("np.load(path, allow_pickle=True)", ["np.load"]),
        ("np.load(path, allow_pickle=False)", []),
        ("keras.saving.load_model(path)", ["keras.saving.load_model"]),
        ("yaml.safe_load(text)", []),
    ],
)
def test_what_would_run_code_is_seen(text: str, names: list[str]) -> None:
    assert list(unsafe(text)) == names


def test_every_requirement_of_the_lock_has_a_version_and_a_hash() -> None:
    """Those of the images: `images/test_image_files.py`."""
    entries = re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text().strip())

    assert len(entries) > 150
    for entry in entries:
        assert re.match(r"[a-z0-9._-]+(\[[a-z,-]+\])?==\S+", entry), entry
        assert re.search(r"^ +--hash=sha256:[0-9a-f]{64}", entry, re.M), entry


def scan(*files: Path) -> subprocess.CompletedProcess[str]:
    """What `make secrets` does, over a few files."""
    command = [Path(sys.executable).with_name("detect-secrets-hook"), "--baseline"]
    arguments = [*command, ROOT / ".secrets.baseline", *files]
    return subprocess.run([*map(str, arguments)], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize(
    "key",
    [
        "AKIA" + "Z7QJ4WXEVN2K5TRB",
        "-----BEGIN RSA " + "PRIVATE KEY-----",
        "wandb_api_key = '" + "4f1d" + "9c27ab830e65d2f4b7a19083ce5d64f2b1a7'",
    ],
    ids=["AWS", "private key", "W&B"],
)
def test_a_key_that_was_left_in_a_file_is_found(key: str, tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text(f"{key}\n")

    found = scan(tmp_path / "settings.py")

    assert found.returncode == 1
    assert "settings.py" in found.stdout


def test_what_is_no_key_is_not_called_one() -> None:
    code = ROOT / "genpipe" / "tracking" / "account.py"
    assert scan(ROOT / "requirements.lock", code).returncode == 0
