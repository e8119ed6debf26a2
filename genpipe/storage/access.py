"""The places that a run reads from and writes to, and whether they can be used.

A bucket that is missing or closed is reported in one line before anything is trained, and not by
the last step after hours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from genpipe import storage
from genpipe.errors import StepError


@dataclass(frozen=True)
class Place:
    """A place that a run will use.

    Attributes:
        setting: the parameter or the environment's field that names it.
        uri: its address.
        write: whether the run writes there.
    """

    setting: str
    uri: str
    write: bool


def places(source: str = "", **written: str) -> Iterator[Place]:
    """The places that settings name.

    Args:
        source: of the data set; ``auto``, ``tfds`` and ``wheel`` are no places.
        written: addresses that the run writes to, by their settings' names; empty ones are skipped.
    """
    if storage.is_remote(source) or Path(source).is_absolute():
        yield Place("source", source, write=False)
    for setting, uri in written.items():
        if uri:
            yield Place(setting, uri, write=True)


def check(place: Place) -> None:
    """Make sure that a place can be used; what is to be read must hold something.

    Raises:
        NoCredentialsError: this machine has nothing to log in with.
        StepError: it can't be used; the message names the setting, the place and the reason.
    """
    try:
        storage.check(place.uri, write=place.write)
        if not place.write and not storage.exists(place.uri):
            raise StepError(f"there is nothing at {place.uri}: check the address")
    except StepError as error:
        raise type(error)(f"{place.setting}: {error}") from error
