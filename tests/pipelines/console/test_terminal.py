"""Paths in the terminal."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from pipelines.console.terminal import link, print_path


def test_a_path_is_a_link_in_a_terminal_and_itself_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "my [bold] run" / "report.html"

    def printed(terminal: bool) -> str:
        file = io.StringIO()
        Console(file=file, force_terminal=terminal, highlight=False).print(
            link(path), soft_wrap=True
        )
        return file.getvalue()

    assert printed(terminal=False) == f"{path}\n"
    shown = printed(terminal=True)
    assert f";{path.as_uri()}\x1b\\{path}\x1b]8;;" in shown


def test_what_is_said_of_a_path_stands_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a [red] folder" / "digits.png"

    print_path(path, "64 [images]", before="VAE [10]: ")

    assert capsys.readouterr().out == f"VAE [10]: {path}: 64 [images]\n"
