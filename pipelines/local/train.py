"""Train one cell outside a pipeline: what `genpipe train` and a sweep's agent run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from components.train.step import train_cell
from genpipe.cells import Cell
from genpipe.data.dataset import open_dataset
from genpipe.errors import InputError, StepError
from genpipe.families.registry import find_family
from genpipe.surroundings import variables_of_results
from genpipe.tracking.account import find_account
from genpipe.tracking.step import step_name


@dataclass
class Place:
    """A folder of this machine, where a step of a pipeline has an artifact."""

    path: str
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        """Its address, which is its path."""
        return self.path


def train(family: str, given: Mapping[str, Any], data: Path, folder: Path) -> Path:
    """Train one cell on a prepared data set, as the pipeline's own step does.

    Args:
        family: the model family.
        given: settings of the family; those left out have their defaults.
        data: a data-set folder, as ``ingest`` makes it.
        folder: of the run, which must not exist yet.

    Returns:
        The model's folder, ``<folder>/train-vae-10/model``; W&B's run lies in
        ``<folder>/wandb/train-vae-10``.

    Raises:
        InputError: the family or a setting is unknown or out of range, there is no data set,
            wandb refuses one of its settings, or the run exists already. Nothing was written.
        StepError: the folder can't be written.
        SystemExit: with status 1, after the step itself reported what stopped it.
        KeyboardInterrupt: of Ctrl-C; nothing of the training is left.
    """
    spec = find_family(family)
    known = {field.name for field in fields(spec.settings)}
    for name in given:
        if name not in known:
            own = ", ".join(f"--{one.replace('_', '-')}" for one in sorted(known))
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"{option} does not apply to {family}; it takes {own}")
    settings = spec.settings(**given)
    cell = Cell(spec, settings.latent_size)
    if not data.exists():
        raise InputError(
            f"{data} does not exist: give a run's prepared data set, e.g. runs/RUN/ingest/data"
        )
    open_dataset(data)
    find_account()
    step = folder / step_name("train", cell)
    try:
        step.mkdir(parents=True)
    except FileExistsError:
        raise InputError(f"{step} exists already: choose another --name") from None
    except OSError as error:
        raise StepError(f"the run's folder {step} can't be made: {error.strerror}") from None
    import_tensorflow_quietly()
    tracked = step / "wandb_run"
    try:
        train_cell(
            lambda: (cell, settings),
            data=Place(str(data.absolute())),
            model=Place(str(step.absolute() / "model")),
            wandb_folder=str(tracked),
        )
    except KeyboardInterrupt:
        shutil.rmtree(step, ignore_errors=True)
        if not any(folder.iterdir()):
            folder.rmdir()
        raise
    finally:
        # Where a local run has them too.
        for logged in (tracked / "wandb").glob("*/"):
            shutil.copytree(logged, folder / "wandb" / step.name / logged.name, dirs_exist_ok=True)
        shutil.rmtree(tracked, ignore_errors=True)
    return step / "model"


def import_tensorflow_quietly() -> None:
    """Import TensorFlow and look for devices without what its libraries then write.

    They write to the process's standard error before any setting of theirs counts.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if variables_of_results().keys() & {"TF_XLA_FLAGS", "XLA_FLAGS"}:
        return  # a flag that it does not know ends the process: that has to be heard
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        import tensorflow as tf

        tf.config.list_physical_devices()
    finally:
        os.dup2(kept, 2)
        os.close(kept)
