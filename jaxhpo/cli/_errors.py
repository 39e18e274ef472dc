"""Errors as a person at a terminal wants them: one line, and an exit code for scripts."""

from __future__ import annotations

import os
import sys
import traceback

from jaxhpo.progress import printable

USAGE = 2
NO_RESULT = 3


class UserError(Exception):
    """An error that the user can fix; shown as one line.

    Attributes:
        code: the exit code of the process.
    """

    def __init__(self, message: str, code: int = USAGE) -> None:
        super().__init__(message)
        self.code = code


def say_error(error: Exception) -> int:
    """Prints an error to standard error and returns the exit code.

    The traceback is shown with `--debug` (or the environment variable JAXHPO_DEBUG).
    """
    if os.environ.get("JAXHPO_DEBUG"):
        print(printable("".join(traceback.format_exception(error))), end="", file=sys.stderr)
    show = getattr(error, "format_message", None)  # click's own usage errors
    message = show() if show else str(error) or type(error).__name__
    known = isinstance(error, UserError | ValueError | TypeError | RuntimeError | OSError)
    prefix = "" if known or show else f"{type(error).__name__}: "
    hint = "" if known or show else " (run with `jaxhpo --debug …` for the traceback)"
    line = f"{prefix}{' '.join(message.split())}{hint}"
    print(f"jaxhpo: error: {printable(line)}", file=sys.stderr)
    if isinstance(error, UserError):
        return error.code
    return USAGE if known or show else 1
