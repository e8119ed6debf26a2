from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from pipelines.cli import main


def commands(command: click.Command, *names: str) -> Iterator[tuple[str, ...]]:
    yield names
    for name, one in getattr(command, "commands", {}).items():
        yield from commands(one, *names, name)


@pytest.mark.parametrize("names", list(commands(main)), ids=" ".join)
def test_help_has_examples_and_cuts_no_sentence_short(
    names: tuple[str, ...],
) -> None:
    shown = CliRunner().invoke(main, [*names, "--help"], terminal_width=80)

    told, *examples = re.split("Examples:|Start here:", shown.output)
    assert shown.exit_code == 0
    assert examples
    assert not [line for line in told.splitlines()[1:] if line.endswith("...")]
    assert not [line for line in shown.output.splitlines() if len(line) > 80]


@pytest.mark.parametrize(
    ("arguments", "incomplete", "told"),
    [
        (["report"], "", ["latest", "fast", "slow"]),
        (["compare", "fast"], "s", ["slow"]),
        (["runs", "remove"], "f", ["fast"]),
        (["run", "--resume"], "la", ["latest"]),
        (["sample"], "slow", ["slow"]),
        (["report", "--runs", "others"], "", ["latest", "else"]),
        (["report", "--runs", "nowhere"], "", []),
        (["report", "--environment", "gke-gpu"], "", []),
    ],
)
def test_a_shell_completes_the_names_of_local_runs(
    arguments: list[str],
    incomplete: str,
    told: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("runs/slow", "runs/fast", "others/else"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "arguments.json").write_text("{}")

    found = ShellComplete(main, {}, "genpipe", "_GENPIPE_COMPLETE").get_completions(
        arguments, incomplete
    )

    assert [item.value for item in found] == told
