"""Retries while a storage is unavailable: locked by another program, or its server restarts."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import TypeVar

from jaxhpo.study.running._interrupts import interruptible_sleep
from jaxhpo.study.storage import _open
from jaxhpo.study.storage._errors import StorageError, readable_errors

logger = logging.getLogger("jaxhpo")

# Seconds that a run waits for its storage, if not this many times the wait for a lock.
PATIENCE_VARIABLE = "JAXHPO_PATIENCE"
_TIMES_BUSY = 10
_FIRST_PAUSE, _LONGEST_PAUSE, _SECONDS_BETWEEN_LINES = 0.1, 5.0, 60.0
# A single attempt that took longer than this has waited already, for a lock.
_FIRST_WAIT = 2.0

T = TypeVar("T")


def retry_timeout() -> float:
    """How long a run waits: `$JAXHPO_PATIENCE` seconds, 300 where that is not set.

    Raises:
        ValueError: the variable holds no number of seconds.
    """
    chosen = os.environ.get(PATIENCE_VARIABLE)
    if not chosen:
        return _TIMES_BUSY * _open.BUSY_SECONDS
    try:
        seconds = float(chosen)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise ValueError(f"{PATIENCE_VARIABLE} must be a number of seconds, got {chosen!r}.")
    return seconds


def with_retries(display_name: str, action: Callable[[bool], T]) -> T:
    """Calls an action on a storage, and retries as long as waiting can help.

    A line of the log says when the waiting begins, one per minute that it goes on, and one that it
    is over.

    Args:
        display_name: the storage as the user named it, passwords hidden.
        action: called with whether it was tried before: an attempt may have been written although
            the answer was lost.

    Returns:
        What `action` returns.

    Raises:
        StorageError: waiting cannot help, or has taken longer than `retry_timeout`.
        KeyboardInterrupt: the user stopped the waiting; nothing is half done.
    """
    start, last_logged, wait = time.monotonic(), 0.0, _FIRST_PAUSE
    is_retry = False
    while True:
        try:
            with readable_errors(display_name):
                result = action(is_retry)
        except StorageError as error:
            waited = time.monotonic() - start
            left = retry_timeout() - waited
            if not error.may_pass or left <= 0:
                raise
            # The first attempt anew says nothing: it is for connections that a restart has cut.
            is_away = is_retry or waited > _FIRST_WAIT
            if is_away and (not last_logged or waited - last_logged >= _SECONDS_BETWEEN_LINES):
                logger.warning(
                    "%s %s; retrying for another %.0f s",
                    error,
                    "Waiting for it" if not last_logged else f"Still waiting, for {waited:.0f} s",
                    left,
                )
                last_logged = max(waited, 1e-9)
            interruptible_sleep(min(wait, left))
            is_retry, wait = True, min(2 * wait, _LONGEST_PAUSE)
        else:
            if last_logged:
                waited = time.monotonic() - start
                logger.warning("storage %s is available again after %.0f s", display_name, waited)
            return result
