"""Commands of a cluster: submit, follow, logs, stop, retry."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import Any

import click

from genpipe.errors import InputError, StepError
from pipelines.cli.options import (
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    EXIT_TIMED_OUT,
    confirm_targets,
    no_cache,
    no_preflight,
    on_environment,
    target_of,
    wait_limit,
    warn,
    with_tag,
    without_asking,
)
from pipelines.cli.parameters import of_the_pipeline, read_parameters

SUBMIT_EXAMPLES = """
\b
Examples:
  genpipe submit --environment mine.yaml
  genpipe submit --environment gke-gpu --tag 3f2a91c --wait
  genpipe submit --environment cluster-cpu --families vae --param vae.beta=4
  genpipe submit --environment gke-gpu --publish-to gs://BUCKET/published
  genpipe submit --environment mine.yaml --wait --timeout 7200 || echo $?

\b
Exit status with --wait:
  0  the run succeeded
  1  it failed or was stopped, or the cluster can't be reached
  3  it is still running after --timeout
  130  Ctrl-C; the run goes on
"""


FOLLOW_EXAMPLES = """
\b
Examples:
  genpipe follow 20260101-120000-ab12 --environment cluster-cpu --timeout 600
  genpipe follow 6f0e3a52-0c5b-4b0e-9d1f-2f6f5a1f8f11 --environment gke-gpu

\b
Exit status:
  0  the run succeeded
  1  it failed or was stopped, or the cluster can't be reached
  3  it is still running after --timeout
  130  Ctrl-C; the run goes on
"""


LOGS_EXAMPLES = """
\b
Examples:
  genpipe logs 20260101-120000-ab12 --environment mine.yaml    what failed
  genpipe logs 20260101-120000-ab12 train-vae-10 --environment mine.yaml
  genpipe logs 20260101-120000-ab12 evaluate --tail 20 --environment mine.yaml
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


@click.command(epilog=SUBMIT_EXAMPLES)
@on_environment
@of_the_pipeline
@with_tag
@click.option(
    "--name",
    help="Name of the run. Default: date, time and four hexadecimal digits, such as "
    "20260101-120000-ab12.",
)
@no_cache
@no_preflight
@click.option("--wait", is_flag=True, help="Wait for the run to end, and show its progress.")
@wait_limit
@without_asking
def submit(
    environment: str,
    extra: Sequence[str],
    tag: str | None,
    name: str | None,
    no_cache: bool,
    no_preflight: bool,
    wait: bool,
    timeout: int | None,
    yes: bool,
    **options: Any,
) -> None:
    """Run the pipeline on a cluster.

    The defaults of parameters are those of the environment.

    A pipeline is uploaded once, as a version named by its content; an unchanged one is not
    uploaded again. Access to the run's gs:// buckets is checked first, if this machine has
    credentials. For an environment that comes with the package and was not edited, it asks whether
    that is your cluster.
    """
    if timeout and not wait:
        raise InputError("--timeout requires --wait")
    target = target_of(environment, tag)
    parameters = read_parameters(options, extra, target.parameters)
    if no_cache:
        target = target.model_copy(update={"caching": False})

    from pipelines.local.run import checked_name, new_name
    from pipelines.preflight import check_cluster, check_settings

    name = checked_name(new_name() if name is None else name)
    target.refuse_placeholders()
    check_settings(target, parameters)
    if not no_preflight:
        check_cluster(target, parameters, warn)

    from pipelines.cluster import runs
    from pipelines.cluster.api import connect
    from pipelines.cluster.workflow import retry_warning

    confirm_targets([target], yes)
    client = connect(target)
    run = runs.submit(client, target, parameters, name)
    click.echo(f"{run.display_name}  {run.run_id}")
    click.echo(runs.link(client, run.run_id))
    warning = retry_warning(client, run.run_id) if target.retries.count else ""
    if warning:
        warn(f"retries: on this cluster {warning}; deploy/README.md says how to change that")
    if wait:
        _follow(client, environment, run, timeout)
    else:
        click.echo(f"genpipe follow {run.run_id} --environment {shlex.quote(environment)}")


@click.command(epilog=FOLLOW_EXAMPLES)
@click.argument("run")
@on_environment
@wait_limit
def follow(run: str, environment: str, timeout: int | None) -> None:
    """Follow the steps of a run on a cluster until it ends.

    RUN is its id or name, or latest.
    """
    client, found = _cluster_run(environment, run)
    _follow(client, environment, found, timeout)


@click.command(epilog=LOGS_EXAMPLES)
@click.argument("run")
@click.argument("steps", nargs=-1, metavar="[STEP]...")
@on_environment
@click.option("--tail", type=click.IntRange(min=1), metavar="LINES", help="Only the last lines.")
@click.option("--raw", is_flag=True, help="Include the lines that Argo and KFP print.")
def logs(run: str, steps: Sequence[str], environment: str, tail: int | None, raw: bool) -> None:
    """Print what the pods of a run on a cluster printed.

    RUN is its id or name, or latest; STEP a step's name (evaluate-vae-10) or kind (evaluate).
    Default: the steps that failed.
    """
    from pipelines.cluster.follow import look
    from pipelines.cluster.logs import without_chatter
    from pipelines.cluster.outcome import logs as logs_of

    client, found = _cluster_run(environment, run)
    workflow = look(client, found.run_id).workflow
    if workflow is None:
        raise StepError(f"the API does not report the pods of run {found.display_name}")
    for heading, text in logs_of(client, found.run_id, workflow, steps):
        lines = text.splitlines() if raw else list(without_chatter(text))
        click.echo(f"== {heading}")
        click.echo("\n".join(lines[-tail:] if tail else lines))


@click.command(epilog=STOP_EXAMPLES)
@click.argument("run")
@on_environment
def stop(run: str, environment: str) -> None:
    """Stop a run on a cluster.

    RUN is its id or name, or latest. What its finished steps made is kept.
    """
    from pipelines.cluster import runs

    client, found = _cluster_run(environment, run)
    runs.stop(client, found)
    click.echo(f"stopping {found.display_name}  {found.run_id}")


@click.command(epilog=RETRY_EXAMPLES)
@click.argument("run")
@on_environment
def retry(run: str, environment: str) -> None:
    """Run the failed steps of a run on a cluster again.

    The steps that depend on them run again too. RUN is its id or name, or latest.
    """
    from pipelines.cluster import runs

    client, found = _cluster_run(environment, run)
    runs.retry(client, found)
    click.echo(f"retrying {found.display_name}  {found.run_id}")


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
    from pipelines.console.terminal import open_console

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
