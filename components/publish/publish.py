"""Copy the best cell of each family, with its evaluation, to where other people read it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components import storage
from components.errors import InputError
from components.tracking import Tracker


def publish(
    *,
    target: str,
    run: str,
    leaderboard: Path,
    report: Path,
    models: Sequence[Path],
    evaluations: Sequence[Path],
    tracker: Tracker,
) -> dict[str, str]:
    """Publish a run's best cells to ``<target>/<run>/<family>/``.

    Args:
        target: an absolute folder or a gs:// prefix; nothing is published if it is empty.
        run: the run's name.
        leaderboard: the folder that holds ``leaderboard.json``, which names the best cells.
        report: the run's page, published with them.
        models: all model folders.
        evaluations: all evaluation folders.
        tracker: what is told what was published.

    Returns:
        The address of each published family, by its name.

    Raises:
        InputError: the target is relative or holds this run already, the run's name is no folder
            name, or a best cell's folder is not among those given; nothing was copied.
        StepError: the target can't be written.
    """
    if not target:
        tracker.note("published nothing: no target was given (publish_to)")
        return {}
    if not storage.is_remote(target) and not Path(target).is_absolute():
        raise InputError(f"publish_to {target!r} is relative: give a full path or a gs:// prefix")
    if run in ("", ".", "..") or "/" in run or "\\" in run:
        raise InputError(f"{run!r} can't name a folder: publish under another run name")
    place = storage.join(target, run)
    if storage.exists(place):
        raise InputError(f"{place} exists already: publish under another run name or target")
    best = _read(leaderboard / "leaderboard.json")["best"]
    if not best:
        tracker.note("published nothing: no cell of this run is complete")
        return {}
    # All of them are looked up before the first is copied: a folder that is missing publishes none.
    chosen = {
        family: {
            "model": _folder_of(models, "model.json", family, latent_size),
            "evaluation": _folder_of(evaluations, "metrics.json", family, latent_size),
        }
        for family, latent_size in best.items()
    }
    published: dict[str, str] = {}
    for family, latent_size in best.items():
        address = storage.join(place, family)
        for kind, folder in chosen[family].items():
            storage.upload_folder(folder, storage.join(address, kind))
        published[family] = address
        tracker.note(f"published {family}-{latent_size} to {address}")
    storage.write_bytes(storage.join(place, "report.html"), report.read_bytes())
    # Last, so that a run that was cut off has no leaderboard and is seen to be torn.
    board = (leaderboard / "leaderboard.json").read_bytes()
    storage.write_bytes(storage.join(place, "leaderboard.json"), board)
    return published


def _folder_of(folders: Sequence[Path], card: str, family: str, latent_size: int) -> Path:
    for folder in folders:
        content = _read(folder / card)
        if (content["family"], content["latent_size"]) == (family, latent_size):
            return folder
    raise InputError(f"no folder of {family}-{latent_size} holds {card}: it can't be published")


def _read(path: Path) -> Mapping[str, Any]:
    content: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
