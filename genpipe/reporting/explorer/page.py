"""The explorer as a page of its own, and as a part of the report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from genpipe.reporting.templates import open_template

FOLDER = Path(__file__).parent


def explorer_page(pack: Mapping[str, Any]) -> str:
    """Write the page of one cell.

    Args:
        pack: the cell, as ``pack_cell`` packs it.

    Returns:
        An HTML document that loads nothing from anywhere.
    """
    return open_template(FOLDER / "page.html.j2").render(pack=pack, explorer=explorer([pack]))


def empty_page(title: str, reason: str) -> str:
    """Write the page of a cell that has no network: its title, and the reason."""
    return open_template(FOLDER / "page.html.j2").render(
        pack={"title": title, "reason": reason}, explorer=""
    )


def explorer(packs: Sequence[Mapping[str, Any]]) -> Markup:
    """The explorer of one or several cells, as a part of a page.

    Args:
        packs: as ``pack_cell`` packs them, in the order to choose from; the first is shown.
    """
    return Markup(
        open_template(FOLDER / "explorer.html.j2").render(
            packs=packs,
            style=Markup((FOLDER / "explorer.css").read_text(encoding="utf-8")),
            script=Markup((FOLDER / "explorer.js").read_text(encoding="utf-8")),
        )
    )


def packs_that_fit(packs: Sequence[Mapping[str, Any]], room: int) -> list[Mapping[str, Any]]:
    """The cells that fit a page together, those before that come first.

    Args:
        packs: as ``pack_cell`` packs them, those that matter most first.
        room: how many bytes they may take.
    """
    chosen = []
    for pack in packs:
        size = len(json.dumps(pack))
        if size <= room:
            chosen.append(pack)
            room -= size
    return chosen
