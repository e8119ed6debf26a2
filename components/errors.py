"""Errors that are the caller's to mend, told in one line and without a traceback."""

import signal


class InputError(ValueError):
    """Bad input, refused before work starts.

    The message names what was wrong, with the value, what was expected, and what to do.
    """


class StepError(RuntimeError):
    """A step that could not do its work for a reason outside the program (a host, a disk, a file).

    The message names the file or host, what was expected, and what to do.
    """


class Preempted(SystemExit):
    """SIGTERM came, and the step left what its next attempt goes on from.

    The exit status is 143, that of a process that SIGTERM ended: KFP tries the task again.
    """

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)

    def __str__(self) -> str:
        return "SIGTERM: the step ends here, and its next attempt goes on from the last checkpoint"
