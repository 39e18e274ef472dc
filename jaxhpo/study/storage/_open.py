"""Opens what the user calls a storage: memory, a SQLite file, a journal file or a server."""

from __future__ import annotations

import contextlib
import itertools
import os
import pathlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from jaxhpo._checks import describe
from jaxhpo.study.running._interrupts import interruptible_sleep
from jaxhpo.study.storage._errors import (
    StorageError,
    database_errors,
    error_chain,
    readable_errors,
    version_errors,
)
from jaxhpo.study.storage._secrets import redact_secrets, redact_url
from jaxhpo.study.storage.files._sqlite import (
    check_sqlite_file,
    configure_sqlite,
    is_read_only,
    read_sqlite,
)

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

# How long a writer waits for another one before it says that the database is locked.
BUSY_SECONDS = 30.0
# What a database says where two processes make the same thing at once.
_RACES = (
    "already exists", "duplicate key", "unique constraint", "is locked", "schema has changed",
    "deadlock", "no such table: alembic_version",
)  # fmt: skip

T = TypeVar("T")

_SQLITE_SUFFIXES = (".db", ".sqlite", ".sqlite3")
_JOURNAL_SUFFIXES = (".log", ".journal", ".jsonl")
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
    if "://" in text:
        text = text.strip()
    else:
        suffix = pathlib.Path(text).suffix
        if suffix in _JOURNAL_SUFFIXES:
            return _open_journal(text), text
        if suffix not in _SQLITE_SUFFIXES:
            got = describe(redact_url(text))
            raise ValueError(f"Study: `storage` must be {_EXPECTED}, got {got}.")
        text = f"sqlite:///{text}"
    return _open_database(text)


def _open_database(url: str) -> tuple[BaseStorage, str]:
    """Opens a database by URL."""
    import optuna
    import sqlalchemy

    display_url = redact_url(url)
    try:
        parsed = sqlalchemy.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise ValueError(
            f"Study: `storage` must be {_EXPECTED}, got {describe(display_url)}."
        ) from None
    if parsed.drivername in ("postgresql", "postgres"):
        url = parsed.set(drivername=_postgres_driver()).render_as_string(hide_password=False)
    kwargs: dict[str, Any] = {}
    if parsed.get_backend_name() == "sqlite":
        path = str(parsed.database)
        is_file = parsed.database not in (None, "", ":memory:") and not path.startswith("file:")
        kwargs["connect_args"] = {"timeout": BUSY_SECONDS}
        kwargs["pool_events"] = [(configure_sqlite, "connect")]
        if is_file and is_read_only(path):
            return read_sqlite(path, display_url, BUSY_SECONDS), display_url
        if is_file:
            check_sqlite_file(path, display_url)
    elif parsed.get_backend_name() == "postgresql":
        kwargs["pool_events"] = [(_limit_lock_waits, "connect")]
    with quiet_optuna(), readable_errors(display_url), version_errors(display_url):
        try:
            storage = retry_on_race(lambda: optuna.storages.RDBStorage(url, kwargs))
        except (ImportError, sqlalchemy.exc.NoSuchModuleError) as error:
            raise StorageError(
                f"Study: `storage` {display_url!r} needs a database driver that is not installed "
                f'({redact_secrets(str(error))}). For PostgreSQL: pip install "jaxhpo[postgres]".'
            ) from error
    return optuna.storages.get_storage(storage), display_url


def retry_on_race(make: Callable[[], T]) -> T:
    """Opens or makes something, again where other processes make it at the same time.

    Optuna looks for each table, row and revision, and makes it where there is none; whoever comes
    between has made it. The next attempt finds it.

    Args:
        make: opens it; may be called many times.

    Returns:
        What `make` returns.
    """
    deadline = time.monotonic() + 2 * BUSY_SECONDS
    for attempt in itertools.count():
        try:
            return make()
        # AssertionError is Optuna's, of a version row that another process has not committed yet.
        except database_errors(AssertionError) as error:
            text = " ".join(str(one).lower() for one in error_chain(error))
            is_race = isinstance(error, AssertionError) or any(one in text for one in _RACES)
            if not is_race or time.monotonic() > deadline:
                raise
            # Of many that began at once, each waits for another while.
            interruptible_sleep(random.uniform(0.02, 0.1) * 2 ** min(attempt, 5))
    raise AssertionError("unreachable: the loop has no end")


def _postgres_driver() -> str:
    """The installed driver: which one a plain URL means differs between SQLAlchemy releases."""
    import importlib.util

    for module in ("psycopg", "psycopg2"):
        if importlib.util.find_spec(module) is not None:
            return f"postgresql+{module}"
    return "postgresql"


def _limit_lock_waits(connection: Any, record: Any) -> None:
    """Lets PostgreSQL report a lock of another program, where it would wait in silence for ever."""
    del record
    cursor = connection.cursor()
    cursor.execute("SHOW lock_timeout")
    if cursor.fetchone()[0] == "0":
        cursor.execute(f"SET lock_timeout = {int(1000 * BUSY_SECONDS)}")
    cursor.close()
    connection.commit()


def _open_journal(path: str) -> BaseStorage:
    """Opens a journal file, and reads it once so that damage shows now."""
    import json

    from optuna.storages import JournalStorage

    from jaxhpo.study.storage.files._journal import JournalFile, check_journal

    if not pathlib.Path(path).resolve().parent.is_dir():
        raise StorageError(f"Study: `storage` {path!r} cannot be created: there is no such folder.")
    try:
        with quiet_optuna():
            return JournalStorage(JournalFile(path))
    except (json.JSONDecodeError, UnicodeDecodeError):
        check_journal(path, is_damaged=True)
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StorageError(
            f"Study: `storage` {path!r} must be an Optuna journal, but the file is not one "
            f"({type(error).__name__}: {error})."
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


def location_of(storage: BaseStorage) -> str | None:
    """The file of a storage, or its URL without secrets; None if it lives in memory."""
    backend = getattr(storage, "_backend", None)
    path = getattr(backend, "_file_path", None)
    if path is not None:
        return os.fspath(path)
    engine = getattr(backend, "engine", None)
    if engine is None:
        return None
    if engine.name != "sqlite":
        return redact_url(str(getattr(backend, "url", engine.name)))
    database = engine.url.database
    return None if database in (None, "", ":memory:") else str(database)


def address_of(storage: Any) -> str | None:
    """What another process opens a storage by: a URL, or a path that holds in any folder.

    None for a storage in memory, and for one that was given as an object.
    """
    if not isinstance(storage, str | os.PathLike):
        return None
    text = os.fspath(storage).strip()
    if "://" not in text:
        return os.path.abspath(text)
    import sqlalchemy

    parsed = sqlalchemy.make_url(text)
    if parsed.get_backend_name() != "sqlite":
        return text
    if parsed.database in (None, "", ":memory:") or str(parsed.database).startswith("file:"):
        return None
    return parsed.set(database=os.path.abspath(str(parsed.database))).render_as_string(False)


def storage_is_read_only(storage: BaseStorage, location: str | None) -> bool:
    """Whether a storage's file can be read and not written."""
    if location is None or "://" in location:
        return False
    if getattr(getattr(storage, "_backend", None), "engine", None) is not None:
        return is_read_only(location)
    return not os.access(location, os.W_OK)


def get_or_create(storage: BaseStorage, name: str, directions: Sequence[str]) -> tuple[int, bool]:
    """Finds the study of this name or creates it; two that try at once get the same one."""
    from optuna.exceptions import DuplicatedStudyError
    from optuna.study import StudyDirection

    try:
        return storage.get_study_id_from_name(name), False
    except KeyError:
        pass
    try:
        listed = [StudyDirection[direction.upper()] for direction in directions]
        return storage.create_new_study(listed, name), True
    except DuplicatedStudyError:
        return storage.get_study_id_from_name(name), False
