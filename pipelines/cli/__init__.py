"""The ``genpipe`` command: a thin layer over the modules of ``pipelines``.

Heavy modules are imported inside the commands that need them, so that help answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

import click

from genpipe.errors import InputError, expected_message
from pipelines.cli.artifacts import artifacts
from pipelines.cli.champions import champions
from pipelines.cli.cluster import follow, logs, retry, stop, submit
from pipelines.cli.completion import completion
from pipelines.cli.local import compile_pipeline, list_parameters, run, train
from pipelines.cli.models import encode, reconstruct, sample
from pipelines.cli.options import EXIT_FAILURE, EXIT_USAGE
from pipelines.cli.results import compare, leaderboard, report
from pipelines.cli.runs import list_runs
from pipelines.cli.schedule import schedule
from pipelines.cli.wandb import wandb

START = """
\b
Start here:
  genpipe run --quick      a first look: two models, short training
  genpipe run              all three families at latent sizes 2, 10 and 100
                           (about 9 minutes on 2 cores)
  genpipe run --full       as long as in the original publications
                           (about 40 minutes)
  genpipe report           leaderboard, curves and samples of the latest run
  genpipe submit --help    the same on a cluster
"""


COMMANDS: Mapping[str, Sequence[click.Command]] = {
    "Run on this machine": (run, train, list_parameters),
    "Look at runs": (list_runs, report, leaderboard, compare, artifacts, wandb),
    "Models": (sample, encode, reconstruct, champions),
    "Clusters": (submit, follow, logs, stop, retry, schedule, compile_pipeline),
    "This command": (completion,),
}


class Sections(click.Group):
    """A group whose help lists its commands by what they are for."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click's, a section for each kind."""
        for title, commands in COMMANDS.items():
            limit = formatter.width - 6 - max(map(len, self.commands))
            with formatter.section(title):
                formatter.write_dl(
                    [(one.name or "", one.get_short_help_str(limit)) for one in commands]
                )


@click.group(
    cls=Sections,
    epilog=START,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="genpipe")
def main() -> None:
    """Train, schedule and inspect generative models on Kubeflow Pipelines."""


for commands in COMMANDS.values():
    for command in commands:
        main.add_command(command)


def entry_point() -> None:
    """The ``genpipe`` command: expected errors in one line, without a traceback."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started it
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        # A file may be called what the terminal can't show.
        getattr(sys, name).reconfigure(errors="backslashreplace")
    # A notebook's is for the notebook's own process: here pictures go to files.
    os.environ["MPLBACKEND"] = "agg"
    try:
        try:
            os.getcwd()
        except FileNotFoundError:
            raise InputError("the current folder is gone: go to another one") from None
        main(standalone_mode=True)
    except Exception as error:
        line = expected_message(error)
        if not line:
            raise
        click.echo(f"error: {line}", err=True)
        sys.exit(EXIT_USAGE if isinstance(error, InputError) else EXIT_FAILURE)
