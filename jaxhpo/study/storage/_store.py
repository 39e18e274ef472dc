"""One study in one storage, read and written in the fastest way that the storage allows."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from jaxhpo._status import Status
from jaxhpo.study.storage import _bulk, _reserved
from jaxhpo.study.storage._errors import StorageError, StudyMismatchError, readable_errors
from jaxhpo.study.storage._open import (
    address_of,
    get_or_create,
    location_of,
    open_storage,
    quiet_optuna,
    retry_on_race,
    storage_is_read_only,
)
from jaxhpo.study.storage._rows import (
    ENQUEUED_ATTR,
    FIXED_ATTR,
    METRICS_ATTR,
    SYSTEM_ATTR,
    Ending,
    Row,
    records_same,
    to_frozen_trial,
)
from jaxhpo.study.storage.files import _one_by_one
from jaxhpo.study.storage.files._deleted import FileWatch
from jaxhpo.study.storage.files._one_append import one_append
from jaxhpo.study.storage.files._sqlite import checkpoint
from jaxhpo.study.storage.outages import _heartbeats, _spool
from jaxhpo.study.storage.reading._store_reads import StoreReads

if TYPE_CHECKING:
    pass

logger = logging.getLogger("jaxhpo")

T = TypeVar("T")


class Store(StoreReads):
    """A study's rows in a storage; errors of the database are raised as `StorageError`.

    Attributes:
        is_read_only: whether it is a file that cannot be written.
        location: the storage's file, or its URL without secrets; None if it lives in memory.
        is_new: whether opening it created the study.
        address: what another process opens it by, a URL or an absolute path; None if none can.
    """

    def __init__(self, storage: Any, name: str, directions: Sequence[str]) -> None:
        """Opens a storage, and in it the study of this name, made if there is none.

        Args:
            storage: None, a URL, a path or an Optuna storage.
            name: the study's name.
            directions: "minimize" or "maximize", one per objective.

        Raises:
            StorageError: the storage cannot be opened.
            StudyMismatchError: the study exists with other directions.
        """
        self.name = name
        self.storage, self.display_name = open_storage(storage)
        with quiet_optuna(), readable_errors(self.display_name):
            self.study_id, self.is_new = retry_on_race(
                lambda: get_or_create(self.storage, name, directions)
            )
            self._check_directions(directions)
            self._database = self._tables = _bulk.writable_database(self.storage)
        is_journal = isinstance(storage, str | os.PathLike) and "://" not in self.display_name
        self._journal = self.display_name if is_journal and self._database is None else None
        self.location = location_of(self.storage)
        self.address = address_of(storage)
        self._is_private = storage is None  # no other study has it, so all numbers are as expected
        is_file = self.location is not None and "://" not in self.location
        if is_file and isinstance(storage, str | os.PathLike):
            self._watch = FileWatch(self.location or "", self.display_name, self.storage)
        # Whether this object has saved results in a file that are not in the storage yet.
        self.has_spooled = False
        engine = getattr(getattr(self.storage, "_backend", None), "engine", None)
        self.is_read_only = storage_is_read_only(self.storage, self.location)
        self._sqlite = engine if engine is not None and engine.name == "sqlite" else None
        if engine is not None and isinstance(storage, str | os.PathLike):
            # Connections that this object opened are closed with it.
            self._finalizer = weakref.finalize(self, engine.dispose)

    def _check_directions(self, directions: Sequence[str]) -> None:
        stored = self.directions()
        if stored != tuple(directions):
            known, given = (
                names[0] if len(names) == 1 else [*names] for names in (stored, directions)
            )
            raise StudyMismatchError(
                f"Study: `direction` must be that of the stored study {self.name!r}, "
                f"{known}, got {given!r}. Choose another `name` for a new study."
            )

    def append(
        self,
        rows: Sequence[Row],
        expected: int | None = None,
        *,
        are_results: bool = True,
        skip: _bulk.Skip | None = None,
    ) -> list[tuple[int, int]]:
        """Writes new trials; in a database, all of them or none.

        Args:
            rows: the trials, in order.
            expected: the number that the first one must get, or None for any.
            are_results: whether rows that have ended must not be lost: they are kept in a file if
                the storage does not take them.
            skip: see `_bulk.append`.

        Returns:
            `(number, trial_id)` of each row.

        Raises:
            NumberTaken: the first free number is another one; nothing was written.
        """
        if not rows:
            return []
        ended, latest = [row for row in rows if row.status is not Status.RUNNING], rows

        def skipping(first: int, others: _bulk.Others) -> Sequence[Row] | None:
            # What an attempt may have written whose answer is lost.
            nonlocal latest
            found = skip and skip(first, others)
            latest = found or latest
            return found

        try:
            return self._with_retries(lambda again: self._append(latest, expected, again, skipping))
        except (StorageError, KeyboardInterrupt) as error:
            self._spool(error, (), ended if are_results else ())
            raise

    def _append(
        self,
        rows: Sequence[Row],
        expected: int | None,
        is_retry: bool,
        skip: _bulk.Skip,
    ) -> list[tuple[int, int]]:
        # An attempt whose answer was lost may have written all of them, one by one also a part.
        known = _one_by_one.written(self.storage, self.study_id, rows) if is_retry else {}
        if len(known) == len(rows):
            return [known[i] for i in range(len(rows))]
        if self._database is not None:
            return _bulk.append(self._database, self.study_id, rows, expected, skip)
        with self._numbers_lock():
            if expected is not None and not known and not self._is_private:
                rows = self._rows_from(rows, expected, skip)
            missing = [row for i, row in enumerate(rows) if i not in known]
            with one_append(self.storage) as created:
                made = [
                    self.storage.create_new_trial(self.study_id, to_frozen_trial(row))
                    for row in missing
                ]
            left = iter(created or made)
            ids = [known[i][1] if i in known else next(left) for i in range(len(rows))]
        return [(self.storage.get_trial_number_from_id(i), i) for i in ids]

    def _spool(self, error: BaseException, endings: Sequence[Ending], rows: Sequence[Row]) -> None:
        """Saves results in a file that could not be written to the storage."""
        if self.location is None or not (endings or rows):
            return
        path = _spool.spool_results(self.location, self.display_name, self.name, endings, rows)
        self.has_spooled = self.has_spooled or path is not None
        message = _spool.said_of(path, endings, rows)
        if isinstance(error, StorageError):
            raise StorageError(f"{error} {message}") from error.__cause__
        logger.warning("study %r: %s", self.name, message)

    def _numbers_lock(self) -> contextlib.AbstractContextManager[None]:
        """Lets one process at a time number trials in a journal file."""
        return contextlib.nullcontext() if self._journal is None else self._journal_lock()

    @contextlib.contextmanager
    def _journal_lock(self) -> Iterator[None]:
        from jaxhpo.study.storage.files._journal_lock import JournalLock

        # Beside the journal's own lock, which each single line takes.
        lock = JournalLock(f"{self._journal}.number")
        lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _rows_from(self, rows: Sequence[Row], expected: int, skip: _bulk.Skip) -> Sequence[Row]:
        """The rows, or those in their place where the expected number is taken."""
        found = self.storage.get_all_trials(self.study_id, deepcopy=False)
        if len(found) == expected:
            return rows
        others = [(one.state.name, one.system_attrs.get(SYSTEM_ATTR)) for one in found[expected:]]
        return _bulk.rows_behind(skip, len(found), expected, lambda: others)

    def finish(self, endings: Sequence[Ending]) -> list[int]:
        """Ends running trials; in a database, all of them or none.

        Waits for a storage that is unavailable, and saves results that it does not take in a file.

        Args:
            endings: how each trial ended.

        Returns:
            Identifiers of trials that were no longer running and were left as they are.
        """
        if not endings:
            return []
        try:
            return self._with_retries(lambda is_retry: self._finish(endings, is_retry))
        except (StorageError, KeyboardInterrupt) as error:
            self._spool(error, endings, ())
            raise

    def finish_now(self, endings: Sequence[Ending]) -> list[int]:
        """`finish` without retries and without a file, for trials that have no result to lose."""
        self._check_file()
        with readable_errors(self.display_name):
            return self._finish(endings, False) if endings else []

    def _finish(self, endings: Sequence[Ending], is_retry: bool) -> list[int]:
        if self._database is not None:
            already_ended = _bulk.finish(self._database, self.study_id, endings)
        else:
            with self._numbers_lock(), one_append(self.storage):
                already_ended = [
                    one.trial_id for one in endings if not _one_by_one.finish(self.storage, one)
                ]
        if is_retry and already_ended:
            # An attempt whose answer was lost may have ended them.
            known = {t._trial_id: t for t in self.storage.get_all_trials(self.study_id, False)}
            mine = {one.trial_id for one in endings if records_same(known.get(one.trial_id), one)}
            already_ended = [trial_id for trial_id in already_ended if trial_id not in mine]
        return already_ended

    def release(self, trial_ids: Sequence[int], is_theirs: Callable[[Any], bool]) -> list[int]:
        """Sets running trials of a batch back to waiting; `is_theirs` selects by their owner.

        Returns:
            Identifiers of the trials that wait now.
        """
        ways = (_reserved.release, _reserved.release_one_by_one)
        return self.either(*ways, trial_ids, is_theirs) if trial_ids else []

    def claim(self, trial_ids: Sequence[int], attrs: dict[str, Any]) -> list[int]:
        """Sets waiting trials of a batch to running, and records their owner.

        Returns:
            Identifiers of those that no other process has claimed. Where only the answer was lost
            they are running for this process, and wait again as soon as it has ended.
        """
        ways = (_reserved.claim, _reserved.claim_one_by_one)
        return self.either(*ways, trial_ids, attrs) if trial_ids else []

    @property
    def is_database(self) -> bool:
        """Whether it is a database whose tables are written directly."""
        return self._database is not None

    def beat(self, trial_ids: Sequence[int]) -> None:
        """Writes that the process of running trials lives; without retries."""
        if self._database is not None and trial_ids:
            _heartbeats.beat(self._database, self.study_id, trial_ids)

    def either(self, at_once: Any, one_by_one: Any, *args: Any) -> Any:
        """Calls what writes into a database's tables, or what does the same by Optuna's API."""

        def act(_: bool) -> Any:
            if self._database is not None:
                return at_once(self._database, self.study_id, *args)
            with self._numbers_lock():
                return one_by_one(self.storage, *args)

        return self._with_retries(act)

    def enqueue(self, flat: dict[str, Any], attrs: dict[str, Any] | None = None) -> int:
        """Writes a trial that waits, as `optuna.Study.enqueue_trial` does.

        Args:
            flat: leaf name to stored value.
            attrs: further system attributes.

        Returns:
            Its number.
        """
        from optuna.trial import TrialState, create_trial

        mark = secrets.token_hex(8)
        whole = {FIXED_ATTR: flat, ENQUEUED_ATTR: mark, **(attrs or {})}
        trial = create_trial(state=TrialState.WAITING, system_attrs=whole)

        def act(is_retry: bool) -> int:
            if is_retry:  # an attempt whose answer was lost may have written it
                for known in self.storage.get_all_trials(self.study_id, deepcopy=False):
                    if known.system_attrs.get(ENQUEUED_ATTR) == mark:
                        return known.number
            trial_id = self.storage.create_new_trial(self.study_id, trial)
            return self.storage.get_trial_number_from_id(trial_id)

        return self._with_retries(act)

    def begin(self, trial_id: int, row: Row) -> bool:
        """Makes a waiting trial a running one; False if another process has done so."""
        return self._with_retries(lambda is_retry: self._begin(trial_id, row, is_retry))

    def _begin(self, trial_id: int, row: Row, is_retry: bool) -> bool:
        from optuna.trial import TrialState

        if is_retry:  # an attempt whose answer was lost may have begun it
            found = self.storage.get_trial(trial_id)
            own = found.system_attrs.get(SYSTEM_ATTR)
            if found.state == TrialState.RUNNING and own == row.system_attrs[SYSTEM_ATTR]:
                return True
        if self._database is not None:
            return _bulk.begin(self._database, self.study_id, trial_id, row)
        return _one_by_one.begin(self.storage, trial_id, row)

    def set_attr(self, key: str, value: Any) -> None:
        """Writes one user attribute of the study (anything JSON can hold)."""
        self._with_retries(lambda _: self.storage.set_study_user_attr(self.study_id, key, value))

    def set_metric_names(self, names: Sequence[str]) -> None:
        """Says what the values are called."""
        self._with_retries(
            lambda _: self.storage.set_study_system_attr(self.study_id, METRICS_ATTR, list(names)),
        )

    def checkpoint(self) -> None:
        """Makes a SQLite file whole, so that a plain copy of it holds all that was written."""
        if self._watch is not None and not self._watch.is_said:
            self._watch.check()
        if self._sqlite is not None and self.location is not None and not self.is_read_only:
            checkpoint(self._sqlite)
