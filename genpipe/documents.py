"""The JSON documents that steps leave for each other, read as what anybody may have written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from genpipe.errors import StepError

# Digits of the longest integer that is read as one: a float64 holds it too.
LONGEST_INTEGER = 300


def parse_document(content: bytes | str, *sections: str) -> dict[str, Any]:
    """Read a JSON object. With any number in it can be calculated; it may be NaN or infinity.

    Args:
        content: the text.
        sections: names that, where they are there, hold objects too.

    Raises:
        ValueError: it is something else, damaged, or nested too deep; the message says what.
    """
    text = content if isinstance(content, str) else content.decode()
    try:
        found = json.loads(text, parse_int=_number)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(found, dict):
        raise ValueError(f"it must be an object, found {type(found).__name__}")
    for name in sections:
        if not isinstance(found.get(name, {}), dict):
            raise ValueError(f"{name!r} must be an object, found {type(found[name]).__name__}")
    return found


def read_document(path: Path, *sections: str) -> dict[str, Any]:
    """Read a JSON object that an earlier step wrote; ``sections`` as for ``parse_document``.

    Raises:
        StepError: the file is not there, or holds something else.
    """
    try:
        return parse_document(path.read_bytes(), *sections)
    except (OSError, ValueError) as error:
        raise StepError(
            f"can't read {path}, which an earlier step should have written: {error}; "
            "run that step again"
        ) from error


def _number(text: str) -> int | float:
    return int(text) if len(text) <= LONGEST_INTEGER else float(text)
