"""What README and docs say is there: pages, files, tests, commands, metrics."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pipelines.cli import main
from tests.golden_metrics import metrics_table

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("README.md", "docs/*.md", "deploy/**/*.md", "images/*.md", "tests/**/*.md")
    for path in ROOT.glob(pattern)
)


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def commands(page: str) -> Iterator[list[str]]:
    """The arguments of each `genpipe` command in the page's blocks of code."""
    for block in re.findall(r"^```\w*\n(.*?)^```$", text(page), re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True) if line.startswith("genpipe ") else []
            if words:
                ends = [
                    words.index(word)
                    for word in ("&&", "||", "|", "<<", ">", ">>")
                    if word in words
                ]
                yield [word.strip("[]") for word in words[1 : min(ends, default=None)]]


def parse(command: click.Command, arguments: list[str]) -> None:
    """As the command would read them, without a call."""
    if isinstance(command, click.Group) and arguments and arguments[0] in command.commands:
        parse(command.commands[arguments[0]], arguments[1:])
    else:
        command.make_context(command.name, arguments)


def test_the_pages_are_found() -> None:
    assert {"README.md", "docs/tutorial.md", "deploy/README.md", "images/README.md"} <= set(PAGES)
    assert len([*commands("README.md")]) > 12


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text(page)):
        if not re.match(r"https?:", target):
            path, _, heading = target.partition("#")
            there = (ROOT / page).parent / path if path else ROOT / page
            assert there.exists(), target
            if heading:
                titles = re.findall(r"^#+ (.+)$", there.read_text(encoding="utf-8"), re.M)
                slugs = {re.sub(r"[^\w\- ]", "", one).lower().replace(" ", "-") for one in titles}
                assert heading in slugs, target


@pytest.mark.parametrize("page", PAGES)
def test_the_command_takes_every_command_line(page: str) -> None:
    for arguments in commands(page):
        try:
            parse(main, arguments)
        except click.exceptions.Exit:  # --help
            pass
        except click.ClickException as error:
            pytest.fail(f"genpipe {shlex.join(arguments)}: {error.format_message()}")


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_is_named_is_there(page: str) -> None:
    pattern = r"`((?:genpipe|components|pipelines|deploy|images|docs|tests)/[\w./-]+\w)/?`"
    for path in re.findall(pattern, text(page)):
        assert (ROOT / path).exists() or (ROOT / "tests" / path).exists(), path


def test_every_test_that_is_named_is_there() -> None:
    page = text("docs/reliability.md")
    sources = {path: path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py")}
    written = "\n".join(sources.values())

    named = re.findall(r"`(test_\w+)(…?)[\w…]*`", page)

    assert len(named) > 40
    for name, cut in named:
        assert re.search(rf"^def {name}{'' if cut else chr(92) + 'b'}", written, re.M), name
    for file in re.findall(r"`([\w/]*test_\w+\.py)`", page):
        assert (ROOT / "tests" / file).is_file(), file


def test_the_page_of_metrics_is_the_registrys() -> None:
    assert metrics_table() in text("docs/metrics.md")
