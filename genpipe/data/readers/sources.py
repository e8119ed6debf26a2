"""Where a data set comes from: known by name, and in reach."""

from __future__ import annotations

import threading
from pathlib import Path
from urllib.parse import urlsplit

from genpipe import storage
from genpipe.data.readers.published import DATASETS
from genpipe.errors import InputError, StepError, unreachable

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
            " folder or gs:// prefix with the data set's four .gz files "
            "(train-images-idx3-ubyte.gz, …)"
        )


def check_reachable(url: str, seconds: float = SECONDS_TO_ANSWER) -> None:
    """Ask a host for one file's header, so that a closed network is reported at once.

    By the client that TFDS downloads with, so that proxies and certificates are the same.

    Raises:
        StepError: the host did not answer in time, or refuses the file.
    """
    import requests  # type: ignore[import-untyped, unused-ignore]

    outcome: list[Exception | None] = []

    def ask() -> None:
        try:
            requests.head(url, timeout=seconds, allow_redirects=True).raise_for_status()
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
    if isinstance(error, requests.HTTPError):
        raise StepError(
            f"{host} answered {error.response.status_code} to a request for {url}: try later, or"
            " choose another source (the wheel, or a folder with the data set's four .gz files)"
        ) from error
    raise StepError(
        f"cannot reach {host} to download the data set ({unreachable(error)}): check the network,"
        " or choose another source (the wheel, or a folder with the data set's four .gz files)"
    ) from error
