"""What the commands share: options, values, exit statuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from genpipe.errors import InputError
from genpipe.families.registry import all_families
from genpipe.families.spec import TYPES, FamilySpec, Settings, describe
from pipelines.cli.completion import complete_run
from pipelines.settings import LATEST

if TYPE_CHECKING:
    from pipelines.environments import Environment
    from pipelines.runs.find import FoundRun

EXIT_FAILURE = 1

EXIT_USAGE = 2

EXIT_TIMED_OUT = 3

EXIT_INTERRUPTED = 130


on_environment = click.option(
    "--environment",
    required=True,
    metavar="FILE",
    help="Where it runs: a file, or the name of one in deploy/environments.",
)


wait_limit = click.option(
    "--timeout", type=click.IntRange(min=1), metavar="SECONDS", help="Stop waiting after this time."
)


with_tag = click.option(
    "--tag", help="Image tag to use instead of the one in the environment file."
)


no_cache = click.option(
    "--no-cache", is_flag=True, help="Run every step again; don't use the cache of earlier runs."
)


no_preflight = click.option(
    "--no-preflight",
    is_flag=True,
    help="Skip the access check of the run's gs:// buckets.",
)


def settings_of_families(command: Any) -> Any:
    """An option for each setting that any family has."""
    owners: dict[str, list[FamilySpec]] = {}
    for family in all_families().values():
        for name in (*family.fields, "precision", "seed"):
            owners.setdefault(name, []).append(family)
    for name, families in reversed(owners.items()):
        setting = next(
            one for one in (*fields(Settings), *fields(families[0].settings)) if one.name == name
        )
        whose = "" if len(families) == len(all_families()) else ", ".join(f.label for f in families)
        about = describe(setting)
        about = f"{whose}: {about}." if whose else f"{about[0].upper()}{about[1:]}."
        kind = TYPES.get(str(setting.type), setting.type)
        command = click.option(f"--{name.replace('_', '-')}", name, type=kind, help=about)(command)
    return command


runs_folder = click.option(
    "--runs",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder that local runs are kept in.",
)


def of_a_run(command: Any) -> Any:
    """The argument and options that name a run, here or in a bucket; the newest by default."""
    for decorate in (
        click.option(
            "--environment", metavar="FILE", help="Look RUN up on this cluster, by name or id."
        ),
        runs_folder,
        click.argument("run", default=LATEST, shell_complete=complete_run),
    ):
        command = decorate(command)
    return command


without_asking = click.option("--yes", is_flag=True, help="Don't ask; for scripts.")


output_format = click.option(
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="json: for programs, as docs/scripting.md describes it.",
)


def chosen_run(run: str, runs: Path, environment: str | None) -> FoundRun:
    """Find a run (see ``find_run``); if it is not finished, the command ends by saying so.

    What the command refuses says so itself.
    """
    from pipelines.runs.find import find_run

    found = find_run(run, runs, environment)

    def say() -> None:
        if found.unfinished and not sys.exception():
            warn(found.unfinished)

    click.get_current_context().call_on_close(say)
    return found


def confirm(question: str, yes: bool) -> None:
    """Ask, unless ``yes`` is the answer already.

    Raises:
        InputError: there is nobody to ask.
        click.Abort: the answer is no.
    """
    if yes:
        return
    if not (sys.stdin and sys.stdin.isatty()):
        raise InputError(f"{question} There is no terminal to ask on: add --yes")
    click.confirm(question, abort=True)


def confirm_targets(targets: Iterable[Environment], yes: bool) -> None:
    """Say where something is sent, and ask about an environment that nobody has edited.

    Raises:
        InputError: there is nobody to ask.
        click.Abort: the answer is no.
    """
    for target in {target.name: target for target in targets if target.api}.values():
        assert target.api
        there = f"{target.api.host}, namespace {target.api.namespace}"
        warn(f"to {target.name}: {there}, experiment {target.experiment}")
        if target.is_example:
            confirm(
                f"{target.name} is an example that nobody has edited. Is this your cluster?", yes
            )


def print_json(document: Any) -> None:
    """Print a document as JSON, and nothing else."""
    click.echo(json.dumps(document, indent=2))


def target_of(environment: str, tag: str | None) -> Any:
    """The environment that a command names, with the images of another tag if it gives one."""
    from pipelines.environments import Environment

    target = Environment.read(environment)
    return target if tag is None else target.with_tag(tag)


def warn(text: str) -> None:
    """Say something beside what a command prints."""
    click.echo(text, err=True)


def browse(page: Path) -> None:
    """Open a page in the browser, and say where it is."""
    import webbrowser

    from pipelines.console.terminal import print_path

    print_path(page)
    if not webbrowser.open(page.as_uri()):
        click.echo("no browser on this machine: open that file in one elsewhere", err=True)


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows with each column as wide as its longest text, for people and for `awk`."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())
