"""The terminal, and prose in it."""

from __future__ import annotations

import textwrap
from pathlib import Path

from rich.console import Console
from rich.markup import escape

PROSE_WIDTH = 92
WIDTH_OFF_TERMINAL = 140
# Within what `print_prose` keeps on one line; it prints a space.
NO_BREAK_SPACE = "\xa0"


def open_console(*, stderr: bool = False) -> Console:
    """The terminal; in a file or a pipe, lines are long enough for the leaderboard."""
    console = Console(highlight=False, stderr=stderr)
    if not console.is_terminal:
        console.width = WIDTH_OFF_TERMINAL
    return console


def link(path: Path, text: str = "") -> str:
    """Markup of a path: a link in terminals that have them, the text alone elsewhere."""
    return f"[link={path.absolute().as_uri()}]{escape(text or str(path))}[/link]"


def print_path(path: Path, about: str = "", *, before: str = "", stderr: bool = False) -> None:
    """Print a path on a line of its own, with what is said of it: ``digits.png: 64 images``."""
    told = f"{escape(before)}{link(path)}{escape(f': {about}' if about else '')}"
    open_console(stderr=stderr).print(told, soft_wrap=True)


def print_prose(console: Console, text: str, indent: int = 0) -> None:
    """Print a sentence, indented, in lines that are read with ease; from the second on further."""
    width = min(console.width, PROSE_WIDTH)
    filled = textwrap.fill(text, width, initial_indent="  ", subsequent_indent=" " * (2 + indent))
    console.print(filled.replace(NO_BREAK_SPACE, " "), markup=False, soft_wrap=True)
