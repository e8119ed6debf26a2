"""Words around numbers, and texts of others."""

from __future__ import annotations


def counted(number: int, thing: str) -> str:
    """``1 cell``, ``2,000 cells``: a number and what it counts, given in the singular."""
    return f"{number:,} {plural(thing, number)}"


def plural(thing: str, number: int) -> str:
    """What a number counts, given in the singular: ``cell`` of 1, else ``cells``."""
    return thing if number == 1 else f"{thing}s"


def one_line(text: object, longest: int = 300) -> str:
    """A text without line breaks, abridged at its end."""
    line = " ".join(str(text).split())
    return line if len(line) <= longest else f"{line[: longest - 3]}..."
