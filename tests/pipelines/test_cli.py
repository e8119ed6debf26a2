from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from pipelines.cli import main


def commands(command: click.Command, *names: str) -> Iterator[tuple[str, ...]]:
    yield names
    for name, one in getattr(command, "commands", {}).items():
        yield from commands(one, *names, name)


@pytest.mark.parametrize("names", commands(main), ids=" ".join)
def test_help_has_examples_and_cuts_no_sentence_short(
    names: tuple[str, ...],
) -> None:
    shown = CliRunner().invoke(main, [*names, "--help"], terminal_width=80)

    told, *examples = re.split("Examples:|Start here:", shown.output)
    assert shown.exit_code == 0
    assert examples
    assert not [line for line in told.splitlines()[1:] if line.endswith("...") or len(line) > 80]
