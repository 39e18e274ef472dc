"""Writes that the process of running trials lives, from a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from jaxhpo.study.storage._errors import StorageError, readable_errors

if TYPE_CHECKING:
    from jaxhpo.study.storage._store import Store

logger = logging.getLogger("jaxhpo")


class Heartbeat:
    """Within, the storage hears every so many seconds which trials this process runs."""

    def __init__(self, store: Store, seconds: float, running: Callable[[], Sequence[int]]) -> None:
        """Starts nothing yet.

        Args:
            store: the study's rows.
            seconds: between two signs of life.
            running: gives the identifiers of the trials, in any thread.
        """
        self._store, self._seconds, self._running = store, seconds, running
        self._is_over, self._has_warned = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="jaxhpo-heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_over.wait(self._seconds):
            try:
                with readable_errors(self._store.display_name):
                    self._store.beat(self._running())
            except StorageError as error:  # the next one may get through
                if not self._has_warned:
                    logger.warning("study %r: no sign of life: %s", self._store.name, error)
                self._has_warned = True
