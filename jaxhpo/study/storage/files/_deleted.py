"""A storage's file that is deleted or replaced while a study has it open.

SQLite goes on writing into a file that has no name any more, which the system removes with the
process: nothing fails, and all is lost. So each access looks whether the file is still there.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import secrets
from typing import TYPE_CHECKING, Any

from jaxhpo.study.storage._errors import StorageError, database_errors

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


class FileWatch:
    """Knows a file by its number in the file system, and saves what it held once it is gone."""

    def __init__(self, path: str, display_name: str, storage: BaseStorage) -> None:
        """Remembers which file `path` is.

        Args:
            path: the file.
            display_name: the storage's name for messages.
            storage: what is read and written through this file.
        """
        self._path, self._display_name, self._storage = path, display_name, storage
        self._identity = _identity(path)
        self._said: str | None = None

    def check(self) -> None:
        """Requires that the file is there.

        Raises:
            StorageError: it is not. What was recorded in it is in another file, which the message
                names.
        """
        if self._said is None:
            if _identity(self._path) == self._identity:
                return
            self._said = self._rescue()
        raise StorageError(self._said)

    @property
    def is_said(self) -> bool:
        """Whether an error has said that the file is gone."""
        return self._said is not None

    def _rescue(self) -> str:
        """Writes all that is known into a file beside, and says where."""
        old = pathlib.Path(self._path)
        new = old.with_name(f"{old.stem}.rescued-{secrets.token_hex(4)}{old.suffix}")
        head = (
            f"Study: `storage` {self._display_name!r} was deleted or replaced while the study had "
            "it open."
        )
        try:
            engine = getattr(getattr(self._storage, "_backend", None), "engine", None)
            if engine is not None:
                _copy_database(engine, str(new))
            else:
                _copy_journal(self._storage, str(new))
        except database_errors(OSError, KeyError, AttributeError) as error:
            with contextlib.suppress(OSError):
                new.unlink()
            return f"{head} What was recorded in it could not be saved: {error}."
        return (
            f"{head} All that was recorded in it is in {str(new)!r}: rename that file to go on, or "
            "open the study there."
        )


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _copy_database(engine: Any, path: str) -> None:
    """A whole copy of a SQLite database, by a connection that is still open on it."""
    with engine.connect() as plain:
        connection = plain.execution_options(isolation_level="AUTOCOMMIT")
        connection.exec_driver_sql("VACUUM INTO ?", (path,))


def _copy_journal(storage: Any, path: str) -> None:
    """A journal of the state that another one was read to, identifiers included."""
    from optuna.storages import JournalStorage

    from jaxhpo.study.storage.files._journal import JournalFile

    known = storage._replay_result
    copy = JournalStorage(JournalFile(path))
    for study in sorted(known.get_all_studies(), key=lambda one: one._study_id):
        study_id = copy.create_new_study(study.directions, study.study_name)
        for key, value in study.user_attrs.items():
            copy.set_study_user_attr(study_id, key, value)
        for key, value in study.system_attrs.items():
            copy.set_study_system_attr(study_id, key, value)
    ids = {one.study_name: one._study_id for one in copy.get_all_studies()}
    names = {one._study_id: one.study_name for one in known.get_all_studies()}
    # A trial's identifier is its place in the journal.
    trials = [(trial, names[i]) for i in names for trial in known.get_all_trials(i, None)]
    for trial, name in sorted(trials, key=lambda one: one[0]._trial_id):
        copy.create_new_trial(ids[name], trial)
