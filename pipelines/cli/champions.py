"""``genpipe champions``."""

from __future__ import annotations

import click

from pipelines.cli.options import output_format, print_json

LIST = "  genpipe champions list gs://my-bucket/published\n"
HISTORY = "  genpipe champions history gs://my-bucket/published vae\n"
ROLLBACK = """\
  genpipe champions rollback gs://my-bucket/published vae    to the one before
  genpipe champions rollback published dcgan 20260101-120000-123456-3f2a9c1b
"""
EXAMPLES = "\b\nExamples:\n"


@click.group(
    epilog=EXAMPLES + LIST + HISTORY + ROLLBACK,
    short_help="List, explain and roll back published champions.",
)
def champions() -> None:
    """List and roll back published champions, and show the decisions behind them.

    REGISTRY is the model registry that runs publish to (--publish-to): a folder or gs:// prefix.
    """


@champions.command("list", epilog=EXAMPLES + LIST)
@click.argument("target", metavar="REGISTRY")
@output_format
def list_champions(target: str, output: str) -> None:
    """List the champion of each family.

    REGISTRY is the model registry that runs publish to (--publish-to): a folder or gs:// prefix.
    """
    from pipelines.console.champions import champion_facts, open_target, show_champions

    found = open_target(target)
    if output == "json":
        print_json({"champions": [champion_facts(champions) for champions in found]})
    else:
        show_champions(found)


@champions.command("history", epilog=EXAMPLES + HISTORY)
@click.argument("target", metavar="REGISTRY")
@click.argument("family", required=False, default="")
@output_format
def champions_history(target: str, family: str, output: str) -> None:
    """List every decision, for one FAMILY or for all.

    REGISTRY is the model registry that runs publish to (--publish-to): a folder or gs:// prefix.
    """
    from pipelines.console.champions import decision_facts, decisions_of, open_target, show_history

    decisions = decisions_of(open_target(target, family))
    if output == "json":
        print_json({"decisions": [decision_facts(decision) for decision in decisions]})
    else:
        show_history(decisions)


@champions.command("rollback", epilog=EXAMPLES + ROLLBACK)
@click.argument("target", metavar="REGISTRY")
@click.argument("family")
@click.argument("version", required=False, default="")
def roll_back_champion(target: str, family: str, version: str) -> None:
    """Roll back to an earlier champion.

    REGISTRY is the model registry that runs publish to (--publish-to): a folder or gs:// prefix.
    VERSION is one that `champions history` lists. Default: the champion before this one.
    """
    from pipelines.console.champions import roll_back

    decision = roll_back(target, family, version)
    click.echo(f"{decision.cell.name} of run {decision.run} is champion again: {decision.champion}")
