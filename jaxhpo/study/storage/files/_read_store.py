"""A storage that exists, opened so that nothing in it can change."""

from __future__ import annotations

import os
import pathlib
import weakref
from typing import TYPE_CHECKING, Any

from jaxhpo._checks.suggest import did_you_mean
from jaxhpo.study.storage._bulk import tested_database
from jaxhpo.study.storage._errors import StorageError, readable_errors
from jaxhpo.study.storage._open import BUSY_SECONDS, open_storage
from jaxhpo.study.storage._store import Store
from jaxhpo.study.storage.files._sqlite import read_sqlite

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

_WHERE = "load_study"


class ReadStore(Store):
    """A study's rows to read; opening it neither makes nor writes anything."""

    def __init__(self, storage: Any, name: str) -> None:
        """Finds the study of this name.

        Raises:
            ValueError: there is none.
            StorageError: the storage cannot be read.
        """
        self.name, self.given, self.is_new = name, storage, False
        self._database = self._journal = self._sqlite = None
        self.location, self.has_spooled, self.is_read_only = None, False, True
        self.storage, self.display_name = open_to_read(storage)
        engine = getattr(getattr(self.storage, "_backend", None), "engine", None)
        if engine is not None and isinstance(storage, str | os.PathLike):
            # Connections that this object opened are closed with it.
            self._finalizer = weakref.finalize(self, engine.dispose)
        with readable_errors(self.display_name):
            self._tables = tested_database(self.storage)
            try:
                self.study_id = self.storage.get_study_id_from_name(name)
            except KeyError:
                names = [one.study_name for one in self.storage.get_all_studies()]
                known = f"one of {', '.join(map(repr, names))}" if names else "which has none"
                raise ValueError(
                    f"{_WHERE}: `name` must be that of a study in {self.display_name}, {known}, "
                    f"got {name!r}{did_you_mean(name, names)}"
                ) from None


def open_to_read(storage: Any) -> tuple[BaseStorage, str]:
    """Opens a storage that exists, to read it.

    A file is opened so that nothing can be written to it, whatever its permissions and its
    folder's.

    Args:
        storage: a URL, a path or an Optuna storage.

    Returns:
        The Optuna storage, and its name for messages with any password hidden.

    Raises:
        TypeError: `storage` is None or of no known kind.
        StorageError: it does not exist, or cannot be read.
    """
    if storage is None:
        raise TypeError(
            f"{_WHERE}: `storage` must be a URL, a path or an Optuna storage, got None (a study in "
            "memory ends with its process)."
        )
    path = file_of(storage)
    if path is None:
        return open_storage(storage)
    if not path.exists():
        raise StorageError(f"Study: `storage` {str(storage)!r} cannot be read: no such file.")
    if path.suffix in (".log", ".journal", ".jsonl") and "://" not in os.fspath(storage):
        return open_storage(storage)  # which writes nothing to a journal that is there
    display_url = f"sqlite:///{path}"
    return read_sqlite(str(path), display_url, BUSY_SECONDS), display_url


def is_writable(storage: Any) -> bool:
    """Whether a storage is no file, or one that can be written, and so can its folder."""
    path = file_of(storage)
    return path is None or all(os.access(one, os.W_OK) for one in (path, path.parent))


def file_of(storage: Any) -> pathlib.Path | None:
    """The file under a storage; None where it is none, or no storage at all."""
    if not isinstance(storage, str | os.PathLike):
        return None
    text = os.fspath(storage)
    if isinstance(text, bytes) or not text:
        return None
    if "://" not in text:
        suffixes = (".db", ".sqlite", ".sqlite3", ".log", ".journal", ".jsonl")
        return pathlib.Path(text) if pathlib.Path(text).suffix in suffixes else None
    import sqlalchemy

    try:
        url = sqlalchemy.make_url(text)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        return None
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return None
    return pathlib.Path(str(url.database))
