"""Errors that are the caller's to mend, told in one line and without a traceback."""


class InputError(ValueError):
    """Bad input, refused before work starts.

    The message names what was wrong, with the value, what was expected, and what to do.
    """


class StepError(RuntimeError):
    """A step that could not do its work for a reason outside the program (a host, a disk, a file).

    The message names the file or host, what was expected, and what to do.
    """
