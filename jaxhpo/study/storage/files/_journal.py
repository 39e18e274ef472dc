"""Optuna's journal files, with what a crash or a full disk leaves at their end."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pathlib
import time
from typing import Any

from optuna.storages.journal import JournalFileBackend

from jaxhpo.study.storage._errors import StorageError
from jaxhpo.study.storage.files._journal_lock import JournalLock

logger = logging.getLogger("jaxhpo")

_BLOCK = 1 << 16


class JournalFile(JournalFileBackend):
    """Optuna's file of lines, where a line that was cut short swallows no other one.

    Optuna's own programs read and write the same file, and take the same lock.
    """

    def __init__(self, path: str) -> None:
        """Opens the file, made if there is none, and puts its end in order."""
        self._path = path
        super().__init__(path, JournalLock(path))
        check_journal(path)
        if not _is_whole(path, parse=True):
            try:
                self._lock.acquire()
            except OSError as error:  # a folder that cannot be written
                logger.warning("%s: the last line is cut short and is ignored (%s)", path, error)
                return
            try:
                _move_torn_line(path)
            finally:
                self._lock.release()

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Appends lines, all of them or none.

        Args:
            logs: the records.
        """
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        self._lock.acquire()
        try:
            if not _is_whole(self._path, parse=False):  # another process died in its line
                _move_torn_line(self._path)
            size = os.path.getsize(self._path)
            # Without a buffer of its own, closing the file after an error writes nothing more.
            with open(self._path, "ab", buffering=0) as file:
                try:
                    _write_all(file, lines.encode())
                    os.fsync(file.fileno())
                except BaseException:
                    with contextlib.suppress(OSError):
                        file.truncate(size)
                    raise
        finally:
            self._lock.release()


def check_journal(path: str, *, is_damaged: bool = False) -> None:
    """Requires that a file is a journal, or is empty.

    Args:
        path: the file.
        is_damaged: whether some line is known to be none; the first such one is then named.

    Raises:
        StorageError: it is no journal, or it is damaged.
    """
    with open(path, "rb") as file:
        first = file.readline()
        if first and not _is_record(first) and (file.read(1) or first[:1] not in b"{\0"):
            raise StorageError(
                f"Study: `storage` {path!r} must be an Optuna journal, but the file is not one."
            )
        if not is_damaged:
            return
        file.seek(0)
        lines = file.readlines()
    number = next(i for i, line in enumerate(lines, 1) if not _is_record(line))
    raise StorageError(
        f"Study: `storage` {path!r} is damaged: line {number} of {len(lines)} is not a journal "
        "record. The lines before and after it are intact: repair or remove that line in a copy "
        "of the file."
    )


def _is_whole(path: str, *, parse: bool) -> bool:
    """Whether a file ends with a whole line; with `parse`, also whether that line is a record."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            return True
        if not parse:
            file.seek(size - 1)
            return file.read(1) == b"\n"
        file.seek(_start_of_last_line(path))
        line = file.read()
    return line.endswith(b"\n") and _is_record(line)


def _move_torn_line(path: str) -> None:
    """Moves a line that was cut short into a file of its own; the caller holds the lock."""
    start = _start_of_last_line(path)
    with open(path, "r+b") as file:
        file.seek(start)
        line = file.read()
        if _is_record(line):
            if not line.endswith(b"\n"):  # only its end is missing
                file.write(b"\n")
            return
        torn = f"{path}.torn-{time.time_ns()}"
        try:
            pathlib.Path(torn).write_bytes(line)
            where = f"it is kept in {torn}"
        except OSError:
            where = f"it was {line[:200]!r}"
        file.truncate(start)
        os.fsync(file.fileno())
    logger.warning(
        "%s: the last line was cut short by a crash or a full disk and is ignored (%s)",
        path,
        where,
    )


def _start_of_last_line(path: str) -> int:
    """Where the last line of a file begins, whether or not it has an end."""
    with open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END) - 1
        while end > 0:
            start = max(end - _BLOCK, 0)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
    return 0


def _is_record(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _write_all(file: Any, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
