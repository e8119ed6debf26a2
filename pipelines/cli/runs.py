"""``genpipe runs``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from pipelines.cli.completion import complete_run
from pipelines.cli.options import (
    confirm,
    output_format,
    print_json,
    print_table,
    runs_folder,
    warn,
    without_asking,
)

EXAMPLES = """
\b
Examples:
  genpipe runs                              those of this machine
  genpipe runs --environment cluster-cpu
  genpipe runs --environment gke-gpu --limit 50
  genpipe runs --output json | jq '.runs[0].name'
  genpipe runs remove first-try slow-vae    with their part of the cache
"""

REMOVE_EXAMPLES = """
\b
Examples:
  genpipe runs remove first-try slow-vae
  genpipe runs remove latest --yes
"""


@click.group("runs", epilog=EXAMPLES, invoke_without_command=True)
@click.option(
    "--environment",
    metavar="FILE",
    help="List the runs of this cluster's experiment, not those of this machine.",
)
@runs_folder
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Number of runs to list.",
)
@output_format
@click.pass_context
def list_runs(
    context: click.Context, environment: str | None, runs: Path, limit: int, output: str
) -> None:
    """List runs, of this machine or of a cluster, or remove some."""
    if context.invoked_subcommand:
        return
    if environment:
        _list_cluster_runs(environment, limit, output)
        return
    from pipelines.runs.listing import list_local_runs

    found = list_local_runs(runs, limit)
    if output == "json":
        print_json({"runs": [run.to_dict() for run in found]})
        return
    rows = [
        (
            run.name,
            run.state,
            f"{run.began:%Y-%m-%d %H:%M}",
            run.done,
            _size(run.size),
            ", ".join(run.best),
        )
        for run in found
    ]
    if not rows:
        click.echo(f"no runs yet in {runs}: `genpipe run --quick` makes one")
        return
    print_table([("run", "state", "started", "done", "size", "best of each family"), *rows])
    if any(run.state in ("failed", "interrupted") for run in found):
        warn("`genpipe run --resume RUN` goes on with one that failed or was interrupted")


@list_runs.command("remove", epilog=REMOVE_EXAMPLES)
@click.argument("names", nargs=-1, required=True, metavar="RUN...", shell_complete=complete_run)
@runs_folder
@without_asking
def remove_runs(names: Sequence[str], runs: Path, yes: bool) -> None:
    """Remove runs of this machine, and what only they use of the cache.

    RUN is a run's name or folder, or latest. What other runs took from the cache stays, and so does
    what was uploaded or published.
    """
    from pipelines.runs.removal import plan_removal

    removal = plan_removal(names, runs)
    what = ", ".join(folder.name for folder in removal.runs)
    size = _size(removal.size)
    confirm(f"Remove {what} and what only {_they(removal.runs)} of the cache ({size})?", yes)
    removal.carry_out()
    click.echo(f"removed {what}: {size} freed")


def _they(runs: Sequence[Path]) -> str:
    return "it uses" if len(runs) == 1 else "they use"


def _size(count: int) -> str:
    return f"{count / 1e6:,.0f} MB" if count >= 1e6 else "<1 MB"


def _list_cluster_runs(environment: str, limit: int, output: str) -> None:
    from itertools import islice

    from pipelines.cluster.api import connect
    from pipelines.cluster.runs import list_runs, state_of
    from pipelines.environments import Environment

    target = Environment.read(environment)
    found = list(islice(list_runs(connect(target), target), limit))
    if output == "json":
        known = [
            {
                "name": run.display_name,
                "id": run.run_id,
                "state": state_of(run),
                "started": run.created_at.isoformat() if run.created_at else None,
            }
            for run in found
        ]
        print_json({"runs": known})
        return
    print_table(
        [
            (
                run.display_name,
                run.run_id,
                state_of(run),
                f"{run.created_at.astimezone():%Y-%m-%d %H:%M}" if run.created_at else "",
            )
            for run in found
        ]
    )
    if not found:
        where = f"experiment {target.experiment} of {target.name}"
        how = f"genpipe submit --environment {shlex.quote(environment)}"
        click.echo(f"no runs yet in {where}: `{how}` starts one")
