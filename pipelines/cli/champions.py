"""``genpipe champions``."""

from __future__ import annotations

import click

CHAMPIONS_EXAMPLES = """
\b
Examples:
  genpipe champions list gs://my-bucket/published
  genpipe champions history gs://my-bucket/published vae
  genpipe champions rollback gs://my-bucket/published vae      to the champion before this one
  genpipe champions rollback published dcgan 20260101-120000-123456-3f2a9c1b
"""


@click.group(epilog=CHAMPIONS_EXAMPLES)
def champions() -> None:
    """List, explain and roll back the published champions.

    TARGET is the model registry: the folder or gs:// prefix given as --publish-to.
    """


@champions.command("list", epilog=CHAMPIONS_EXAMPLES)
@click.argument("target")
def list_champions(target: str) -> None:
    """List the champion of each family."""
    from pipelines.console.champions import open_target, show_champions

    show_champions(open_target(target))


@champions.command("history", epilog=CHAMPIONS_EXAMPLES)
@click.argument("target")
@click.argument("family", required=False, default="")
def champions_history(target: str, family: str) -> None:
    """List every decision, for one FAMILY or for all."""
    from pipelines.console.champions import open_target, show_history

    show_history(open_target(target, family))


@champions.command("rollback", epilog=CHAMPIONS_EXAMPLES)
@click.argument("target")
@click.argument("family")
@click.argument("version", required=False, default="")
def roll_back_champion(target: str, family: str, version: str) -> None:
    """Roll back to an earlier champion.

    VERSION is one that `champions history` names; default: the champion before this one.
    """
    from pipelines.console.champions import roll_back

    decision = roll_back(target, family, version)
    click.echo(f"{decision.cell.name} of run {decision.run} is champion again: {decision.champion}")
