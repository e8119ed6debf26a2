"""Paths in the terminal."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from pipelines.console.terminal import link


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
