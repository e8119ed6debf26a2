"""Find a trained model by what a user calls it: of a run, of a model registry, or a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from genpipe import storage
from genpipe.cells import Cell
from genpipe.documents import read_document
from genpipe.errors import InputError
from genpipe.families.registry import all_families
from genpipe.metrics.samplers import best_sampler
from genpipe.registry.champions import Champions
from genpipe.training.saved import SavedModel
from pipelines.runs.artifacts import Step, read_run
from pipelines.runs.board import read_board
from pipelines.runs.find import find_run

# Of a samples folder what draws codes; the samples themselves are not needed.
SAMPLERS = "sampler_"
METRICS = "metrics.json"


@dataclass(frozen=True)
class FoundModel:
    """A model on this machine.

    Attributes:
        model: the model.
        samples: the folder with its fitted samplers; empty where there is none.
    """

    model: SavedModel
    samples: Path

    def best_sampler(self) -> str:
        """What its codes are best drawn from: by Fréchet distance, where that was measured."""
        file = self.samples / METRICS
        metrics = read_document(file, "metrics")["metrics"] if file.is_file() else {}
        fitted = "mixture" if self.model.cell.family.encoder else "normal"
        return best_sampler(metrics) or fitted


def find_model(place: str, cell: str, runs: Path, environment: str | None) -> FoundModel:
    """Find a model, and bring it here if it lies in a bucket.

    Args:
        place: a run as ``find_run`` takes it, a model registry, or a model folder.
        cell: of a run the cell (``vae-10``), or a family for the best of it; of a registry the
            family; of a model folder its own cell or family.
        runs: the folder local runs lie in.
        environment: a cluster, to look the run up on.

    Raises:
        InputError: there is no such run, champion or cell, or the cell diverged.
        StepError: it can't be read.
    """
    if (Path(place) / "model.json").is_file():
        found = FoundModel(SavedModel(place), Path(place).parent / "samples")
        if cell not in (found.model.cell.name, found.model.family):
            raise InputError(f"{place} holds {found.model.cell.name}, not {cell}")
    elif environment is None and (known := _champions(place)):
        if cell not in all_families():
            raise InputError(f"{place} is a registry: name a family ({known}), not a cell ({cell})")
        found = _champion(place, cell, known)
    else:
        found = _of_run(place, cell, runs, environment)
    if not found.model.complete:
        raise InputError(
            f"{found.model.cell.name} of {place} diverged in training: it has no model"
        )
    return found


def _champions(place: str) -> str:
    """The families that have a champion at a place, which is a registry if there is one."""
    root = _absolute(place)
    return ", ".join(
        family
        for family in all_families()
        if storage.exists(storage.join(root, family, "champion.json"))
    )


def _absolute(place: str) -> str:
    return place if storage.is_remote(place) else str(Path(place).expanduser().absolute())


def _champion(place: str, family: str, known: str) -> FoundModel:
    champions = Champions(_absolute(place), family)
    decision = champions.standing().decision
    if decision is None:
        raise InputError(f"registry {place} has no {family} champion (it has {known})")
    uri = champions.address(decision.champion)
    files = {file.name: file for file in storage.scan(uri)}
    return _bring(uri, {name: file for name, file in files.items() if _wanted(name)})


def _of_run(place: str, cell: str, runs: Path, environment: str | None) -> FoundModel:
    run = find_run(place, runs, environment)
    steps = read_run(run.uri)
    trained = {step.cell.name: step.cell for step in steps if step.kind == "train" and step.cell}
    families = dict.fromkeys(one.family.name for one in trained.values())
    if cell in all_families() and cell not in families:
        known = ", ".join(families) or "nothing yet"
        told = f"; {run.unfinished}" if run.unfinished else ""
        raise InputError(f"this run did not train {cell}: it trained {known}{told}")
    if cell in all_families():
        board = read_board(run, steps)
        if cell not in board["best"]:
            raise InputError(f"no {cell} of this run is complete")
        seed = board.get("best_seeds", {}).get(cell)
        cell = Cell(cell, board["best"][cell], seed).name
    torn = next((one for one in steps if not one.cell and one.name == f"train-{cell}"), None)
    if torn and "model.json" in torn.artifacts.get("model", {}):
        raise InputError(
            f"the model of {cell} in run {run.name or run.uri} can't be read (model.json is "
            "damaged): train it again"
        )
    if cell not in trained:
        known = (
            f"choose from {', '.join(trained)}, or a family" if trained else "it trained none yet"
        )
        told = f"; {run.unfinished}" if run.unfinished else ""
        raise InputError(f"no cell {cell!r} in this run: {known}{told}")
    files: dict[str, storage.File] = {}
    for step in steps:
        if step.cell == trained[cell] and step.kind in ("train", "sample"):
            files |= _files(step)
    return _bring(run.uri, files)


def _files(step: Step) -> dict[str, storage.File]:
    return {
        name: file
        for artifact, own in step.artifacts.items()
        for inner, file in own.items()
        if _wanted(name := f"{artifact}/{inner}")
    }


def _wanted(name: str) -> bool:
    """Whether a model is run with it, without TensorFlow."""
    artifact, _, inner = name.partition("/")
    model = artifact == "model" and inner.endswith((".onnx", ".json"))
    return model or (artifact == "samples" and inner.startswith((SAMPLERS, METRICS)))


def _bring(uri: str, files: Mapping[str, storage.File]) -> FoundModel:
    """The model and its samplers; of a bucket a copy that is kept for the next time."""
    if storage.is_remote(uri):
        names = "\n".join(sorted(f"{uri}/{file.name}" for file in files.values()))
        folder = storage.cache_folder("models") / hashlib.sha256(names.encode()).hexdigest()[:16]
        storage.pull(uri, folder, files)
        return FoundModel(SavedModel(folder / "model"), folder / "samples")
    places = {name.partition("/")[0]: Path(uri, file.name).parent for name, file in files.items()}
    if "model" not in places:
        raise InputError(f"{uri} holds no model")
    return FoundModel(
        SavedModel(places["model"]), places.get("samples", places["model"].parent / "samples")
    )
