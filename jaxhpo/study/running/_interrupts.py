"""Ctrl-C and SIGTERM, deferred so that they never interrupt a write."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from types import FrameType
from typing import Any

_HANDLED: dict[int, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
}
# Signals that were handled.
_LAST: deque[int] = deque([signal.SIGINT], maxlen=1)
# Innermost last.
_ACTIVE: list[DeferredInterrupts] = []
# Exit status of a process that was told to end, as shells count it.
TERMINATED = 128 + signal.SIGTERM
_SLICE_SECONDS = 0.2


class Terminated(KeyboardInterrupt, SystemExit):
    """The system told the process to end, as SLURM and `docker stop` do.

    Whatever handles Ctrl-C handles it; where nothing does, the process ends with status 143.
    """

    def __init__(self) -> None:
        super().__init__(TERMINATED)
        self.code = TERMINATED


class DeferredInterrupts:
    """Defers Ctrl-C and SIGTERM, except while the user's own code runs.

    Outside the main thread, or where the program has a handler of its own, nothing is changed.
    """

    def __init__(self) -> None:
        self._is_allowed = False
        self._pending: KeyboardInterrupt | None = None
        self._replaced: list[int] = []

    def __enter__(self) -> DeferredInterrupts:
        if threading.current_thread() is threading.main_thread():
            for number, usual in _HANDLED.items():
                if signal.getsignal(number) is usual:
                    signal.signal(number, self._handle)
                    self._replaced.append(number)
            _ACTIVE.append(self)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number in self._replaced:
            signal.signal(number, _HANDLED[number])
        self._replaced = []
        if self in _ACTIVE:
            _ACTIVE.remove(self)
        if exc_info[0] is None:
            # What came after the last check, too late for the loop.
            self.raise_pending()

    def allow(self) -> contextlib.AbstractContextManager[None]:
        """Lets an interrupt raise `KeyboardInterrupt` (or `Terminated`) while the body runs."""
        return _Allowed(self)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Holds an interrupt back inside of `allow`, while the body writes something down."""
        was_allowed, self._is_allowed = self._is_allowed, False
        try:
            yield
        finally:
            self._is_allowed = was_allowed
        if was_allowed:
            self.raise_pending()

    def raise_pending(self) -> None:
        """Raises the interrupt that was deferred, if any."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            raise pending

    def _handle(self, number: int, frame: FrameType | None) -> None:
        _LAST.append(number)
        interrupt = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
        if self._is_allowed:
            raise interrupt
        self._pending = interrupt


class _Allowed:
    """Entered twice a trial, so that it is no generator."""

    def __init__(self, interrupts: DeferredInterrupts) -> None:
        self._interrupts = interrupts

    def __enter__(self) -> None:
        self._interrupts.raise_pending()
        self._interrupts._is_allowed = True

    def __exit__(self, *exc_info: object) -> None:
        self._interrupts._is_allowed = False


def interrupt_type(interrupt: KeyboardInterrupt) -> type[KeyboardInterrupt]:
    """The class to raise an interrupt as: `Terminated` if its cause is one, else Ctrl-C."""
    return Terminated if isinstance(interrupt.__cause__, Terminated) else KeyboardInterrupt


def exit_status() -> int:
    """What a command that was interrupted ends with: 130 after Ctrl-C, 143 after SIGTERM."""
    return 128 + _LAST[-1]


def interruptible_sleep(seconds: float) -> None:
    """Sleeps where nothing is being written; a deferred interrupt is raised.

    Args:
        seconds: how long.

    Raises:
        KeyboardInterrupt: one came, before or during the sleep.
    """
    is_main = threading.current_thread() is threading.main_thread()
    end = time.monotonic() + seconds
    while True:
        if is_main and _ACTIVE:
            _ACTIVE[-1].raise_pending()
        left = end - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, _SLICE_SECONDS))
