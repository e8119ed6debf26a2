"""Send the W&B runs of a run's steps that are not on W&B yet."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from components import storage
from components.errors import InputError, StepError
from components.progress import format_seconds
from components.tracking import SENT, wandb_host

OFFLINE = re.compile(r"(?:^|/)(offline-run-[^/]+)/")
SECONDS_FOR_AN_ANSWER = 10.0


def sync_wandb(uri: str, seconds: float) -> int:
    """Send the W&B runs of a run's steps that are not sent yet, by ``wandb sync``.

    What is sent of a run on this machine is marked beside it, by wandb; of one in a bucket, where
    nothing is written, in this user's cache.

    Args:
        uri: of the run (see ``find_run``).
        seconds: that the upload may take.

    Returns:
        How many there were.

    Raises:
        InputError: ``WANDB_API_KEY`` is not set, or there is nothing to send.
        StepError: the runs can't be read, W&B does not answer, or ``wandb sync`` failed or took
            too long. What it sent stays; it can be called again.
    """
    if not os.environ.get("WANDB_API_KEY"):
        raise InputError("WANDB_API_KEY is not set: set it to the key of your W&B account")
    _reach_wandb()
    # wandb sync writes its own log here, not where the caller stands.
    with tempfile.TemporaryDirectory(prefix="genpipe-wandb-") as temporary:
        folder, marks = Path(uri), dict[str, Path]()
        if storage.is_remote(uri):
            folder = Path(temporary)
            marks = _fetch(uri, folder)
        offline = sorted(
            path for path in folder.rglob("offline-run-*") if path.is_dir() and not _is_sent(path)
        )
        if not offline:
            marked = f" (the marks are in {_cache()})" if marks else ""
            raise InputError(
                f"nothing to sync at {uri}: all that its steps logged was sent{marked}, or nothing "
                "was logged"
            )
        command = [sys.executable, "-P", "-m", "wandb", "sync", *map(str, offline)]
        try:
            status = subprocess.run(
                command, env={**os.environ, "WANDB_DIR": temporary}, timeout=seconds
            ).returncode
        except subprocess.TimeoutExpired:
            raise StepError(
                f"wandb sync was not done after {format_seconds(seconds)}: call it again, with a"
                " longer --timeout"
            ) from None
        finally:
            for path in offline:
                if path.name in marks and _is_sent(path):
                    _mark(marks[path.name])
    if status:
        raise StepError(f"wandb sync ended with status {status}: its own lines above say why")
    return len(offline)


def _fetch(uri: str, folder: Path) -> dict[str, Path]:
    """Copy W&B's runs that are not marked as sent from a bucket; returns the mark of each."""
    files: dict[str, dict[str, storage.File]] = {}
    for file in storage.scan(uri):
        if match := OFFLINE.search(file.name):
            files.setdefault(match[1], {})[f"{match[1]}/{file.name[match.end() :]}"] = file
    marks = {run: _cache() / _digest(uri, own) for run, own in files.items()}
    wanted = [own for run, own in files.items() if not marks[run].exists()]
    storage.pull(uri, folder, {name: file for own in wanted for name, file in own.items()})
    return marks


def _digest(uri: str, files: Mapping[str, storage.File]) -> str:
    """What names a W&B run as it lies in a bucket, for the server that it is sent to."""
    contents = (f"{file.name} {file.size} {file.checksum}" for file in files.values())
    return hashlib.sha256("\n".join([wandb_host(), uri, *contents]).encode()).hexdigest()[:32]


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(base) / "genpipe" / "wandb-sent"


def _mark(path: Path) -> None:
    with contextlib.suppress(OSError):  # then it is sent again some day, to the same W&B run
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _is_sent(run: Path) -> bool:
    return any(run.glob(f"*{SENT}"))


def _reach_wandb() -> None:
    """Make sure that something answers where W&B is: wandb sync would go on trying."""
    host = wandb_host()
    try:
        urllib.request.urlopen(host, timeout=SECONDS_FOR_AN_ANSWER).close()
    except urllib.error.HTTPError:
        pass  # an answer
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise StepError(f"W&B does not answer at {host}: check WANDB_BASE_URL ({error})") from None
