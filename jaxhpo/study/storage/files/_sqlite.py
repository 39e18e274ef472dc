"""SQLite files: how they are opened, also where nothing may be written, and when they are whole."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import sqlite3
import tempfile
import time
import urllib.parse
import weakref
from typing import TYPE_CHECKING, Any

from jaxhpo.study.storage._errors import (
    NoStudiesError,
    StorageError,
    explain_database_error,
    readable_errors,
    version_errors,
)

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

_MAGIC = b"SQLite format 3\0"
# Readers that are at work may hold up a checkpoint for so long; the next one will do it.
_CHECKPOINT_MILLISECONDS = 200
_MODE_ATTEMPTS = 60


def configure_sqlite(connection: Any, record: Any) -> None:
    """Lets readers and a writer work side by side, and syncs at checkpoints only.

    A power cut can undo the last commits but never damages the file; a killed process loses
    nothing. That makes a commit three to seventeen times cheaper.

    Args:
        connection: the new connection of the database driver.
        record: the pool's record of it, not used.
    """
    del record
    cursor = connection.cursor()
    for attempt in range(_MODE_ATTEMPTS):
        try:
            if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                cursor.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            # SQLite does not wait here for another process that makes the same change.
            if "locked" not in str(error) or attempt == _MODE_ATTEMPTS - 1:
                raise
            time.sleep(0.02 * min(attempt + 1, 10))
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def checkpoint(engine: Any) -> None:
    """Moves what was written from the write-ahead log into the file, so that a copy of it is whole.

    Args:
        engine: SQLAlchemy's engine of a SQLite file. Readers at work may keep this from happening;
            nothing is lost then, and the next checkpoint does it.
    """
    import sqlalchemy.exc

    with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError), engine.connect() as plain:
        connection = plain.execution_options(isolation_level="AUTOCOMMIT")
        busy_timeout = connection.exec_driver_sql("PRAGMA busy_timeout").scalar()
        connection.exec_driver_sql(f"PRAGMA busy_timeout={_CHECKPOINT_MILLISECONDS}")
        try:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.exec_driver_sql(f"PRAGMA busy_timeout={busy_timeout}")


def check_sqlite_file(path: str, display_url: str) -> None:
    """Refuses a path that cannot be a database before anything is created."""
    file = pathlib.Path(path)
    if file.is_dir():
        raise StorageError(f"Study: `storage` {display_url!r} must be a file, but it is a folder.")
    if not file.parent.is_dir():
        raise StorageError(
            f"Study: `storage` {display_url!r} cannot be created: "
            f"there is no folder {str(file.parent)!r}."
        )
    try:
        if not file.exists() or file.stat().st_size == 0:
            return
        with file.open("rb") as stream:
            head = stream.read(len(_MAGIC))
    except OSError as error:
        raise StorageError(f"Study: `storage` {display_url!r} cannot be read: {error}.") from error
    if head != _MAGIC:
        raise StorageError(
            f"Study: `storage` {display_url!r} must be a SQLite database, but the file is not one."
        )


def is_read_only(path: str) -> bool:
    """Whether a database file exists and cannot be written, itself or the files beside it."""
    if not os.path.isfile(path):
        return False
    if not os.access(path, os.W_OK):
        return True
    if os.access(pathlib.Path(path).resolve().parent, os.W_OK):
        return False
    return not all(os.access(path + ending, os.W_OK) for ending in ("-wal", "-shm"))


class Reader:
    """Makes connections to a database that cannot be written.

    SQLite wants to write files beside a database even to read it. Where it may not, the file is
    read as it lies there; with a log beside it that holds more, a copy of both is read.
    """

    def __init__(self, path: str, timeout: float) -> None:
        """Finds out how the file can be read."""
        self._timeout = timeout
        self._address = f"{_uri(path)}?mode=ro"
        if self._can_be_read():
            return
        log = path + "-wal"
        if os.path.isfile(log) and os.path.getsize(log) > 0:
            folder = tempfile.mkdtemp(prefix="jaxhpo-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            copy = os.path.join(folder, "study.db")
            shutil.copyfile(path, copy)
            shutil.copyfile(log, copy + "-wal")
            self._address = f"{_uri(copy)}?mode=ro"
        else:
            self._address = f"{_uri(path)}?mode=ro&immutable=1"

    def __call__(self) -> sqlite3.Connection:
        """One more connection."""
        return sqlite3.connect(
            self._address, uri=True, timeout=self._timeout, check_same_thread=False
        )

    def _can_be_read(self) -> bool:
        try:
            with contextlib.closing(self()) as connection:
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:
            return False
        except sqlite3.DatabaseError:
            return True  # damaged: whoever reads on says so
        return True


def read_sqlite(path: str, display_url: str, timeout: float) -> BaseStorage:
    """Opens a SQLite file in the database's own read-only mode, whatever may be written.

    Args:
        path: the file.
        display_url: its URL, as the user named it.
        timeout: seconds to wait for a writer.

    Returns:
        The Optuna storage.

    Raises:
        NoStudiesError: the database is of another program.
        StorageError: it cannot be read; the message says why.
    """
    import optuna

    with readable_errors(display_url), version_errors(display_url):
        check_sqlite_file(path, display_url)
        try:
            connect = Reader(path, timeout)
            with contextlib.closing(connect()) as connection:
                query = "SELECT name FROM sqlite_master WHERE type = 'table'"
                names = {row[0] for row in connection.execute(query)}
        except sqlite3.Error as error:
            raise StorageError(explain_database_error(display_url, error)) from error
        if "studies" not in names:
            raise NoStudiesError(f"Study: `storage` {display_url!r} holds no studies.")
        settings = {"creator": connect}
        storage = optuna.storages.RDBStorage(display_url, settings, skip_table_creation=True)
    return optuna.storages.get_storage(storage)


def _uri(path: str) -> str:
    return "file:" + urllib.parse.quote(str(pathlib.Path(path).resolve()))
