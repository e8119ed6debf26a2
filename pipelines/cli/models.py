"""Commands that use a trained model: sample, encode, reconstruct."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from genpipe.errors import InputError, StepError
from genpipe.words import counted, plural
from pipelines.cli.completion import complete_run
from pipelines.cli.options import runs_folder

if TYPE_CHECKING:
    import numpy as np

    from genpipe.training.saved import SavedModel

SAMPLE_EXAMPLES = """
\b
Examples:
  genpipe sample my-run vae-10 --output digits.png
  genpipe sample my-run vae --count 1000 --output digits    a folder of PNGs
  genpipe sample gs://my-bucket/published dcgan --output dcgan.png
  genpipe sample my-run autoencoder-10 --codes-from mixture --output ae.png
"""


ENCODE_EXAMPLES = """
\b
Examples:
  genpipe encode my-run vae-2 photo.png another.png              codes as CSV
  genpipe encode my-run vae-10 pictures --resize --output codes.npy
"""


RECONSTRUCT_EXAMPLES = """
\b
Examples:
  genpipe reconstruct my-run autoencoder-10 pictures             errors as CSV
  genpipe reconstruct my-run autoencoder-100 noisy --output denoised   PNGs
  genpipe reconstruct gs://my-bucket/published vae pictures --output pairs.png
"""

# Endings of --output where images are written: none is a folder's.
IMAGE_FILES = (".png", ".npy", "")
IMAGES_TO = "use .png for one picture, .npy for the array, or a folder name without a file ending"


def of_a_model(command: Any) -> Any:
    """The arguments and options that name a model."""
    for decorate in (
        click.option(
            "--environment", metavar="FILE", help="Look the run up on this cluster, by name or id."
        ),
        runs_folder,
        click.argument("cell"),
        click.argument("place", metavar="RUN|REGISTRY|FOLDER", shell_complete=complete_run),
    ):
        command = decorate(command)
    return command


with_resize = click.option("--resize", is_flag=True, help="Resize pictures to the model's size.")


@click.command(epilog=SAMPLE_EXAMPLES)
@of_a_model
@click.option(
    "--count",
    type=click.IntRange(1, 1_000_000),
    default=64,
    show_default=True,
    help="Number of images.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="A .png file for one picture of all images, a .npy file for the array, or a folder for "
    "one PNG file per image.",
)
@click.option(
    "--codes-from",
    type=click.Choice(["normal", "fitted_gaussian", "mixture"]),
    help="What the codes are drawn from: N(0, I), as the leaderboard's FD does, or a Gaussian or a "
    "mixture fitted to the training codes. Default: the one with the lowest Fréchet distance.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of the random codes.",
)
def sample(count: int, output: Path, codes_from: str | None, seed: int, **where: Any) -> None:
    """Make new images with a trained model.

    RUN is a local run's name or folder, the address of a run on a cluster, or with --environment
    its name or id; REGISTRY is the folder or gs:// prefix that champions are published to; FOLDER
    is a model's own. CELL is a cell (vae-10), or a family (vae) for the best of the run, or the
    champion.
    """
    import numpy as np

    from genpipe.reporting.images import write_images
    from genpipe.sampling import Sampler, StandardNormal, read_sampler
    from pipelines.console.terminal import print_path
    from pipelines.runs.models import find_model

    _check_output(output, IMAGE_FILES, IMAGES_TO)
    found = find_model(**where)
    model = found.model
    family = model.cell.family
    kind = codes_from or found.best_sampler()
    if kind != "normal" and not family.encoder:
        raise InputError(f"a {family.label} has no encoder, so only --codes-from normal works")
    sampler: Sampler = (
        StandardNormal(model.cell.latent_size)
        if kind == "normal"
        else read_sampler(found.samples, kind)
    )
    images = model.decode(sampler.draw(count, np.random.default_rng(seed)))
    drawn_from = "N(0, I)" if kind == "normal" else f"the {kind.replace('_', ' ')}"
    about = write_images(output, images)
    print_path(output, about, before=f"{model.cell.title}, codes from {drawn_from}: ")


@click.command(epilog=ENCODE_EXAMPLES)
@of_a_model
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@with_resize
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A .npy file for the array of codes, or a .csv file. Default: CSV on the terminal.",
)
def encode(images: Sequence[Path], resize: bool, output: Path | None, **where: Any) -> None:
    """Turn images into codes.

    IMAGES are picture files, folders of them, or .npy files. RUN, REGISTRY, FOLDER and CELL are as
    for `genpipe sample`.
    """
    import numpy as np

    from pipelines.console.terminal import print_path

    if output:
        _check_output(output, (".csv", ".npy"), "use .csv or .npy")
    model, names, pixels = _read(images, resize, **where)
    codes = model.encode(pixels)
    if output and output.suffix == ".npy":
        try:
            np.save(output, codes, allow_pickle=False)
        except OSError as error:
            raise StepError(f"can't write {output}: {error.strerror}") from None
    else:
        columns = ["image", *(f"z{number}" for number in range(codes.shape[1]))]
        rows = ([name, *map(float, code)] for name, code in zip(names, codes, strict=True))
        _write_csv(output, columns, rows)
    if output:
        size = counted(codes.shape[1], "number")
        print_path(output, f"{counted(len(codes), 'code')} of {size}")


@click.command(
    epilog=RECONSTRUCT_EXAMPLES,
    short_help="Pass images through a model, and print their errors as CSV.",
)
@of_a_model
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@with_resize
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="What the model makes of the images: a .png file with the images above it, a .npy file, "
    "or a folder of PNG files.",
)
def reconstruct(images: Sequence[Path], resize: bool, output: Path | None, **where: Any) -> None:
    """Pass images through a trained encoder and decoder.

    Print the reconstruction error of each as CSV. Images unlike the training data tend to have a
    higher error. IMAGES are picture files, folders of them, or .npy files. RUN, REGISTRY, FOLDER
    and CELL are as for `genpipe sample`.
    """
    from genpipe.data.dataset import RESCALINGS
    from genpipe.metrics.reconstruction import squared_errors
    from genpipe.reporting.images import pairs, write_images
    from pipelines.console.terminal import print_path

    if output:
        _check_output(output, IMAGE_FILES, IMAGES_TO)
        if output.exists() and any(at.exists() and at.samefile(output) for at in images):
            kind = "folder" if output.is_dir() else "file"
            raise InputError(f"--output is the {kind} the images are read from: choose another")
    model, names, pixels = _read(images, resize, **where)
    rebuilt = model.decode(model.encode(pixels))
    errors = squared_errors(*map(RESCALINGS["unit"].apply, (pixels, rebuilt)))
    if output:
        columns = min(len(pixels), 10)
        side_by_side = output.suffix == ".png"
        shown = pairs(pixels, rebuilt, columns) if side_by_side else rebuilt
        told = write_images(output, shown, columns)
        if side_by_side:
            count = len(pixels)
            its = "its" if count == 1 else "their"
            told = f"{counted(count, 'image')} with {its} {plural('reconstruction', count)}"
        print_path(output, told, stderr=True)
    _write_csv(None, ["image", "mean_squared_error"], zip(names, map(float, errors), strict=True))


def _read(
    images: Sequence[Path], resize: bool, **where: Any
) -> tuple[SavedModel, list[str], np.ndarray]:
    """A model that has an encoder, and images as it reads them."""
    from genpipe.data.readers.pictures import read_pictures
    from genpipe.families.registry import all_families
    from pipelines.runs.models import find_model

    for path in images:
        if not path.exists():
            raise InputError(f"{path} does not exist")
    model = find_model(**where).model
    family = model.cell.family
    if not family.encoder:
        able = ", ".join(one.name for one in all_families().values() if one.encoder)
        raise InputError(f"a {family.label} has no encoder: choose a cell of {able}")
    return model, *read_pictures(images, model.image_shape, resize=resize)


def _check_output(output: Path, endings: Sequence[str], advice: str) -> None:
    """Refuse a file whose ending says another format than those that are written.

    Raises:
        InputError: names the file and what to give.
    """
    if output.suffix not in endings and not output.is_dir():
        raise InputError(f"--output {str(output)!r}: {advice}")


def _write_csv(output: Path | None, columns: Sequence[str], rows: Iterator[Sequence[Any]]) -> None:
    def write(file: TextIO) -> None:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)

    if output is None:
        write(sys.stdout)
        return
    try:
        with output.open("w", newline="", encoding="utf-8") as file:
            write(file)
    except OSError as error:
        raise StepError(f"can't write {output}: {error.strerror}") from None
