"""Remove runs of this machine, and what of the cache nothing else uses."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from genpipe.errors import InputError, StepError
from genpipe.storage import is_remote
from pipelines.local.cache import KEY_SHOWN, STORE, folder_of
from pipelines.runs.find import find_run
from pipelines.runs.listing import events_of, run_folders, state_of


@dataclass(frozen=True)
class Removal:
    """What is removed with some runs.

    Attributes:
        runs: their folders.
        cached: files and folders of the cache.
    """

    runs: Sequence[Path]
    cached: Sequence[Path]

    @property
    def size(self) -> int:
        """Bytes of it all."""
        return sum(map(_size, (*self.runs, *self.cached)))

    def carry_out(self) -> None:
        """Remove it: the cache's entries before what they name.

        Raises:
            StepError: something can't be removed; what is left can be removed by the same call.
        """
        try:
            for path in sorted(self.cached, key=Path.is_dir):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            for path in self.runs:
                shutil.rmtree(path)
        except OSError as error:
            raise StepError(f"cannot remove {error.filename}: {error.strerror}") from None


def plan_removal(names: Sequence[str], runs: Path) -> Removal:
    """What can be removed with runs, without loss to others.

    A step's outputs stay in the cache if another run made them or took them from there.

    Args:
        names: of the runs, or their folders; ``latest`` is the one that began last.
        runs: the folder local runs lie in.

    Raises:
        InputError: one is not a run of this machine, or is running.
    """
    folders = {name: _folder(name, runs) for name in names}
    cached: list[Path] = []
    for place in {folder.parent for folder in folders.values()}:
        own = [folder for folder in folders.values() if folder.parent == place]
        cached += _unused(place / STORE, own, [at for at in run_folders(place) if at not in own])
    return Removal([*dict.fromkeys(folders.values())], cached)


def _folder(name: str, runs: Path) -> Path:
    if is_remote(name):
        raise InputError(f"{name} is not on this machine: use your storage's own tool")
    folder = Path(find_run(name, runs, None).uri).absolute()
    if not (folder / "arguments.json").is_file():
        raise InputError(f"{folder} is not the folder of a run: nothing was removed")
    if state_of(folder) == "running":
        raise InputError(f"run {folder.name!r} is running: stop it first (Ctrl-C)")
    return folder


def _unused(store: Path, removed: Sequence[Path], others: Sequence[Path]) -> Iterator[Path]:
    """What of the cache serves nothing but runs that are removed."""
    outputs = store / "outputs"
    ours, theirs = _keys(removed), _keys(others)
    removed_names, other_names = {at.name for at in removed}, {at.name for at in others}
    kept = set()
    for entry in store.glob("cache*/*.json"):
        with contextlib.suppress(OSError, ValueError):
            folder = folder_of(json.loads(entry.read_bytes()))
            if folder is None or not folder.is_relative_to(outputs):
                continue
            maker, key = folder.relative_to(outputs).parts[0], entry.stem[:KEY_SHOWN]
            if maker in other_names or key in theirs:
                kept.add(folder)
            elif maker in removed_names or key in ours:
                yield entry
                if maker not in removed_names:
                    yield folder
    for name in removed_names:
        yield from _without(outputs / name, kept)


def _without(path: Path, kept: set[Path]) -> Iterator[Path]:
    """What of a folder can be removed for some folders in it to stay."""
    if path in kept or not path.exists():
        return
    if any(one.is_relative_to(path) for one in kept):
        for below in path.iterdir():
            yield from _without(below, kept)
    else:
        yield path


def _keys(runs: Sequence[Path]) -> set[str]:
    """The keys of what runs took from the cache."""
    return {event["key"] for at in runs for event in events_of(at) if event["event"] == "cached"}


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
