"""``genpipe artifacts``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from genpipe.words import counted
from pipelines.cli.options import browse, chosen_run, of_a_run, output_format, print_json

ARTIFACTS_LIST_EXAMPLES = """
\b
Examples:
  genpipe artifacts list my-run
  genpipe artifacts list gs://bucket/pipeline-root/latent-fanout/RUN-ID
  genpipe artifacts list minio://mlpipeline/v2/artifacts/latent-fanout/RUN-ID
  genpipe artifacts list RUN-ID --environment gke-gpu
"""


ARTIFACTS_PULL_EXAMPLES = """
\b
Examples:
  genpipe artifacts pull RUN-ID --environment gke-gpu --output results
  genpipe artifacts pull my-run train evaluate-dcgan-10 --output results
  genpipe artifacts pull my-run vae-10 --output results      all of one cell
"""


ARTIFACTS_OPEN_EXAMPLES = """
\b
Examples:
  genpipe artifacts open my-run
  genpipe artifacts open RUN-ID --environment gke-gpu
"""


@click.group(epilog=ARTIFACTS_LIST_EXAMPLES)
def artifacts() -> None:
    """List, pull and open what the steps of a run made.

    RUN is a local run's name or folder, a run's address (gs://, s3://, minio://), or with
    --environment a run's name or id. Default: the latest local run, or with --environment the
    latest on that cluster. s3:// and minio:// need genpipe[s3] and AWS's variables:
    AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY.
    """


@artifacts.command("list", epilog=ARTIFACTS_LIST_EXAMPLES)
@of_a_run
@output_format
def list_artifacts(run: str, runs: Path, environment: str | None, output: str) -> None:
    """List a run's steps, cells and artifacts, with sizes and metrics.

    RUN is a local run's name or folder, a run's address (gs://, s3://, minio://), or with
    --environment a run's name or id. Default: the latest local run, or with --environment the
    latest on that cluster.
    """
    from pipelines.runs.artifacts import read_run, show_run

    uri = chosen_run(run, runs, environment).uri
    steps = read_run(uri)
    if output == "json":
        print_json({"run": uri, "steps": [step.to_dict() for step in steps]})
    else:
        show_run(uri, steps)


@artifacts.command("pull", epilog=ARTIFACTS_PULL_EXAMPLES)
@of_a_run
@click.argument("steps", nargs=-1, metavar="[STEP]...")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder to write to; files that are already there completely are skipped.",
)
def pull_artifacts(
    run: str, runs: Path, environment: str | None, steps: Sequence[str], output: Path
) -> None:
    """Copy what a run's steps made to a folder of this machine.

    RUN is a local run's name or folder, a run's address (gs://, s3://, minio://), or with
    --environment a run's name or id. Default: the latest local run, or with --environment the
    latest on that cluster.

    STEP is a step's name (evaluate-vae-10), its kind (evaluate) or a cell (vae-10). Default: all.
    """
    from pipelines.console.terminal import print_path
    from pipelines.runs.artifacts import choose, pull, read_run

    uri = chosen_run(run, runs, environment).uri
    count = pull(uri, choose(read_run(uri), steps), output)
    print_path(output, f"{counted(count, 'file')}, whole")


@artifacts.command("open", epilog=ARTIFACTS_OPEN_EXAMPLES)
@of_a_run
def open_artifacts(run: str, runs: Path, environment: str | None) -> None:
    """Open a run's HTML report in the browser (same as `report --open`).

    RUN is a local run's name or folder, a run's address (gs://, s3://, minio://), or with
    --environment a run's name or id. Default: the latest local run, or with --environment the
    latest on that cluster.
    """
    from pipelines.runs.artifacts import fetch_report

    browse(fetch_report(chosen_run(run, runs, environment).uri))
