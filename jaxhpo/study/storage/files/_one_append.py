"""Many changes of an Optuna journal in one append.

Optuna appends, flushes and reads again line by line, milliseconds each. Here the lines of a whole
batch are collected, appended at once under the journal's own lock, and read once.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

_LAST = "_last_created_trial_id_by_this_process"


class _BufferedBackend:
    """Stands in for a journal's backend: keeps what one thread writes, and lets others through."""

    def __init__(self, backend: Any) -> None:
        self._backend, self._thread = backend, threading.get_ident()
        self.logs: list[dict[str, Any]] = []

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        if threading.get_ident() != self._thread:
            self._backend.append_logs(logs)
            return
        self.logs += logs

    def read_logs(self, start: int) -> Any:
        return () if threading.get_ident() == self._thread else self._backend.read_logs(start)


def one_append(storage: Any) -> contextlib.AbstractContextManager[list[int]]:
    """Lets what this thread writes in the block reach the journal at its end, all or nothing.

    Inside of the block the storage shows the state before it.

    Args:
        storage: a journal; with any other storage nothing changes.

    Returns:
        A context that gives a list, which afterwards holds the identifiers of the trials created in
        a journal: the calls in the block could not return them.
    """
    return _appending(storage) if _is_journal(storage) else contextlib.nullcontext([])


@contextlib.contextmanager
def _appending(storage: Any) -> Iterator[list[int]]:
    from optuna.storages.journal._storage import JournalOperation

    created: list[int] = []
    backend, replay = storage._backend, storage._replay_result
    collected = _BufferedBackend(backend)
    with storage._thread_lock:
        storage._sync_with_backend()
        if not hasattr(replay, _LAST):
            setattr(replay, _LAST, -1)
        storage._backend = collected
    try:
        yield created
    finally:
        storage._backend = backend
    with storage._thread_lock:
        if collected.logs:
            backend.append_logs(collected.logs)
        storage._sync_with_backend()
        # A trial's identifier is its place in the journal, and nothing comes between these.
        last = getattr(replay, _LAST)
        count = sum(log["op_code"] == JournalOperation.CREATE_TRIAL for log in collected.logs)
        created += range(last - count + 1, last + 1)


def _is_journal(storage: Any) -> bool:
    """Whether a storage is a journal of the form known here."""
    from optuna.storages import JournalStorage

    parts = ("_backend", "_replay_result", "_sync_with_backend", "_thread_lock")
    return isinstance(storage, JournalStorage) and all(hasattr(storage, part) for part in parts)
