"""``genpipe wandb``."""

from __future__ import annotations

from pathlib import Path

import click

from genpipe.tracking.account import SYNC_SECONDS
from genpipe.words import counted
from pipelines.cli.options import chosen_run, of_a_run

WANDB_SYNC_EXAMPLES = """
\b
Examples:
  WANDB_API_KEY=... genpipe wandb sync my-run
  WANDB_API_KEY=... genpipe wandb sync RUN-ID --environment gke-gpu
"""


@click.group(epilog=WANDB_SYNC_EXAMPLES)
def wandb() -> None:
    """Upload W&B data that a run could not send."""


@wandb.command("sync", epilog=WANDB_SYNC_EXAMPLES)
@of_a_run
@click.option(
    "--timeout",
    type=click.IntRange(min=1),
    default=SYNC_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="Stop the upload after this time.",
)
def sync_wandb(run: str, runs: Path, environment: str | None, timeout: int) -> None:
    """Upload the W&B runs of a run's steps that are not on W&B yet.

    RUN is a local run's name or folder, a run's address (gs://, s3://, minio://), or with
    --environment a run's name or id. Default: the latest local run, or with --environment the
    latest on that cluster.
    """
    from pipelines.runs.wandb_sync import sync_wandb as sync

    sent = sync(chosen_run(run, runs, environment).uri, timeout)
    click.echo(f"wandb sync went through {counted(sent, 'run')}")
