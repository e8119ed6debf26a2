"""The explorer as a page of its own, and as a part of the report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from genpipe.documents import parse_document
from genpipe.reporting.results import Result, file_of
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


def explorer(cells: Sequence[Mapping[str, Any]], opened: str = "") -> Markup:
    """The explorer of one or several cells, as a part of a page.

    Args:
        cells: what ``decode_planes`` makes of them, in the order to choose from.
        opened: name of the cell that it opens on; empty for the first.
    """
    return Markup(
        open_template(FOLDER / "explorer.html.j2").render(
            cells=cells,
            opened=opened,
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


def explorers_that_fit(
    results: Sequence[Result], matter: Sequence[Result], room: int
) -> tuple[list[Mapping[str, Any]], list[str]]:
    """The explorers that the page has room for, and the names of the cells it has none for.

    Args:
        results: all cells, in the order to show them.
        matter: the cells that come first, the first first; after them come the small ones.
        room: how many bytes they may take.
    """
    cells = [cell for result in results if (cell := _read_explorer(result))]
    first = [result.best_training.cell.name for result in matter]

    def place(cell: Mapping[str, Any]) -> tuple[int, int]:
        name = cell["cell"]
        return first.index(name) if name in first else len(first), len(json.dumps(cell))

    order = sorted(cells, key=place)
    fit = {cell["cell"] for cell in cells_that_fit(order, room)}
    return (
        [cell for cell in cells if cell["cell"] in fit],
        [cell["cell"] for cell in cells if cell["cell"] not in fit],
    )


def _read_explorer(result: Result) -> dict[str, Any] | None:
    """The cell as ``evaluate`` decoded it, if it did; a damaged file must not cost the report."""
    path = file_of(result, "explorer.json")
    try:
        cell = parse_document(path.read_bytes()) if path else {}
    except (OSError, ValueError):
        return None
    whole = isinstance(cell.get("title"), str) and isinstance(cell.get("planes"), list)
    return cell if whole and cell.get("cell") == result.best_training.cell.name else None
