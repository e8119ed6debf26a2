"""Commands of this machine: run, compile, parameters, train."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from genpipe.errors import InputError, shown
from pipelines.cli.completion import complete_run
from pipelines.cli.options import (
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    no_cache,
    on_environment,
    runs_folder,
    settings_of_families,
    target_of,
    with_tag,
)
from pipelines.cli.parameters import FAMILIES, of_the_pipeline, read_parameters

if TYPE_CHECKING:
    from pipelines.local.run import LocalRun

RUN_EXAMPLES = """
\b
Examples:
  genpipe run                                 all families, three latent sizes
  genpipe run --quick                         a first look in a minute
  genpipe run --full                          train as long as the originals
  genpipe run --families vae --latent-sizes 2,5,20
  genpipe run --families vae --seeds 0,1,2    with the spread over seeds
  genpipe run --param vae.epochs=40 --param vae.beta=4 --name long-vae
  genpipe run --dataset flowers --source flowers --image-size 32  your images
  genpipe run --runner docker --image genpipe-cpu:3f2a91c    in containers
  genpipe run --resume latest                 go on after Ctrl-C or a failure
"""


COMPILE_EXAMPLES = """
\b
Examples:
  genpipe compile --environment local --output pipeline.yaml
  genpipe compile --environment mine.yaml --tag 3f2a91c --output pipeline.yaml
  genpipe compile --environment mine.yaml --families vae --output vae.yaml
"""


PARAMETERS_EXAMPLES = """
\b
Examples:
  genpipe parameters
  genpipe run --param samples=2000 --param vae.beta=4      set two of them
"""


TRAIN_EXAMPLES = """
\b
Examples:
  genpipe train --family vae --latent-size 10 --data runs/my-run/ingest/data
  genpipe train --family autoencoder --latent-size 2 --data data --epochs 5
  wandb sweep deploy/wandb/sweep.yaml    `wandb agent` then calls train
"""


@click.command(epilog=RUN_EXAMPLES)
@of_the_pipeline
@click.option(
    "--quick",
    is_flag=True,
    help="A first look: autoencoder and VAE at latent size 2, short training.",
)
@click.option(
    "--full",
    is_flag=True,
    help="Train each family for as long as the published example it follows (autoencoder 50 "
    "epochs, VAE 30 epochs, DCGAN 4,000 steps): better scores, about 40 minutes on 2 cores.",
)
@click.option(
    "--name",
    help="Name of the run. Default: date, time and four hexadecimal digits, such as "
    "20260101-120000-ab12.",
)
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
@click.option(
    "--resume",
    metavar="RUN",
    shell_complete=complete_run,
    help="Go on with a run that was stopped, killed or failed, with its own settings: its name or "
    "folder, or latest. Finished steps come from the cache, a training goes on from its last "
    "checkpoint.",
)
@click.option("-v", "--verbose", is_flag=True, help="Show all that the steps say, as in logs/.")
@click.pass_context
def run(
    context: click.Context,
    resume: str | None,
    verbose: bool,
    quick: bool,
    full: bool,
    no_cache: bool,
    extra: Sequence[str],
    name: str | None,
    runs: Path,
    runner: str,
    image: str | None,
    **options: Any,
) -> None:
    """Run the pipeline on this machine.

    Prepare the data, train and score each model, and compare them. Results go to runs/NAME
    (leaderboard.json, report.html, one folder per step and cell); at the end the leaderboard is
    printed. Needs no server and no account. Steps with unchanged code and inputs are taken from
    the cache (--no-cache to disable).
    """
    if resume is not None:
        for option in context.command.params:
            source = context.get_parameter_source(option.name or "")
            if source is ParameterSource.COMMANDLINE and option.name not in (
                "resume",
                "runs",
                "verbose",
            ):
                told = option.opts[0]
                raise InputError(f"--resume goes on with the run's own settings: leave out {told}")
        from pipelines.local.resume import resume as resumed
        from pipelines.preflight import check_local

        local_run = resumed(resume, runs)
        check_local(local_run.parameters, runs)
        _run(local_run, quick=False, verbose=verbose)
        return

    from pipelines.environments import local_environment
    from pipelines.local.run import LocalRun, new_name
    from pipelines.parameters import full_budgets, quick_budgets

    if quick and full:
        raise InputError("--quick and --full exclude each other: choose one")

    defaults = [
        local_environment().parameters,
        *([quick_budgets()] if quick else []),
        *([full_budgets()] if full else []),
    ]
    parameters = read_parameters(options, extra, *defaults)
    if runner == "docker" and not image:
        raise InputError("--runner docker needs --image NAME")
    if image and runner != "docker":
        raise InputError("--image needs --runner docker")
    if image:
        from pipelines.local.containers import find_image

        image = find_image(image)

    from pipelines.preflight import check_local

    check_local(parameters, runs)

    local_run = LocalRun(
        runs,
        new_name() if name is None else name,
        parameters,
        image=image or "",
        caching=not no_cache,
    )
    _run(local_run, quick=quick, verbose=verbose)


def _run(local_run: LocalRun, *, quick: bool, verbose: bool) -> None:
    """Start a run and show it to its end, and exit with the status that says how it ended."""
    from pipelines.console.local_run import show_outcome, show_run, show_what_is_left

    try:
        succeeded = show_run(local_run, quick=quick, verbose=verbose)
    except KeyboardInterrupt:
        click.echo("\nStopping the running steps ...", err=True)
        local_run.stop()
        local_run.collect()
        show_what_is_left(local_run)
        sys.exit(EXIT_INTERRUPTED)
    show_outcome(local_run, succeeded)
    if not succeeded:
        sys.exit(EXIT_FAILURE)


@click.command("compile", epilog=COMPILE_EXAMPLES)
@on_environment
@with_tag
@of_the_pipeline
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="YAML file to write.",
)
def compile_pipeline(
    environment: str, tag: str | None, extra: Sequence[str], output: Path, **options: Any
) -> None:
    """Compile the pipeline to YAML for one environment.

    Parameters become the defaults of its arguments.
    """
    target = target_of(environment, tag)
    parameters = read_parameters(options, extra, target.parameters)

    from pipelines.console.terminal import print_path
    from pipelines.latent_fanout import compile_to
    from pipelines.preflight import check_settings

    check_settings(target, parameters)
    compile_to(output, target, parameters)
    print_path(output, f"{output.stat().st_size:,} bytes")


@click.command("parameters", epilog=PARAMETERS_EXAMPLES)
def list_parameters() -> None:
    """List the pipeline's parameters with their defaults."""
    from pipelines.console.terminal import open_console, print_prose
    from pipelines.parameters import describe_parameters

    console = open_console()
    for name, default, about in describe_parameters():
        console.print(f"{name} = {json.dumps(default)}", markup=False, soft_wrap=True)
        print_prose(console, f"  {about}", indent=2)


@click.command(
    epilog=TRAIN_EXAMPLES,
    # W&B's agent writes a parameter as the sweep names it: --latent_size=2.
    context_settings={"token_normalize_func": lambda token: token.replace("_", "-")},
)
@click.option("--family", required=True, help=f"One of {FAMILIES}.")
@click.option("--latent-size", type=int, required=True, help="Latent size.")
@click.option(
    "--data",
    required=True,
    help="A prepared data set: the folder ingest/data of a run.",
)
@click.option(
    "--name",
    help="Name of the run. Default: date, time and four hexadecimal digits, such as "
    "20260101-120000-ab12.",
)
@runs_folder
@settings_of_families
def train(family: str, data: str, name: str | None, runs: Path, **options: Any) -> None:
    """Train one model, without judging or comparing it.

    It is written to RUNS/NAME/train-FAMILY-SIZE/model (.keras, .onnx, model.json, history.csv).
    Defaults are those of `genpipe parameters`. It logs to W&B what the pipeline's training step
    logs. W&B's sweep agent calls this command (it may spell options with underscores): see
    deploy/wandb.
    """
    from pipelines.console.terminal import print_path
    from pipelines.local.run import checked_name, new_name
    from pipelines.local.train import train as train_model

    if "://" in data:
        raise InputError(
            f"--data takes a local folder, got {shown(data)}: copy the data set here first "
            "(`genpipe artifacts pull`)"
        )
    given = {option: value for option, value in options.items() if value is not None}
    folder = runs / checked_name(new_name() if name is None else name)
    try:
        model = train_model(family, given, Path(data), folder)
    except KeyboardInterrupt:
        click.echo("\ninterrupted; nothing was saved", err=True)
        sys.exit(EXIT_INTERRUPTED)
    print_path(model)
