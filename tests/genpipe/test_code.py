"""Which commit the code is of."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from genpipe.code import commit


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.example")
    subprocess.run(["git", "-C", folder, *identity, *words], check=True, capture_output=True)


def test_an_image_names_its_commit(tmp_path: Path) -> None:
    assert commit({"GENPIPE_COMMIT": "3f2a91c"}, tmp_path) == "3f2a91c"


@pytest.mark.parametrize("variables", [{}, {"GENPIPE_COMMIT": "unknown"}, {"GENPIPE_COMMIT": ""}])
def test_without_a_checkout_it_is_not_known(variables: dict[str, str], tmp_path: Path) -> None:
    assert commit(variables, tmp_path) == ""


def test_a_checkout_says_its_commit_and_whether_files_differ(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "a.py").write_text("1")
    git(tmp_path, "add", "a.py")
    git(tmp_path, "commit", "-qm", "first")

    clean = commit({}, tmp_path)
    (tmp_path / "a.py").write_text("2")

    assert len(clean) == 8
    assert commit({}, tmp_path) == f"{clean}+"
