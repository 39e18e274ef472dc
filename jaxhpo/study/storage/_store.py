"""One study in one storage: what the driver reads and writes, whichever way is fastest there."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from jaxhpo._checks import describe
from jaxhpo._status import Status
from jaxhpo.study.storage import _bulk, _reserved
from jaxhpo.study.storage._distributions import internal_value
from jaxhpo.study.storage._errors import StorageError, StudyMismatchError, readable_errors
from jaxhpo.study.storage._history import HistoryTrial, read_history
from jaxhpo.study.storage._open import (
    get_or_create,
    open_storage,
    place_of,
    quiet_optuna,
    reads_only,
    until_made,
)
from jaxhpo.study.storage._rows import (
    ENQUEUED_ATTR,
    FIXED_ATTR,
    METRICS_ATTR,
    SYSTEM_ATTR,
    Ending,
    Row,
    stored_values,
    tells,
    to_frozen_trial,
    to_state,
)
from jaxhpo.study.storage.files._one_append import one_append
from jaxhpo.study.storage.files._sqlite import checkpoint
from jaxhpo.study.storage.outages import _aside
from jaxhpo.study.storage.outages._patience import patiently

if TYPE_CHECKING:
    from optuna.storages import BaseStorage, RDBStorage
    from optuna.trial import FrozenTrial

logger = logging.getLogger("jaxhpo")


class Store:
    """A study's rows. Every method is one sentence of an error away from the database.

    Attributes:
        shown: the storage's name for messages, passwords hidden.
        name: the study's name.
        study_id: Optuna's identifier of the study.
        storage: the Optuna storage.
        reads_only: whether it is a file that cannot be written.
        place: the storage's file, or its URL without secrets; None if it lives in memory.
        is_new: whether opening it created the study.
    """

    def __init__(self, storage: Any, name: str, directions: Sequence[str]) -> None:
        """Opens a storage, and in it the study of this name, made if there is none.

        Args:
            storage: None, a URL, a path or an Optuna storage.
            name: the study's name.
            directions: "minimize" or "maximize", one an objective.

        Raises:
            StorageError: the storage cannot be opened.
            StudyMismatchError: the study exists with other directions.
        """
        self.name = name
        self.storage: BaseStorage
        self.storage, self.shown = open_storage(storage)
        with quiet_optuna(), readable_errors(self.shown):
            self.study_id, self.is_new = until_made(
                lambda: get_or_create(self.storage, name, directions)
            )
            self._check_directions(directions)
            self._database = self._writable_database()
        is_journal = isinstance(storage, str | os.PathLike) and "://" not in self.shown
        self._journal = self.shown if is_journal and self._database is None else None
        self.place = place_of(self.storage)
        # Whether this object has put results aside that are not in the storage yet.
        self.has_kept = False
        engine = getattr(getattr(self.storage, "_backend", None), "engine", None)
        self.reads_only = reads_only(self.storage, self.place)
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

    def _writable_database(self) -> RDBStorage | None:
        """The database under the storage if its tables may be written directly."""
        from optuna.storages import RDBStorage

        backend = getattr(self.storage, "_backend", None)
        if not isinstance(backend, RDBStorage):
            return None
        reason = _bulk.unsupported_reason(backend)
        if reason is None:
            return backend
        warnings.warn(
            f"Study: trials are written one by one, ten to a hundred times slower: {reason}.",
            stacklevel=2,
        )
        return None

    def append(
        self, rows: Sequence[Row], expected: int | None = None, *, are_results: bool = True
    ) -> list[tuple[int, int]]:
        """Writes new trials; in a database, all of them or none.

        Args:
            rows: the trials, in order.
            expected: the number that the first one must get, or None for any. A database that is
                written directly can refuse, and a journal file.
            are_results: whether rows that have ended must not be lost: they are kept in a file if
                the storage does not take them.

        Returns:
            `(number, trial_id)` of each row.

        Raises:
            NumberTaken: the first free number is another one; nothing was written.
        """
        if not rows:
            return []
        ended = [row for row in rows if row.status is not Status.RUNNING]
        with self._keeping((), ended if are_results else ()):
            return patiently(self.shown, lambda again: self._append(rows, expected, again))

    def _append(
        self, rows: Sequence[Row], expected: int | None, again: bool
    ) -> list[tuple[int, int]]:
        # An attempt whose answer was lost may have written all of them, one by one also a part.
        known = self._written(rows) if again else {}
        if len(known) == len(rows):
            return [known[i] for i in range(len(rows))]
        if self._database is not None:
            return _bulk.append(self._database, self.study_id, rows, expected)
        with self._numbers_lock() as is_locked:
            if is_locked and expected is not None and not known:
                self._check_next_number(expected)
            missing = [row for i, row in enumerate(rows) if i not in known]
            with one_append(self.storage) as created:
                made = [
                    self.storage.create_new_trial(self.study_id, to_frozen_trial(row))
                    for row in missing
                ]
            left = iter(created or made)
            ids = [known[i][1] if i in known else next(left) for i in range(len(rows))]
        return [(self.storage.get_trial_number_from_id(i), i) for i in ids]

    def _written(self, rows: Sequence[Row]) -> dict[int, tuple[int, int]]:
        """Which of these very rows are in the storage: index to number and identifier."""
        trials = self.storage.get_all_trials(self.study_id, deepcopy=False)
        found: dict[int, tuple[int, int]] = {}
        for i, row in enumerate(rows):
            start = _bulk.utc(row.start)
            for trial in trials:
                mine = (trial.number, trial._trial_id)
                begun = trial.datetime_start
                is_same = begun is not None and _bulk.utc(begun) == start
                is_same = is_same and trial.system_attrs == row.system_attrs
                if is_same and mine not in found.values():
                    found[i] = mine
                    break
        return found

    @contextlib.contextmanager
    def _keeping(self, endings: Sequence[Ending], rows: Sequence[Row]) -> Iterator[None]:
        """Puts results into a file where the body cannot write them."""
        try:
            yield
        except (StorageError, KeyboardInterrupt) as error:
            if self.place is None or not (endings or rows):
                raise
            path = _aside.keep(self.place, self.shown, self.name, endings, rows)
            self.has_kept = self.has_kept or path is not None
            count = len(endings) + len(rows)
            which = "the result of one trial" if count == 1 else f"the results of {count} trials"
            if path is None:
                values = [one.value for one in endings] + [one.value for one in rows]
                told = f"No folder takes {which} either; the values were {values}."
            else:
                told = f"What was not written, {which}, is kept in {path} and is written when the "
                told += "study is next opened."
            if isinstance(error, StorageError):
                raise StorageError(f"{error} {told}") from error.__cause__
            logger.warning("study %r: %s", self.name, told)
            raise

    @contextlib.contextmanager
    def _numbers_lock(self) -> Iterator[bool]:
        """Lets one process at a time number trials in a journal file; tells whether it did."""
        if self._journal is None:
            yield False
            return
        from optuna.storages.journal import JournalFileOpenLock

        # Beside the journal's own lock, which each single line takes.
        lock = JournalFileOpenLock(f"{self._journal}.number")
        lock.acquire()
        try:
            yield True
        finally:
            lock.release()

    def _check_next_number(self, expected: int) -> None:
        found = len(self.storage.get_all_trials(self.study_id, deepcopy=False))
        if found != expected:
            raise _bulk.NumberTaken(f"the next trial is number {found}, not {expected}")

    def finish(self, endings: Sequence[Ending]) -> list[int]:
        """Ends running trials; in a database, all of them or none.

        A storage that is away is waited for, and what it does not take is kept in a file.

        Args:
            endings: how each trial ended.

        Returns:
            Identifiers of trials that were no longer running and were left as they are.
        """
        if not endings:
            return []
        with self._keeping(endings, ()):
            return patiently(self.shown, lambda again: self._finish(endings, again))

    def finish_now(self, endings: Sequence[Ending]) -> list[int]:
        """Does the same or fails at once: for trials without a result that could be lost."""
        with readable_errors(self.shown):
            return self._finish(endings, False) if endings else []

    def _finish(self, endings: Sequence[Ending], again: bool) -> list[int]:
        if self._database is not None:
            lost = _bulk.finish(self._database, self.study_id, endings)
        else:
            with self._numbers_lock(), one_append(self.storage):
                lost = [one.trial_id for one in endings if not self._finish_slowly(one)]
        if again and lost:
            # An attempt whose answer was lost may have ended them.
            known = {t._trial_id: t for t in self.storage.get_all_trials(self.study_id, False)}
            mine = {one.trial_id for one in endings if tells(known.get(one.trial_id), one)}
            lost = [trial_id for trial_id in lost if trial_id not in mine]
        return lost

    def _finish_slowly(self, ending: Ending) -> bool:
        from optuna.exceptions import UpdateFinishedTrialError

        if self.storage.get_trial(ending.trial_id).state.is_finished():
            return False  # where all is appended at once, nothing is refused later
        values = stored_values(ending.value)
        try:
            for step, number in ending.curve.items():
                self.storage.set_trial_intermediate_value(ending.trial_id, step, number)
            for key, value in ending.user_attrs.items():
                self.storage.set_trial_user_attr(ending.trial_id, key, value)
            for key, value in ending.system_attrs.items():
                self.storage.set_trial_system_attr(ending.trial_id, key, value)
            state = to_state(ending.status)
            return self.storage.set_trial_state_values(ending.trial_id, state, values)
        except UpdateFinishedTrialError:
            return False

    def release(self, trial_ids: Sequence[int], is_theirs: Callable[[Any], bool]) -> list[int]:
        """Lets running trials of a batch wait; `is_theirs` tells by the owner whether one is meant.

        Returns:
            Identifiers of the trials that wait now.
        """
        ways = (_reserved.release, _reserved.release_slowly)
        return self._reserved(*ways, trial_ids, is_theirs) if trial_ids else []

    def claim(self, trial_ids: Sequence[int], note: dict[str, Any]) -> list[int]:
        """Takes up trials of a batch that wait, and notes by whom.

        Returns:
            Identifiers of those that nobody else has taken up. Where only the answer was lost they
            are running for this process, and wait again as soon as it has ended.
        """
        ways = (_reserved.claim, _reserved.claim_slowly)
        return self._reserved(*ways, trial_ids, note) if trial_ids else []

    def _reserved(self, at_once: Any, one_by_one: Any, *args: Any) -> list[int]:
        def act(_: bool) -> Any:
            if self._database is not None:
                return at_once(self._database, self.study_id, *args)
            with self._numbers_lock():
                return one_by_one(self.storage, *args)

        return list(patiently(self.shown, act))

    def enqueue(self, flat: dict[str, Any]) -> int:
        """Writes a trial that waits, as `optuna.Study.enqueue_trial` does.

        Args:
            flat: leaf name to stored value.

        Returns:
            Its number.
        """
        from optuna.trial import TrialState, create_trial

        mark = secrets.token_hex(8)
        attrs = {FIXED_ATTR: flat, ENQUEUED_ATTR: mark}
        trial = create_trial(state=TrialState.WAITING, system_attrs=attrs)

        def act(again: bool) -> int:
            if again:  # an attempt whose answer was lost may have written it
                for known in self.storage.get_all_trials(self.study_id, deepcopy=False):
                    if known.system_attrs.get(ENQUEUED_ATTR) == mark:
                        return known.number
            trial_id = self.storage.create_new_trial(self.study_id, trial)
            return self.storage.get_trial_number_from_id(trial_id)

        return patiently(self.shown, act)

    def begin(self, trial_id: int, row: Row) -> bool:
        """Makes a waiting trial a running one; False if another process has done so."""
        return patiently(self.shown, lambda again: self._begin(trial_id, row, again))

    def _begin(self, trial_id: int, row: Row, again: bool) -> bool:
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        if again:  # an attempt whose answer was lost may have begun it
            found = self.storage.get_trial(trial_id)
            own = found.system_attrs.get(SYSTEM_ATTR)
            if found.state == TrialState.RUNNING and own == row.system_attrs[SYSTEM_ATTR]:
                return True
        if self._database is not None:
            return _bulk.begin(self._database, self.study_id, trial_id, row)
        try:
            if not self.storage.set_trial_state_values(trial_id, TrialState.RUNNING):
                return False
        except UpdateFinishedTrialError:
            return False
        # The owner first: whoever finds the trial half written knows whose it was.
        for key, value in row.system_attrs.items():
            self.storage.set_trial_system_attr(trial_id, key, value)
        for name, value in row.params.items():
            distribution = row.distributions[name]
            inner = internal_value(distribution, value)
            self.storage.set_trial_param(trial_id, name, inner, distribution)
        return True

    def trials(self) -> list[FrozenTrial]:
        """All trials in order of their numbers; only new and running ones are fetched again."""
        return patiently(
            self.shown, lambda _: self.storage.get_all_trials(self.study_id, deepcopy=False)
        )

    def history(self) -> Sequence[FrozenTrial | HistoryTrial]:
        """All trials, perhaps with those fields only that a sampler's history is made of."""
        if (database := self._database) is not None:
            found = patiently(self.shown, lambda _: read_history(database, self.study_id))
            if found is not None:
                return found
        return self.trials()

    def trial(self, number: int) -> FrozenTrial:
        """One trial by number.

        Args:
            number: the trial's number.

        Returns:
            Optuna's record of it.

        Raises:
            ValueError: there is no such trial.
        """
        try:
            return patiently(self.shown, lambda _: self._trial(number))
        except KeyError:
            raise ValueError(
                f"Study: `trials` must be numbers of trials that were asked, got "
                f"{describe(number)}."
            ) from None

    def _trial(self, number: int) -> FrozenTrial:
        find = self.storage.get_trial_id_from_study_id_trial_number
        return self.storage.get_trial(find(self.study_id, number))

    def directions(self) -> tuple[str, ...]:
        """What counts as better, "minimize" or "maximize", for each objective."""
        with readable_errors(self.shown):
            found = self.storage.get_study_directions(self.study_id)
        return tuple(direction.name.lower() for direction in found)

    def attrs(self) -> dict[str, Any]:
        """The study's user attributes."""
        return patiently(self.shown, lambda _: self.storage.get_study_user_attrs(self.study_id))

    def set_attr(self, key: str, value: Any) -> None:
        """Writes one user attribute of the study (anything JSON can hold)."""
        patiently(self.shown, lambda _: self.storage.set_study_user_attr(self.study_id, key, value))

    def metric_names(self) -> tuple[str, ...] | None:
        """What the values are called, where somebody said so."""
        found = patiently(
            self.shown, lambda _: self.storage.get_study_system_attrs(self.study_id)
        ).get(METRICS_ATTR)
        return None if found is None else tuple(found)

    def set_metric_names(self, names: Sequence[str]) -> None:
        """Says what the values are called."""
        patiently(
            self.shown,
            lambda _: self.storage.set_study_system_attr(self.study_id, METRICS_ATTR, list(names)),
        )

    def checkpoint(self) -> None:
        """Makes a SQLite file whole, so that a plain copy of it holds all that was written."""
        if self._sqlite is not None and self.place is not None and not self.reads_only:
            checkpoint(self._sqlite)
