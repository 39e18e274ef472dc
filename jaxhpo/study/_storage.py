"""Opens what the user calls a storage: memory, a SQLite file, a journal file or a server."""

from __future__ import annotations

import contextlib
import os
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from jaxhpo._checks import describe
from jaxhpo.study._errors import StorageError, readable_errors

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

# How long a writer waits for another one before it says that the database is locked.
BUSY_SECONDS = 30.0
_MAX_ATTEMPTS = 6

_SQLITE_SUFFIXES = (".db", ".sqlite", ".sqlite3")
_JOURNAL_SUFFIXES = (".log", ".journal", ".jsonl")
_SQLITE_MAGIC = b"SQLite format 3\0"
_EXPECTED = (
    "None (memory), a database URL such as 'sqlite:///study.db' or 'postgresql://host/name', "
    "a path ending in .db, .sqlite or .sqlite3, a journal path ending in .log, .journal or .jsonl, "
    "or an Optuna storage"
)


def open_storage(storage: Any) -> tuple[BaseStorage, str]:
    """Opens a storage, creating its file or tables where there are none.

    Args:
        storage: None, a URL, a path or an Optuna storage object.

    Returns:
        The Optuna storage, and its name for messages with any password hidden.

    Raises:
        TypeError: `storage` is of no known kind.
        ValueError: a string that is neither a URL nor a path with a known ending.
        StorageError: it cannot be opened; the message says why.
    """
    import optuna

    if storage is None:
        return optuna.storages.InMemoryStorage(), "memory"
    if isinstance(storage, optuna.storages.BaseStorage):
        return optuna.storages.get_storage(storage), type(storage).__name__
    if not isinstance(storage, str | os.PathLike):
        raise TypeError(f"Study: `storage` must be {_EXPECTED}, got {describe(storage)}.")
    text = os.fspath(storage)
    if "://" not in text:
        suffix = pathlib.Path(text).suffix
        if suffix in _JOURNAL_SUFFIXES:
            return _open_journal(text), text
        if suffix not in _SQLITE_SUFFIXES:
            raise ValueError(f"Study: `storage` must be {_EXPECTED}, got {describe(text)}.")
        text = f"sqlite:///{text}"
    return _open_database(text)


def _open_database(url: str) -> tuple[BaseStorage, str]:
    """Opens a database by URL."""
    import optuna
    import sqlalchemy

    try:
        parsed = sqlalchemy.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise ValueError(f"Study: `storage` must be {_EXPECTED}, got {describe(url)}.") from None
    shown = parsed.render_as_string(hide_password=True)
    if parsed.drivername in ("postgresql", "postgres"):
        url = parsed.set(drivername=_postgres_driver()).render_as_string(hide_password=False)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    if is_sqlite and parsed.database not in (None, "", ":memory:"):
        _check_sqlite_file(str(parsed.database), shown)
    kwargs: dict[str, Any] = {}
    if is_sqlite:
        kwargs["connect_args"] = {"timeout": BUSY_SECONDS}
        kwargs["pool_events"] = [(configure_sqlite, "connect")]
    with quiet_optuna(), readable_errors(shown):
        try:
            storage = _create_tables_once(lambda: optuna.storages.RDBStorage(url, kwargs))
        except (ImportError, sqlalchemy.exc.NoSuchModuleError) as error:
            raise StorageError(
                f"Study: `storage` {shown!r} needs a database driver that is not installed "
                f'({error}). For PostgreSQL: pip install "jaxhpo[postgres]".'
            ) from error
        except RuntimeError as error:
            if isinstance(error, StorageError | optuna.exceptions.StorageInternalError):
                raise
            raise StorageError(
                f"Study: `storage` {shown!r} is of another Optuna version: {error}"
            ) from error
    return optuna.storages.get_storage(storage), shown


def _create_tables_once(open_: Callable[[], Any]) -> Any:
    """Opens a database; where another process creates its tables just now, once more."""
    import sqlalchemy.exc

    races = (sqlalchemy.exc.IntegrityError, sqlalchemy.exc.ProgrammingError)
    for attempt in range(_MAX_ATTEMPTS):
        try:
            return open_()
        except races as error:
            is_race = any(text in str(error) for text in ("already exists", "duplicate key"))
            if not is_race or attempt == _MAX_ATTEMPTS - 1:
                raise
            time.sleep(0.1 * 2**attempt)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _postgres_driver() -> str:
    """The installed driver: which one a plain URL means differs between SQLAlchemy releases."""
    import importlib.util

    for module in ("psycopg", "psycopg2"):
        if importlib.util.find_spec(module) is not None:
            return f"postgresql+{module}"
    return "postgresql"


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
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _check_sqlite_file(path: str, shown: str) -> None:
    """Refuses a path that cannot be a database before anything is created."""
    file = pathlib.Path(path)
    if file.is_dir():
        raise StorageError(f"Study: `storage` {shown!r} must be a file, and it is a folder.")
    if not file.parent.is_dir():
        raise StorageError(
            f"Study: `storage` {shown!r} cannot be created: "
            f"there is no folder {str(file.parent)!r}."
        )
    if not file.exists() or file.stat().st_size == 0:
        return
    try:
        with file.open("rb") as stream:
            head = stream.read(len(_SQLITE_MAGIC))
    except OSError as error:
        raise StorageError(f"Study: `storage` {shown!r} cannot be read: {error}.") from error
    if head != _SQLITE_MAGIC:
        raise StorageError(
            f"Study: `storage` {shown!r} must be a SQLite database, and the file is not one."
        )


def _open_journal(path: str) -> BaseStorage:
    """Opens a journal file, and reads it once so that damage shows now."""
    import json

    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    if not pathlib.Path(path).resolve().parent.is_dir():
        raise StorageError(f"Study: `storage` {path!r} cannot be created: there is no such folder.")
    try:
        with quiet_optuna():
            return JournalStorage(JournalFileBackend(path))
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise StorageError(
            f"Study: `storage` {path!r} must be an Optuna journal, and the file is not one "
            f"({error})."
        ) from error
    except OSError as error:
        raise StorageError(f"Study: `storage` {path!r} cannot be opened: {error}.") from error


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Holds back Optuna's INFO lines while the body runs."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(level, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)
