"""What data sets are called, and the sources that are no places."""

from __future__ import annotations

import re

from genpipe.errors import InputError, shown

SOURCES = ("auto", "tfds", "wheel")
NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,62}(/[\w.-]{1,63})?", re.ASCII)


def check_name(name: str) -> None:
    """Refuse what can't be a data set's name.

    Raises:
        InputError: it can't.
    """
    if not NAME.fullmatch(name):
        raise InputError(
            f"data set {shown(name)}: use letters, digits, '.', '_' and '-', at most 63 (and a "
            "slash before a configuration of TensorFlow Datasets)"
        )
