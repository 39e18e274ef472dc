"""Errors of a study, each one line that names the argument, what was expected and what came."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class StorageError(RuntimeError):
    """A storage could not be opened, read or written; what was recorded before is untouched."""


class StudyMismatchError(ValueError):
    """A study of this name exists and is not the one that was described."""


@contextlib.contextmanager
def readable_errors(storage: str) -> Iterator[None]:
    """Turns a database's exception into one `StorageError` sentence.

    Args:
        storage: the storage as the user named it, passwords hidden.

    Yields:
        Nothing; the body runs under the translation.

    Raises:
        StorageError: the database refused, with the reason and the remedy.
    """
    import optuna
    import sqlalchemy.exc

    try:
        yield
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise StorageError(explain_database_error(storage, error)) from error


def explain_database_error(storage: str, error: BaseException) -> str:
    """Says in one line what a database's exception means for the user.

    Args:
        storage: the storage as the user named it, passwords hidden.
        error: what was raised, by SQLAlchemy or by Optuna around it.

    Returns:
        One sentence that names `storage`, and one that says what to do.
    """
    detail = _innermost(error)
    where = f"Study: `storage` {storage!r}"
    for fragment, sentence in _SENTENCES.items():
        if fragment in detail.lower():
            return f"{where} {sentence} ({detail})"
    return f"{where} could not be used: {detail}"


# What the message of the database contains, and what that means.
_SENTENCES = {
    "is locked": (
        "is locked: another program has been writing to it for longer than the waiting time. "
        "Nothing recorded is lost; try again when that program has finished."
    ),
    "not a database": "must be a SQLite database, and the file is not one.",
    "malformed": (
        "is damaged: the file is not a whole SQLite database. `sqlite3 FILE .recover` may save "
        "its rows into a new file."
    ),
    "disk i/o error": "could not be read or written: the disk refused.",
    "readonly database": "cannot be written: the file or its folder is read-only.",
    "unable to open database file": "cannot be opened: is its folder there, and writable?",
    "no such column": "holds tables of another program or of another Optuna version.",
    "has no column named": "holds tables of another program or of another Optuna version.",
    "connection refused": "cannot be reached: no server answers there.",
    "could not translate host name": "cannot be reached: no such host.",
    "does not exist": "cannot be reached: the server has no such database or user.",
    "could not connect": "cannot be reached: no server answers there.",
    "can't connect": "cannot be reached: no server answers there.",
    "timeout expired": "cannot be reached: the server did not answer in time.",
    "authentication failed": "cannot be reached: the server refused the user or the password.",
    "access denied": "cannot be reached: the server refused the user or the password.",
    "disk is full": "cannot be written: the disk is full.",
}


def _innermost(error: BaseException) -> str:
    """The first line of the database's own message."""
    while True:
        inner = getattr(error, "orig", None) or error.__cause__
        if not isinstance(inner, BaseException):
            break
        error = inner
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
