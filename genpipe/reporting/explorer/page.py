"""The explorer as a page of its own, and as a part of the report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from genpipe.reporting.templates import open_template

FOLDER = Path(__file__).parent


def explorer_page(cell: Mapping[str, Any]) -> str:
    """Write the page of one cell.

    Args:
        cell: what ``decode_planes`` makes of it.

    Returns:
        An HTML document that loads nothing from anywhere.
    """
    return open_template(FOLDER / "page.html.j2").render(
        title=cell["title"], cell=cell, explorer=explorer([cell])
    )


def empty_page(title: str, reason: str) -> str:
    """Write the page of a cell without a model: its title, and the reason."""
    return open_template(FOLDER / "page.html.j2").render(title=title, cell=None, reason=reason)


def explorer(cells: Sequence[Mapping[str, Any]]) -> Markup:
    """The explorer of one or several cells, as a part of a page.

    Args:
        cells: what ``decode_planes`` makes of them, in the order to choose from.
    """
    return Markup(
        open_template(FOLDER / "explorer.html.j2").render(
            cells=cells,
            style=Markup((FOLDER / "explorer.css").read_text(encoding="utf-8")),
            script=Markup((FOLDER / "explorer.js").read_text(encoding="utf-8")),
        )
    )


def cells_that_fit(cells: Sequence[Mapping[str, Any]], room: int) -> list[Mapping[str, Any]]:
    """The cells that fit a page together, earlier ones first.

    Args:
        cells: what ``decode_planes`` makes of them, those that matter most first.
        room: how many bytes they may take.
    """
    chosen = []
    for cell in cells:
        size = len(json.dumps(cell))
        if size <= room:
            chosen.append(cell)
            room -= size
    return chosen
