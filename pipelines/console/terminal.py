"""The terminal, and prose in it."""

from __future__ import annotations

import textwrap

from rich.console import Console

PROSE_WIDTH = 92
WIDTH_OFF_TERMINAL = 140


def open_console() -> Console:
    """The terminal; in a file or a pipe, lines are long enough for the leaderboard."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH_OFF_TERMINAL)


def print_prose(console: Console, text: str, indent: int = 0) -> None:
    """Print a sentence, indented, in lines that are read with ease; from the second on further."""
    width = min(console.width, PROSE_WIDTH)
    filled = textwrap.fill(text, width, initial_indent="  ", subsequent_indent=" " * (2 + indent))
    console.print(filled, markup=False, soft_wrap=True)
