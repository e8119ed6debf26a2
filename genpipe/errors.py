"""Errors that the caller can mend, reported in one line and without a traceback."""

import difflib
import errno
import reprlib
import ssl
from collections.abc import Iterable

# What the machine refuses whoever asks: a full disk, a file of somebody else's, a name too long.
REFUSALS = (
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENAMETOOLONG),
)
LONGEST_LINE = 1000


class InputError(ValueError):
    """Bad input, refused before work starts.

    The message names what was wrong, with the value, what was expected, and what to do.
    """


class StepError(RuntimeError):
    """A step that could not do its work for a reason outside the program (a host, a disk, a file).

    The message names the file or host, what was expected, and what to do.
    """


def expected_message(error: BaseException) -> str:
    """What to say of an expected error, in one line; empty for an error that is a bug.

    Expected are ``InputError``, ``StepError``, and what the machine refuses (``REFUSALS``) wherever
    it is met: nothing is to be gained from a traceback of a full disk.
    """
    if isinstance(error, (InputError, StepError)):
        line = " ".join(str(error).splitlines())
    elif isinstance(error, OSError) and error.errno in REFUSALS:
        where = f" at {error.filename}" if error.filename else ""
        line = f"{error.strerror}{where}: check the path and the space left"
    else:
        return ""
    if len(line) > LONGEST_LINE:  # of a long path the two ends say most
        line = f"{line[: LONGEST_LINE // 2]} ... {line[-LONGEST_LINE // 2 :]}"
    return line


def unreachable(error: BaseException) -> str:
    """Why there was no connection, in one line: what the network said, below a library's errors."""
    reason, inner = error, _inner(error)
    while inner:
        if isinstance(inner, OSError):
            reason = inner
        inner = _inner(inner)
    line = " ".join(str(reason).split()) or type(reason).__name__
    if isinstance(reason, ssl.SSLCertVerificationError):
        line += "; name the file of your own authority's certificates in REQUESTS_CA_BUNDLE"
    return line


def _inner(error: BaseException) -> BaseException | None:
    """The error that led to another one, or that it was made of."""
    made_of = (part for part in error.args if isinstance(part, BaseException))
    return error.__cause__ or error.__context__ or next(made_of, None)


def did_you_mean(name: object, known: Iterable[str], prefix: str = "") -> str:
    """``did you mean vae?``, where one of the known names is like the one that was given.

    Args:
        name: that was given.
        known: the names that there are.
        prefix: what the name is written with.
    """
    near = difflib.get_close_matches(name.lower(), known, n=1) if isinstance(name, str) else []
    return f"did you mean {prefix}{near[0]}?" if near else ""


_brief = reprlib.Repr()
_brief.maxlevel, _brief.maxlist, _brief.maxtuple, _brief.maxdict = 2, 4, 4, 4
_brief.maxstring = _brief.maxlong = _brief.maxother = 100


def plain(number: float) -> str:
    """A number as people write it: ``4096``, ``100,000,000``, ``0.00000001``."""
    text = f"{number:,}" if isinstance(number, int) else f"{number:,.10f}".rstrip("0").rstrip(".")
    return text if abs(number) >= 10_000 else text.replace(",", "")


def shown(value: object) -> str:
    """A value as a message names it, however large it is: its repr, abridged."""
    try:
        return _brief.repr(value)
    except ValueError:  # of an int with more digits than Python writes
        return "a number of too many digits"
