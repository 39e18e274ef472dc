"""Between sampler and storage: trials asked and written, trials told and ended."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxhpo._base import Sampler
from jaxhpo._status import Status
from jaxhpo.study._bulk import NumberTaken
from jaxhpo.study._distributions import distributions_of
from jaxhpo.study._errors import StorageError
from jaxhpo.study._evaluate import Report
from jaxhpo.study._late import record_late, take_up
from jaxhpo.study._proposer import Proposer, Told
from jaxhpo.study._rows import CONSTRAINTS_ATTR, ERROR_ATTR, SYSTEM_ATTR, Ending, Row
from jaxhpo.study._trial import (
    Direction,
    Trial,
    Value,
    as_tuple,
    directions_of,
    finite_value,
    params_of,
    se_of,
    status_of,
    to_minimized,
    unit_of,
)
from jaxhpo.study._waiting import enqueue, waiting

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from jaxhpo.space import Space
    from jaxhpo.study._history import HistoryTrial
    from jaxhpo.study._store import Store

logger = logging.getLogger("jaxhpo")

# Writers that keep taking each other's number get any number after this many attempts.
_MAX_ATTEMPTS = 400
# Stream of the seed's key that fills up trials which others have enqueued in part.
_WAITING_STREAM = 2**32 - 4


class Asker:
    """Keeps a sampler's state in step with a study's rows, other writers included.

    A trial's number is fixed when its row is written. If another process took the number that the
    proposal was made for, the history is read again and the proposal made anew, so that several
    processes on one study propose what one alone would have proposed.
    """

    def __init__(
        self,
        store: Store,
        space: Space,
        sampler: Sampler,
        seed: int,
        direction: Direction,
        asked: Any,
        with_constraints: Callable[[], tuple[Sampler, Any]] | None = None,
    ) -> None:
        """Takes up a study; its history is read at the first ask.

        Args:
            store: the study's rows.
            space: its space.
            sampler: any sampler over it.
            seed: its seed.
            direction: "minimize" or "maximize", or one an objective.
            asked: shape of one ask, as `asked_shape` gives it.
            with_constraints: makes the sampler, and the shape of one ask, that takes over as soon
                as a trial says how much it violates constraints; None keeps the sampler.
        """
        self._store = store
        self._space = space
        self._direction = direction
        self._seed = seed
        self._with_constraints = with_constraints
        self._num_objectives = len(directions_of(direction))
        self._proposer = Proposer(space, sampler, seed, asked, self._num_objectives)
        self._distributions = distributions_of(space)
        self._known = 0
        self._is_stale = not store.is_new
        self._is_constrained = False
        self._has_waiting = self._is_split = False
        self._num_proposed = 0
        # Trials of other processes that the sampler takes for failed until they end.
        self._guessed: set[int] = set()
        # number -> trial id of the trials that this object has handed out.
        self._running: dict[int, int] = {}

    @property
    def next_number(self) -> int:
        """The number that the next trial should get."""
        if self._is_stale:
            self.refresh()
        return self._known

    def refresh(self) -> None:
        """Reads the history and puts the sampler where it belongs."""
        if self._store.has_kept:
            take_up(self._store)
        trials = self._store.history()
        told = self._told_of(trials)
        self._adapt()
        self._proposer.reset(told)
        self._guessed = {t.number for t in trials if status_of(t) is Status.RUNNING}
        self._known = trials[-1].number + 1 if trials else 0
        self._has_waiting = any(status_of(trial) is Status.WAITING for trial in trials)
        # The rest of a batch that others have broken into is proposed anew, as on reopening.
        self._is_split = self._proposer.is_split(len(trials))
        self._is_stale = False

    def enqueue(self, params: Any) -> list[int]:
        """Writes trials that are handed out before any further proposal; see `Study.enqueue`."""
        self._is_stale = True
        return enqueue(self._store, self._space, params)

    def ask(self, count: int, owner: list[str | int] | None = None) -> list[Trial]:
        """Hands out trials that wait, then proposes others, and writes them as running.

        Args:
            count: how many.
            owner: the process that will run them, or None if nobody knows.

        Returns:
            The trials; fewer than `count` only if the sampler has no further point.
        """
        if self._is_stale:
            self.refresh()
        begun = self._begin(count, owner) if self._has_waiting else []
        return begun + self._ask_sampler(count - len(begun), owner)

    def _begin(self, count: int, owner: list[str | int] | None) -> list[Trial]:
        """Up to `count` of the trials that wait."""
        # The sampler learns of them from the history, as it would if the study were opened anew.
        self._is_stale = True
        begun: list[Trial] = []
        key = jax.random.fold_in(jax.random.key(self._seed), _WAITING_STREAM)
        for number, trial_id, values in waiting(self._store, self._space, key):
            [params] = self._space.decode(values)
            unit = np.asarray(self._space.to_unit(values))[0]
            row = self._row(Status.RUNNING, None, unit, params, {"owner": owner})
            self._running[number] = trial_id
            if self._store.begin(trial_id, row):
                begun.append(Trial(number, params, flat=row.params, unit=unit))
            else:
                self._running.pop(number)
            if len(begun) == count:
                break
        return begun

    def _ask_sampler(self, count: int, owner: list[str | int] | None) -> list[Trial]:
        """Proposes trials and writes them as running."""
        if count == 0:
            return []
        for attempt in range(_MAX_ATTEMPTS):
            first = self.next_number
            if self._has_waiting:  # others have enqueued some
                return self.ask(count, owner)
            # A proposal that is dropped, or interrupted, is still pending in the sampler's state.
            self._is_stale = True
            unit, values = self._proposer.propose(first, count)
            if len(unit) == 0:
                self.refresh()
                return self.ask(count, owner) if self._has_waiting else []
            params = self._space.decode(values)
            rows = [
                self._row(Status.RUNNING, None, unit[i], params[i], {"owner": owner})
                for i in range(len(unit))
            ]
            try:
                is_last = attempt == _MAX_ATTEMPTS - 1
                written = self._store.append(rows, None if is_last else first)
            except NumberTaken:
                continue
            self._running.update(written)
            self._is_stale = written[0][0] != first or self._is_split
            self._known = written[-1][0] + 1
            return [
                Trial(number, params[i], flat=rows[i].params, unit=unit[i])
                for i, (number, _) in enumerate(written)
            ]
        raise AssertionError("unreachable: the last attempt takes any number")

    def propose(self, count: int, block: int) -> tuple[int, np.ndarray, Any]:
        """Proposes points for trials that will be written when they have ended.

        Args:
            count: how many.
            block: how many the compiled program proposes at once.

        Returns:
            Number of the first, points `[m, d]`, and their values pytree.
        """
        first = self.next_number
        # Whatever happens before they are recorded, the next ask starts from the history.
        self._is_stale = True
        unit, values = self._proposer.propose(first, count, block)
        self._num_proposed = len(unit)
        return first, unit, values

    def tell(self, trials: Sequence[Trial], reports: Sequence[Report]) -> list[Trial]:
        """Ends running trials and tells the sampler.

        Args:
            trials: trials that are running.
            reports: what became of each.

        Returns:
            The trials that ended now. One that another process had marked as failed has the number
            of the new trial that holds its value; one that it had given a value is left out.
        """
        endings = [self._ending(*pair) for pair in zip(trials, reports, strict=True)]
        was_stale, self._is_stale = self._is_stale, True
        try:
            lost = set(self._store.finish(endings))
        finally:  # what could not be written is kept elsewhere: the trials have not failed
            for trial in trials:
                self._running.pop(trial.number, None)
        late = record_late(self._store, [one for one in endings if one.trial_id in lost])
        ended = []
        for trial, report, ending in zip(trials, reports, endings, strict=True):
            if ending.trial_id in late:
                moved = dataclasses.replace(trial, number=late[ending.trial_id])
                ended.append(self._ended(moved, report))
            elif ending.trial_id not in lost:
                ended.append(self._ended(trial, report))
        if lost or was_stale or any(trial.number in self._guessed for trial in trials):
            return ended
        unit = np.asarray([trial.unit for trial in ended])
        told = self._assemble(unit, [trial.value for trial in ended], ended)
        if not self._adapt():
            self._proposer.tell(told, self._known)
            self._is_stale = self._is_split
        return ended

    def record(
        self, rows: Sequence[Row], unit: np.ndarray, first: int | None, size: int
    ) -> list[int]:
        """Writes ended trials in one transaction and tells the sampler.

        Args:
            rows: the trials.
            unit: `[m, d]` their points.
            first: number that they were proposed for, or None for points of the user's own.
            size: rows to pad the tell to.

        Returns:
            The trials' numbers.
        """
        expected = self.next_number if first is None else first
        self._is_stale = True
        try:
            numbers = [number for number, _ in self._store.append(rows, expected)]
        except NumberTaken:
            logger.info("another process writes to study %r as well", self._store.name)
            return [number for number, _ in self._store.append(rows)]
        # A batch that was cut short leaves proposals pending that nobody will tell.
        is_whole = first is None or len(rows) == self._num_proposed
        if numbers[0] == expected and is_whole:
            self._known = numbers[-1] + 1
            told = self._assemble(unit, [row.value for row in rows], rows)
            if not self._adapt():
                self._proposer.tell(told, self._known, size)
                self._is_stale = self._is_split
        return numbers

    def abandon(self, reason: str) -> list[int]:
        """Marks as failed all trials that this object has handed out and not ended.

        Args:
            reason: why, in words.

        Returns:
            Their numbers.
        """
        endings = [
            Ending(trial_id, Status.FAILED, None, {"reason": reason})
            for trial_id in self._running.values()
        ]
        numbers = list(self._running)
        self._is_stale = True
        self._running.clear()
        try:
            self._store.finish_now(endings)
        except StorageError as error:
            # Whatever ends the run now is what the user is to see; opening the study does the rest.
            logger.warning(
                "study %r: trials %s stay as running: %s", self._store.name, numbers, error
            )
        return numbers

    def attach(self, number: int, trial_id: int) -> None:
        """Takes over a running trial that another object asked."""
        self._running.setdefault(number, trial_id)

    def make_row(self, status: Status, value: Value | None, unit: Any, params: Any) -> Row:
        """One ended trial in stored form, before curves and times are filled in."""
        return self._row(status, value, unit, params, {})

    def _row(
        self, status: Status, value: Value | None, unit: Any, params: Any, system: dict[str, Any]
    ) -> Row:
        own = {"unit": [float(u) for u in unit], **{k: v for k, v in system.items() if v}}
        return Row(
            status,
            value,
            self._space.flatten_params(params),
            self._distributions,
            system_attrs={SYSTEM_ATTR: own},
        )

    def _ending(self, trial: Trial, report: Report) -> Ending:
        user = {"reason": report.reason, "error": report.error}
        system = {CONSTRAINTS_ATTR: list(report.violation)} if report.violation else {}
        if report.se is not None:
            system[ERROR_ATTR] = list(as_tuple(report.se))
        return Ending(
            self._running[trial.number],
            report.status,
            report.value,
            {key: value for key, value in user.items() if value is not None},
            system,
            report.end,
        )

    def _ended(self, trial: Trial, report: Report) -> Trial:
        return dataclasses.replace(
            trial,
            status=report.status,
            value=report.value,
            violation=report.violation,
            se=report.se,
            seconds=report.seconds,
            reason=report.reason,
            error=report.error,
        )

    def _adapt(self) -> bool:
        """Lets another sampler take over where constraints have come up; it is to be told all."""
        if self._with_constraints is None or not self._is_constrained:
            return False
        sampler, asked = self._with_constraints()
        self._with_constraints = None
        self._proposer = Proposer(self._space, sampler, self._seed, asked, self._num_objectives)
        return True

    def _told_of(self, trials: Sequence[FrozenTrial | HistoryTrial]) -> Told:
        """The whole history as the sampler should see it; foreign trials are encoded."""
        unit = np.full((len(trials), self._space.num_dims), np.nan)
        values: list[Value | None] = []
        for row, trial in enumerate(trials):
            point = unit_of(trial)
            if point is None and (params := params_of(self._space, trial.params)) is not None:
                point = self._proposer.unit_of([params])[0]
            if point is not None:
                unit[row] = point
            has_value = trial.state.name in ("COMPLETE", "PRUNED")
            values.append(finite_value(trial.values) if has_value else None)
        return self._assemble(unit, values, trials)

    def _assemble(
        self, unit: np.ndarray, values: Sequence[Value | None], trials: Sequence[Any]
    ) -> Told:
        nothing = (np.nan,) * self._num_objectives
        rows = [nothing if v is None else as_tuple(v) for v in values]
        value = np.asarray(rows, np.float64).reshape(len(rows), self._num_objectives)
        value = np.where(np.isfinite(value).all(axis=1, keepdims=True), value, np.nan)
        # One objective is a vector of values, several are a matrix.
        value = to_minimized(value[:, 0] if self._num_objectives == 1 else value, self._direction)
        worst, errors = np.zeros(len(value)), np.full(value.shape, np.nan)
        for row, trial in enumerate(trials):
            if found := _violations(trial):
                worst[row], self._is_constrained = max(found), True
            se = trial.se if isinstance(trial, Trial) else se_of(trial)
            if se is not None:
                errors[row] = se
        return Told(unit, value, worst if self._is_constrained else None, errors)


def _violations(trial: Any) -> tuple[float, ...]:
    """The constraint values of our own trial, of a row on its way, or of Optuna's record."""
    if isinstance(trial, Row):
        return tuple(trial.system_attrs.get(CONSTRAINTS_ATTR, ()))
    found = trial.violation if isinstance(trial, Trial) else trial.constraints.values()
    return tuple(found)
