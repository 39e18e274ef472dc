"""What can be read of one study in one storage, in the fastest way that the storage allows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from jaxhpo._checks import describe
from jaxhpo.study.storage._errors import readable_errors
from jaxhpo.study.storage._rows import METRICS_ATTR
from jaxhpo.study.storage.outages._retry import with_retries
from jaxhpo.study.storage.reading._history import History, HistoryTrial, read_history
from jaxhpo.study.storage.reading._summaries import best_number, count_trials
from jaxhpo.study.storage.reading._whole_trials import read_trials

if TYPE_CHECKING:
    from optuna.storages import BaseStorage, RDBStorage
    from optuna.trial import FrozenTrial, TrialState

    from jaxhpo.study.storage.files._deleted import FileWatch

T = TypeVar("T")


class StoreReads:
    """The rows of a study to read.

    Attributes:
        display_name: the storage's name for messages, passwords hidden.
        name: the study's name.
        study_id: Optuna's identifier of the study.
        storage: the Optuna storage.
    """

    display_name: str
    name: str
    study_id: int
    storage: BaseStorage
    # The database whose tables are read; None where Optuna must read them.
    _tables: RDBStorage | None
    _watch: FileWatch | None = None

    @functools.cached_property
    def _ended(self) -> History:
        """What was read before."""
        return History()

    def _with_retries(self, action: Callable[[bool], T]) -> T:
        """Calls `action(is_retry)`, and calls it again while waiting for the storage can help."""

        def act(is_retry: bool) -> T:
            self._check_file()
            return action(is_retry)

        return with_retries(self.display_name, act)

    def _check_file(self) -> None:
        """Requires that nobody has deleted the file."""
        if self._watch is not None:
            self._watch.check()

    def read(self, at_once: Any, one_by_one: Any) -> Any:
        """Calls what reads a database's tables, or what does the same by Optuna's API."""
        database = self._tables
        args = () if database is None else (database, self.study_id)
        return self._with_retries(lambda _: (at_once if args else one_by_one)(*args))

    @property
    def has_tables(self) -> bool:
        """Whether it is a database whose tables are read directly."""
        return self._tables is not None

    def trials(self, known: Collection[int] = ()) -> list[FrozenTrial]:
        """All trials in order of their numbers; a database leaves out those that are known."""
        return self._trials(known=known)

    def waiting(self) -> list[FrozenTrial]:
        """The trials that wait; of a database no others are read."""
        from optuna.trial import TrialState

        found = self._trials(state=TrialState.WAITING)
        return [trial for trial in found if trial.state == TrialState.WAITING]

    def _trials(
        self, *, state: TrialState | None = None, known: Collection[int] = ()
    ) -> list[FrozenTrial]:
        return self.read(
            lambda *tables: read_trials(*tables, state=state, known=known),
            lambda: self.storage.get_all_trials(self.study_id, deepcopy=False),
        )

    def count(self) -> int:
        """How many trials there are."""
        return self.read(count_trials, lambda: len(self.trials()))

    def best(self, *, is_maximized: bool) -> tuple[int, float] | None:
        """Number and value of the best trial, by a query; None if there is none, or no database."""
        return self.read(
            lambda *tables: best_number(*tables, is_maximized=is_maximized), lambda: None
        )

    def history(self) -> Sequence[FrozenTrial | HistoryTrial]:
        """All trials, where possible with only the fields that a sampler's history needs."""
        found = self._history(only_running=False)
        return self.trials() if found is None else found

    def running(self) -> Sequence[FrozenTrial | HistoryTrial]:
        """The trials that run, likewise; of a database no others are read."""
        found = self._history(only_running=True)
        trials = self.trials() if found is None else found
        return [trial for trial in trials if trial.state.name == "RUNNING"]

    def _history(self, *, only_running: bool) -> list[HistoryTrial] | None:
        """None where the tables cannot be read, or hold trials of another's making."""
        if (database := self._tables) is None:
            return None
        if only_running:
            return self._with_retries(
                lambda _: read_history(database, self.study_id, only_running=True)
            )
        return self._with_retries(lambda _: self._ended.read(database, self.study_id))

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
            return self._with_retries(lambda _: self._trial(number))
        except KeyError:
            raise ValueError(
                f"Study: `trials` must be numbers of existing trials, got {describe(number)}."
            ) from None

    def _trial(self, number: int) -> FrozenTrial:
        find = self.storage.get_trial_id_from_study_id_trial_number
        return self.storage.get_trial(find(self.study_id, number))

    def directions(self) -> tuple[str, ...]:
        """What counts as better, "minimize" or "maximize", for each objective."""
        with readable_errors(self.display_name):
            found = self.storage.get_study_directions(self.study_id)
        return tuple(direction.name.lower() for direction in found)

    def attrs(self) -> dict[str, Any]:
        """The study's user attributes."""
        return self._with_retries(lambda _: self.storage.get_study_user_attrs(self.study_id))

    def metric_names(self) -> tuple[str, ...] | None:
        """What the values are called, where somebody said so."""
        found = self._with_retries(
            lambda _: self.storage.get_study_system_attrs(self.study_id)
        ).get(METRICS_ATTR)
        return None if found is None else tuple(found)
