"""Commands that show what runs scored: leaderboard, report, compare."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from pipelines.cli.completion import complete_run
from pipelines.cli.options import (
    browse,
    chosen_run,
    of_a_run,
    output_format,
    print_json,
    runs_folder,
)

LEADERBOARD_EXAMPLES = """
\b
Examples:
  genpipe leaderboard runs/20260101-120000-ab12
  genpipe leaderboard my-run --metrics
  genpipe leaderboard RUN --environment gke-gpu      by name or id
"""


REPORT_EXAMPLES = """
\b
Examples:
  genpipe report                           the latest run
  genpipe report my-run
  genpipe report my-run --open             with all pictures, in the browser
  genpipe report gs://bucket/pipeline-root/latent-fanout/RUN-ID
  genpipe report RUN --environment gke-gpu   by name or id
"""


COMPARE_EXAMPLES = """
\b
Examples:
  genpipe compare my-run long-vae
  genpipe compare my-run long-vae --open    a page, with curves and pictures
  genpipe compare my-run long-vae --output compared.html
  genpipe compare my-run gs://bucket/pipeline-root/latent-fanout/RUN-ID
"""


@click.command(epilog=LEADERBOARD_EXAMPLES)
@of_a_run
@click.option("--metrics", is_flag=True, help="Explain each metric.")
@output_format
def leaderboard(run: str, runs: Path, environment: str | None, metrics: bool, output: str) -> None:
    """Print only the leaderboard of a run.

    RUN is a local run's name or folder, the address of a run on a cluster (gs://, s3://, minio://),
    or with --environment its name or id; by default the latest. A run that failed or is still
    running shows the cells that have ended.
    """
    from pipelines.console.leaderboard import print_leaderboard, show_metrics
    from pipelines.console.terminal import open_console
    from pipelines.runs.board import read_board

    board = read_board(chosen_run(run, runs, environment))
    if output == "json":
        print_json(board)
        return
    print_leaderboard(board, open_console(), explained=metrics)
    if metrics:
        show_metrics(board)


@click.command(epilog=REPORT_EXAMPLES)
@of_a_run
@click.option("--open", "in_browser", is_flag=True, help="Open its HTML report instead.")
def report(run: str, runs: Path, environment: str | None, in_browser: bool) -> None:
    """Show a run's leaderboard, curves and samples.

    RUN is a local run's name or folder, the address of a run on a cluster (gs://, s3://, minio://),
    or with --environment its name or id; by default the latest. A run that failed or is still
    running shows the cells that have ended.
    """
    found = chosen_run(run, runs, environment)
    if in_browser:
        from pipelines.runs.artifacts import fetch_report

        browse(fetch_report(found.uri))
        return
    from pipelines.console.results import read_results, show_report
    from pipelines.console.terminal import open_console

    show_report(read_results(found), open_console())


@click.command(epilog=COMPARE_EXAMPLES)
@click.argument(
    "chosen", nargs=-1, required=True, metavar="RUN RUN...", shell_complete=complete_run
)
@runs_folder
@click.option(
    "--environment", metavar="FILE", help="Look the RUNs up on this cluster, by name or id."
)
@click.option("--open", "in_browser", is_flag=True, help="Show them on a page in the browser.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write that page to this file.",
)
def compare(
    chosen: Sequence[str],
    runs: Path,
    environment: str | None,
    in_browser: bool,
    output: Path | None,
) -> None:
    """Show runs side by side, here or on a page.

    It shows the settings that differ, and each cell's metrics, curves and samples.

    Each RUN is a local run's name or folder, the address of a run on a cluster, or with
    --environment a run's name or id.
    """
    found = [chosen_run(run, runs, environment) for run in chosen]

    from pipelines.console.comparison import check_comparable, comparison_page, show_comparison
    from pipelines.console.results import read_results

    check_comparable([run.uri for run in found])
    results = [read_results(run) for run in found]
    if not (in_browser or output):
        from pipelines.console.terminal import open_console

        show_comparison(results, open_console())
        return
    from genpipe.storage import write_bytes
    from pipelines.runs.artifacts import page_folder

    page = output or page_folder(*(run.uri for run in found)) / "compare.html"

    write_bytes(page, comparison_page(results).encode("utf-8", "backslashreplace"))
    if in_browser:
        browse(page.absolute())
    else:
        from pipelines.console.terminal import print_path

        print_path(page)
