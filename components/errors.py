"""Errors that are the caller's to mend, told in one line and without a traceback."""

import errno
import reprlib

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


def told(error: BaseException) -> str:
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
    if len(line) > LONGEST_LINE:  # such as of a path; its two ends tell most
        line = f"{line[: LONGEST_LINE // 2]} ... {line[-LONGEST_LINE // 2 :]}"
    return line


_brief = reprlib.Repr()
_brief.maxlevel, _brief.maxlist, _brief.maxtuple, _brief.maxdict = 2, 4, 4, 4
_brief.maxstring = _brief.maxlong = _brief.maxother = 100


def shown(value: object) -> str:
    """A value as a message names it, however large it is: its repr, abridged."""
    try:
        return _brief.repr(value)
    except ValueError:  # of an int with more digits than Python writes
        return "a number of too many digits"
