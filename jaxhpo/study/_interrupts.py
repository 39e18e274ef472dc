"""Ctrl-C that never cuts a write in half."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Interrupts:
    """Lets Ctrl-C through while the user's own code runs, and otherwise only remembers it.

    Outside the main thread, or where the program has a handler of its own, nothing is changed.
    """

    def __init__(self) -> None:
        self._is_open = False
        self._is_pending = False
        self._previous: object = None

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.getsignal(signal.SIGINT)
            if self._previous is signal.default_int_handler:
                signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._previous is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self._previous = None

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Lets an interrupt raise `KeyboardInterrupt` while the body runs."""
        self.check()
        self._is_open = True
        try:
            yield
        finally:
            self._is_open = False

    def check(self) -> None:
        """Raises the interrupt that came while it was held back."""
        if self._is_pending:
            self._is_pending = False
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._is_open:
            raise KeyboardInterrupt
        self._is_pending = True
