"""What pydantic refuses of settings and parameters, in plain words and on one line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import AfterValidator, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from genpipe.errors import InputError, did_you_mean, plain, shown

# By pydantic's types of errors, with what it says beside them.
WORDS = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a whole number of fewer digits",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "string_unicode": "must be text in UTF-8",
    "string_too_short": "is empty",
    "string_too_long": "must have at most {max_length:,} characters",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be a mapping, e.g. {{latent_sizes: [2, 10]}}",
    "model_type": "must be a mapping, e.g. {{name: value}}",
    "too_short": "is empty",
    "too_long": "must have at most {max_length:,} items",
    "greater_than_equal": "must be at least {ge:,}",
    "less_than_equal": "must be at most {le:,}",
    "literal_error": "must be {expected}",
    "missing": "is missing",
}
UNKNOWN, EMPTY = "unknown_field", "empty"
# After which what was given says nothing.
PLAIN = (EMPTY, "missing", "json_invalid", "too_short", "string_too_short")
# Parts of a place that name a value's type and nothing that anybody wrote.
TYPE = re.compile(r"constrained-|function-|literal\[|^(int|float|str|bool)$")


def between(low: float, high: float) -> AfterValidator:
    """A range that numbers must lie in, both ends included."""

    def check(value: Any) -> Any:
        if not low <= value <= high:
            raise PydanticCustomError("range", f"must lie between {plain(low)} and {plain(high)}")
        return value

    return AfterValidator(check)


def matching(pattern: str, advice: str) -> AfterValidator:
    """A form that text must have from end to end, and what to say of one that has another."""
    form = re.compile(pattern)

    def check(text: str) -> str:
        if not form.fullmatch(text):
            raise ValueError(advice)
        return text

    return AfterValidator(check)


def refuse_unknown(content: Mapping[Any, Any], known: Sequence[str]) -> None:
    """Refuse fields that there are none of, with the one that may be meant.

    Raises:
        PydanticCustomError: names the first.
    """
    for name in content:
        if name not in known:
            hint = did_you_mean(name, known) or f"choose from {', '.join(known)}"
            field = {"field": str(name)}
            raise PydanticCustomError(UNKNOWN, "{field}: unknown field: " + hint, field)


def in_words(problem: ErrorDetails) -> tuple[str, str]:
    """What is wrong with a value, and the value where that says more.

    Args:
        problem: one of pydantic's.

    Returns:
        What follows the value's name, such as ``must be a whole number`` or, after a colon,
        ``: write 30s``; and ``, got 'x'`` or nothing.
    """
    kind, value = problem["type"], problem["input"]
    given = f"got {shown(value)}"
    if isinstance(problem.get("ctx", {}).get("error"), InputError):
        return f": {problem['ctx']['error']}", ""
    if kind == "value_error":
        text = problem["msg"].removeprefix("Value error, ")
        return f": {text}", f"; {given}" if isinstance(value, (str, int, float)) else ""
    if kind == UNKNOWN:
        return problem["msg"], ""
    if value is None and kind != "missing":
        return " is empty", ""
    words = WORDS[kind].format(**problem.get("ctx", {})) if kind in WORDS else problem["msg"]
    words = words.replace("'", "") if kind == "literal_error" else words
    return f" {words}", "" if kind in PLAIN else f", {given}"


def explain(error: ValidationError) -> str:
    """One line on the first problem pydantic found: the field, what is wrong, what was given."""
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"] if not TYPE.search(str(part)))
    words, given = in_words(problem)
    if problem["type"] == UNKNOWN:
        return ".".join(filter(None, (where, words)))
    return f"{where}{words}{given}".removeprefix(": ").strip()
