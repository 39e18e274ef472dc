"""Errors of a study, each one line that names the argument, what was expected and what came."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from jaxhpo.study.storage._secrets import redact_secrets


class StorageError(RuntimeError):
    """A storage could not be opened, read or written; what was recorded before is untouched.

    Attributes:
        may_pass: whether waiting can help, as with a lock or a server that starts again.
    """

    may_pass: bool = False


class NoStudiesError(StorageError):
    """A valid database that holds no studies: another program made it."""


class StudyMismatchError(ValueError):
    """A study of this name exists and is not the one that was described."""


def database_errors(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """These, and what SQLAlchemy and Optuna's storages raise; to be called once something was.

    A study in memory never imports SQLAlchemy, which costs more than its trials.
    """
    import optuna

    alchemy = sys.modules.get("sqlalchemy.exc")
    known: list[type[Exception]] = [optuna.exceptions.StorageInternalError, *others]
    if alchemy is not None:
        known.append(alchemy.SQLAlchemyError)
    return tuple(known)


class readable_errors:
    """Turns the exception of a database or of a file into one `StorageError` sentence.

    Args:
        storage: the storage as the user named it, passwords hidden.

    Raises:
        StorageError: the database refused, with the reason and the remedy. A driver that quotes a
            password is not quoted, and is not shown as the cause.
    """

    def __init__(self, storage: str) -> None:
        self._storage = storage

    def __enter__(self) -> None:
        """The body runs under the translation."""

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if error is None or not isinstance(
            error, database_errors(OSError, AttributeError, AssertionError)
        ):
            return
        translated = StorageError(explain_database_error(self._storage, error))
        text = " ".join(str(one).lower() for one in error_chain(error))
        translated.may_pass = any(fragment in text for fragment in _TRANSIENT)
        if any(redact_secrets(str(one)) != str(one) for one in error_chain(error)):
            try:
                raise translated from None
            finally:
                translated.__context__ = None
        raise translated from error


@contextlib.contextmanager
def version_errors(storage: str) -> Iterator[None]:
    """Turns Optuna's complaint about tables of another release into a `StorageError`.

    Args:
        storage: the storage as the user named it, passwords hidden.
    """
    import optuna

    try:
        yield
    except (StorageError, optuna.exceptions.StorageInternalError):
        raise
    except RuntimeError as error:
        raise StorageError(
            f"Study: `storage` {storage!r} was written by another Optuna version: {error}"
        ) from error


def error_chain(error: BaseException) -> Iterator[BaseException]:
    """An error and all that it came from.

    Args:
        error: any error.

    Yields:
        Each once.
    """
    seen: set[int] = set()
    todo: list[Any] = [error]
    while todo:
        one = todo.pop()
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            todo += [one.__cause__, one.__context__, getattr(one, "orig", None)]


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
    "not a database": "must be a SQLite database, but the file is not one.",
    "malformed": (
        "is damaged: the file is not a complete SQLite database. `sqlite3 FILE .recover` may save "
        "its rows into a new file."
    ),
    "disk i/o error": "could not be read or written: the disk reported an error.",
    "readonly database": "cannot be written: the file or its folder is read-only.",
    "unable to open database file": (
        "cannot be opened: check that its folder exists and is writable."
    ),
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
    "no space left": "cannot be written: the disk is full.",
    "quota exceeded": "cannot be written: the disk is full.",
    "read-only file system": "cannot be written: the file or its folder is read-only.",
    "permission denied": "cannot be used: no permission for its file or its folder.",
    "lock timeout": (
        "is locked: another program has been writing to it for longer than the waiting time. "
        "Nothing recorded is lost; try again when that program has finished."
    ),
    "server closed the connection": "cannot be reached: the server closed the connection.",
    "terminating connection": "cannot be reached: the server closed the connection.",
    "the database system is": "cannot be reached: the server is starting up or shutting down.",
}

# What the message of the database contains where waiting helps.
_TRANSIENT = (
    "is locked", "lock timeout", "lock wait timeout", "deadlock", "could not serialize",
    "timeout expired", "statement timeout", "connection refused", "connection reset",
    "connection timed out",
    "connection is closed", "connection already closed", "connection is lost", "lost connection",
    "closed the connection", "terminating connection", "connection has been closed", "syscall",
    "gone away", "broken pipe", "the database system is", "is the server running",
    "could not connect", "can't connect", "too many clients", "too many connections",
    "connection slots", "no route to host", "network is unreachable", "name resolution",
    "could not translate host name", "read-only transaction", "queuepool limit",
    "server conn crashed", "stale file handle",
)  # fmt: skip


def _innermost(error: BaseException) -> str:
    """The first line of the database's own message, without secrets."""
    while True:
        inner = getattr(error, "orig", None) or error.__cause__
        if not isinstance(inner, BaseException):
            break
        error = inner
    lines = redact_secrets(str(error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__
