"""``genpipe schedule``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.options import (
    confirm_targets,
    no_preflight,
    on_environment,
    output_format,
    print_json,
    print_table,
    warn,
    without_asking,
)

if TYPE_CHECKING:
    from pipelines.cluster.schedules import Schedules


SCHEDULE_EXAMPLES = """
\b
Examples:
  genpipe schedule apply deploy/schedules --environment mine.yaml --dry-run
  genpipe schedule apply deploy/schedules/weekly.yaml --environment mine.yaml
  genpipe schedule list --environment mine.yaml
  genpipe schedule trigger weekly --environment mine.yaml    one run now
  genpipe schedule pause weekly --environment mine.yaml      until `resume`
"""


@click.group(epilog=SCHEDULE_EXAMPLES)
def schedule() -> None:
    """Run the pipeline on a cluster on a schedule.

    A schedule is a YAML file; deploy/schedules has examples.
    """


@schedule.command("apply", epilog=SCHEDULE_EXAMPLES)
@click.argument("path", metavar="FILE|FOLDER", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--environment",
    metavar="FILE",
    help="Environment of schedules that name none: a file, or the name of one in "
    "deploy/environments.",
)
@click.option("--tag", help="Image tag to use instead of those in the environment files.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Show what would be done. Where the cluster can't be reached, check all that needs none.",
)
@no_preflight
@without_asking
def apply_schedules(
    path: Path,
    environment: str | None,
    tag: str | None,
    dry_run: bool,
    no_preflight: bool,
    yes: bool,
) -> None:
    """Create or update schedules on the cluster from a file or folder.

    Unchanged schedules are left alone, and so are schedules that others made. A changed schedule
    becomes a new recurring run; the old one is disabled, and deleted once none of its runs is in
    flight (by the next apply, if need be). As `submit` does, it first checks access to the runs'
    gs:// buckets, and for an environment that comes with the package and was not edited asks
    whether that is your cluster.
    """
    from pipelines.cluster.schedule_files import read_schedules
    from pipelines.cluster.schedules import apply
    from pipelines.preflight import check_cluster, check_settings

    targets = read_schedules(path, environment, tag)
    for schedule, target in targets:
        target.refuse_placeholders()
        check_settings(target, schedule.parameters_in(target))
    for schedule, target in targets if not no_preflight else []:
        check_cluster(target, schedule.parameters_in(target), warn)
    if not dry_run:
        confirm_targets([target for _, target in targets], yes)
    for line in apply(targets, dry_run=dry_run):
        click.echo(line)


@schedule.command("list", epilog=SCHEDULE_EXAMPLES)
@on_environment
@output_format
def list_schedules(environment: str, output: str) -> None:
    """List a cluster's schedules: next run, states of the last ones."""
    headings, *rows = _schedules(environment).overview()
    if output == "json":
        print_json({"schedules": [_facts(row) for row in rows]})
    elif rows:
        print_table([headings, *rows])
    else:
        click.echo("no schedules there: `genpipe schedule apply FILE` makes one")


@schedule.command(epilog=SCHEDULE_EXAMPLES)
@click.argument("name")
@on_environment
def pause(name: str, environment: str) -> None:
    """Start no more runs of a schedule; those in flight go on."""
    cluster = _schedules(environment)
    enabled = [one for one in cluster.named(name) if one.enabled]
    for one in enabled:
        click.echo(cluster.switch(one, on=False))
    click.echo(f"{name} is paused{'' if enabled else ' already'}; apply enables it again, unless")
    click.echo("its file says enabled: false")


@schedule.command(epilog=SCHEDULE_EXAMPLES)
@click.argument("name")
@on_environment
def resume(name: str, environment: str) -> None:
    """Start runs of a paused schedule again.

    If runs were missed, the last of them starts at once (each of them with catch_up).
    """
    cluster = _schedules(environment)
    current = cluster.named(name)[0]
    done = "enabled already" if current.enabled else cluster.switch(current, on=True)
    click.echo(f"{name}: {done}")


@schedule.command(epilog=SCHEDULE_EXAMPLES)
@click.argument("name")
@on_environment
def delete(name: str, environment: str) -> None:
    """Delete a schedule.

    While its runs are in flight it is only disabled, since deleting it would end them.
    """
    _schedules(environment).delete(name)
    click.echo(f"deleted {name}")


@schedule.command(epilog=SCHEDULE_EXAMPLES)
@click.argument("name")
@on_environment
def trigger(name: str, environment: str) -> None:
    """Start one run of a schedule now, paused or not."""
    cluster = _schedules(environment)
    run = cluster.trigger(cluster.named(name)[0])
    click.echo(f"started run {run.display_name} ({run.run_id})")


def _facts(row: Sequence[str]) -> dict[str, Any]:
    name, state, cron, following, version, last = ("" if text == "-" else text for text in row)
    return {
        "name": name,
        "state": state,
        "cron": cron,
        "next_run": following or None,
        "version": version,
        "last_runs": last.split(),
    }


def _schedules(environment: str) -> Schedules:
    from pipelines.cluster.schedules import Schedules
    from pipelines.environments import Environment

    return Schedules(Environment.read(environment))
