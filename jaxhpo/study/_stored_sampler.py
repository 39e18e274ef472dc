"""A sampler whose asks and tells are written to a storage."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxhpo._base import Sampler
from jaxhpo._direction import Direction, directions_of
from jaxhpo._status import Status
from jaxhpo.ask_tell import CompileClock, Evaluations, Proposer
from jaxhpo.study._evaluations import evaluations_of, history_of
from jaxhpo.study._trial import Trial, Value, status_of, unit_of
from jaxhpo.study.running._evaluate import ObjectiveResult
from jaxhpo.study.running._row_maker import RowMaker, ended_trial, ending_of
from jaxhpo.study.storage._bulk import NumberTaken
from jaxhpo.study.storage._errors import StorageError
from jaxhpo.study.storage._reserved import RESERVED, Batch, is_released
from jaxhpo.study.storage._rows import COMPILE_ENTRY, Ending, Row
from jaxhpo.study.storage._waiting import enqueue, waiting
from jaxhpo.study.storage.outages._late_results import record_late_results, recover_spooled

if TYPE_CHECKING:
    from jaxhpo.space import Space
    from jaxhpo.study.storage._store import Store

logger = logging.getLogger("jaxhpo")

# Writers that keep taking each other's number get any number after this many attempts.
_MAX_ATTEMPTS = 400


class StoredSampler:
    """Keeps a sampler's state in step with a study's rows, other writers included.

    A trial's number is fixed when its row is written. If another process took the number that the
    proposal was made for, the history is read again and the proposal made anew, so that several
    processes on one study propose what one alone would have proposed.

    Attributes:
        clock: counts the time that compiling takes, until a trial is written with it.
    """

    def __init__(
        self,
        store: Store,
        space: Space,
        sampler: Sampler,
        seed: int,
        direction: Direction,
        proposal_shape: Any,
        with_constraints: Callable[[], tuple[Sampler, Any]] | None = None,
    ) -> None:
        """Takes up a study; its history is read at the first ask.

        Args:
            store: the study's rows.
            space: its space.
            sampler: any sampler over it.
            seed: its seed.
            direction: "minimize" or "maximize", or one per objective.
            proposal_shape: shape of one ask, as `proposal_shape_of` gives it.
            with_constraints: makes the sampler, and the shape of one ask, that takes over as soon
                as a trial says how much it violates constraints; None keeps the sampler.
        """
        self._store = store
        self._space = space
        self._direction = direction
        self._seed = seed
        self._with_constraints = with_constraints
        self._num_objectives = len(directions_of(direction))
        self.clock = CompileClock()
        self._proposer = self._proposer_of(sampler, proposal_shape)
        self._rows = RowMaker(space)
        self._next_number = 0
        self._is_stale = not store.is_new
        self._is_constrained = False
        self._has_waiting = self._has_released = self._is_mid_batch = False
        # Trials of other processes that the sampler takes for failed until they end.
        self._assumed_failed: set[int] = set()
        # number -> trial id of the trials that this object has handed out.
        self._running: dict[int, int] = {}
        # Trials that had begun when the compiler was waited for: their times in the storage do not
        # tell how long they took.
        self._waited: set[int] = set()

    @property
    def sampler(self) -> Sampler:
        """The sampler that proposes at present."""
        return self._proposer.sampler

    @property
    def next_number(self) -> int:
        """The number that the next trial should get."""
        if self._is_stale:
            self.refresh()
        return self._next_number

    def refresh(self) -> None:
        """Reads the history and replays it into the sampler."""
        if self._store.has_spooled:
            recover_spooled(self._store)
        trials = self._store.history()
        evaluations = self._to_evaluations(history_of(trials, self._space), trials)
        self._switch_sampler()
        self._proposer.reset(evaluations)
        self._assumed_failed = {t.number for t in trials if status_of(t) is Status.RUNNING}
        self._next_number = trials[-1].number + 1 if trials else 0
        self._has_waiting = any(status_of(trial) is Status.WAITING for trial in trials)
        self._has_released = any(is_released(trial) for trial in trials)
        # The rest of a batch that others have broken into is proposed anew, as on reopening.
        self._is_mid_batch = self._proposer.is_mid_batch(len(trials))
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
        started = self._start_waiting(count, owner) if self._has_waiting else []
        asked = self._ask_sampler(count - len(started), owner)
        if any(trial.compile_seconds for trial in asked):
            self._waited.update(trial.number for trial in started)
        return started + asked

    def _start_waiting(self, count: int, owner: list[str | int] | None) -> list[Trial]:
        """Starts up to `count` of the waiting trials."""
        # The sampler learns of them from the history, as it would if the study were opened anew.
        self._is_stale = True
        started: list[Trial] = []
        for number, trial_id, values, unit in waiting(self._store, self._space, self._seed):
            [params] = self._space.decode(values)
            was_reserved = unit is not None
            unit = np.asarray(self._space.to_unit(values))[0] if unit is None else unit
            row = self._rows.row(Status.RUNNING, None, unit, params, {"owner": owner})
            self._running[number] = trial_id
            # From here on it is a trial of its own, no part of a batch.
            attrs = {"owner": owner, RESERVED: None}
            if (
                self._store.claim([trial_id], attrs)
                if was_reserved
                else self._store.begin(trial_id, row)
            ):
                started.append(Trial(number, params, flat=row.params, unit=unit))
            else:
                self._running.pop(number)
            if len(started) == count:
                break
        return started

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
            rows = self._running_rows(unit, params, {"owner": owner})
            try:
                is_last = attempt == _MAX_ATTEMPTS - 1
                written = self._store.append(rows, None if is_last else first)
            except NumberTaken:
                continue
            waited = (self.clock.take(), *(0.0 for _ in written))
            self._running.update(written)
            self._is_stale = written[0][0] != first or self._is_mid_batch
            self._next_number = written[-1][0] + 1
            return [
                Trial(
                    number,
                    params[i],
                    compile_seconds=waited[i],
                    flat=rows[i].params,
                    unit=unit[i],
                )
                for i, (number, _) in enumerate(written)
            ]
        raise AssertionError("unreachable: the last attempt takes any number")

    def reserve(self, count: int, block: int, owner: list[str | int]) -> Batch:
        """Reserves trials that a batch has released, or else new ones, and writes them as running.

        They are running, and belong to this process, before anything is trained: no other one
        proposes them again, or takes their numbers.

        Args:
            count: how many.
            block: how many the compiled program proposes at once.
            owner: this process.

        Returns:
            The batch, which `end` and `release` end; empty only if the sampler has no further
            point.
        """
        attrs = {"owner": owner, RESERVED: True}
        for attempt in range(_MAX_ATTEMPTS):
            first = self.next_number
            if self._has_released:
                if batch := self._reclaim(count, block, attrs):
                    return batch
                continue
            self._is_stale = True
            unit, values = self._proposer.propose(first, count, block)
            if len(unit) == 0:
                return Batch([], [], unit, values, [], owner)
            params = self._space.decode(values)
            rows = self._running_rows(unit, params, attrs)
            try:
                is_last = attempt == _MAX_ATTEMPTS - 1
                written = self._store.append(rows, None if is_last else first)
            except NumberTaken:
                continue
            self.clock.take()
            self._is_stale = written[0][0] != first or self._is_mid_batch
            self._next_number = written[-1][0] + 1
            numbers, trial_ids = zip(*written, strict=True)
            return Batch(list(numbers), list(trial_ids), unit, values, params, owner)
        raise AssertionError("unreachable: the last attempt takes any number")

    def _reclaim(self, count: int, block: int, attrs: dict[str, Any]) -> Batch | None:
        """Reserves up to `count` released trials again; None if others were faster."""
        released = [trial for trial in self._store.history() if is_released(trial)][:count]
        claimed = set(self._store.claim([trial._trial_id for trial in released], attrs))
        # The sampler learns of them from the history, as it would if the study were opened anew.
        self._is_stale = True
        claimed_trials = [trial for trial in released if trial._trial_id in claimed]
        if not claimed_trials:
            return None
        unit = np.asarray([unit_of(trial) for trial in claimed_trials])
        values = self._space.host_values(unit)
        numbers, trial_ids = (
            [t.number for t in claimed_trials],
            [t._trial_id for t in claimed_trials],
        )
        params = self._space.decode(values)
        return Batch(numbers, trial_ids, unit, values, params, attrs["owner"])

    def end(self, batch: Batch, endings: Sequence[Ending], size: int) -> list[Ending]:
        """Ends trials of a batch in one transaction, lets the others wait, and tells the sampler.

        Args:
            batch: from `reserve`.
            endings: how trials of it have ended, in their order.
            size: rows to pad the tell to.

        Returns:
            The endings, those left out of trials that others have ended or taken up.
        """
        was_stale, self._is_stale = self._is_stale, True
        ended = {ending.trial_id for ending in endings}
        self.release(batch, [i for i in batch.trial_ids if i not in ended])
        already_ended = set(self._store.finish(endings))
        record_late_results(self._store, [one for one in endings if one.trial_id in already_ended])
        recorded = [ending for ending in endings if ending.trial_id not in already_ended]
        # A batch that was cut short leaves proposals pending that nobody will tell.
        if was_stale or len(recorded) < len(batch.trial_ids):
            return recorded
        evaluations = self._to_evaluations(
            (batch.unit, [ending.value for ending in recorded]), recorded
        )
        if not self._switch_sampler():
            self._proposer.tell(evaluations, self._next_number, size)
            self._is_stale = self._is_mid_batch
        return recorded

    def release(self, batch: Batch, trial_ids: Sequence[int] | None = None) -> None:
        """Lets trials of a batch wait, all of them by default, for whoever trains the next one."""
        self._is_stale = True
        owner = batch.owner
        self._store.release(
            batch.trial_ids if trial_ids is None else trial_ids,
            lambda found: tuple(found or ()) == tuple(owner),
        )

    def tell(self, trials: Sequence[Trial], results: Sequence[ObjectiveResult]) -> list[Trial]:
        """Ends running trials and tells the sampler.

        Args:
            trials: trials that are running.
            results: what became of each.

        Returns:
            The trials that ended now. One that another process had marked as failed has the number
            of the new trial that holds its value; one that it had given a value is left out.
        """
        endings = [
            ending_of(self._running[trial.number], result, trial.number in self._waited)
            for trial, result in zip(trials, results, strict=True)
        ]
        was_stale, self._is_stale = self._is_stale, True
        try:
            already_ended = set(self._store.finish(endings))
        finally:  # what could not be written is kept elsewhere: the trials have not failed
            for trial in trials:
                self._running.pop(trial.number, None)
        late_numbers = record_late_results(
            self._store, [one for one in endings if one.trial_id in already_ended]
        )
        ended = []
        for trial, result, ending in zip(trials, results, endings, strict=True):
            if ending.trial_id in late_numbers:
                moved = dataclasses.replace(trial, number=late_numbers[ending.trial_id])
                ended.append(ended_trial(moved, result))
            elif ending.trial_id not in already_ended:
                ended.append(ended_trial(trial, result))
        if (
            already_ended
            or was_stale
            or any(trial.number in self._assumed_failed for trial in trials)
        ):
            return ended
        unit = np.asarray([trial.unit for trial in ended])
        evaluations = self._to_evaluations((unit, [trial.value for trial in ended]), ended)
        if not self._switch_sampler():
            self._proposer.tell(evaluations, self._next_number)
            self._is_stale = self._is_mid_batch
        return ended

    def record(self, rows: Sequence[Row], unit: np.ndarray, size: int) -> list[int]:
        """Writes ended trials of the user's own in one transaction and tells the sampler.

        Args:
            rows: the trials.
            unit: `[m, d]` their points.
            size: rows to pad the tell to.

        Returns:
            The trials' numbers.
        """
        expected = self.next_number
        self._is_stale = True
        try:
            numbers = [number for number, _ in self._store.append(rows, expected)]
        except NumberTaken:
            logger.info("study %r: another process is writing to it as well", self._store.name)
            return [number for number, _ in self._store.append(rows)]
        if numbers[0] == expected:
            self._next_number = numbers[-1] + 1
            evaluations = self._to_evaluations((unit, [row.value for row in rows]), rows)
            if not self._switch_sampler():
                self._proposer.tell(evaluations, self._next_number, size)
                self._is_stale = self._is_mid_batch
        return numbers

    @property
    def running_numbers(self) -> frozenset[int]:
        """Numbers of the trials that this object has handed out and that have not ended."""
        return frozenset(self._running)

    def fail_running(self, reason: str, excluded: frozenset[int] = frozenset()) -> list[int]:
        """Marks as failed the trials that this object has handed out and not ended.

        Args:
            reason: why, in words.
            excluded: numbers of those that keep running: somebody else is to tell them.

        Returns:
            The numbers of those that failed.
        """
        numbers = [number for number in self._running if number not in excluded]
        endings = [
            Ending(self._running.pop(number), Status.FAILED, None, {"reason": reason})
            for number in numbers
        ]
        self._is_stale = True
        try:
            self._store.finish_now(endings)
        except StorageError as error:
            # Whatever ends the run now is what the user is to see; opening the study does the rest.
            logger.warning(
                "study %r: trials %s could not be marked as failed and stay running: %s",
                self._store.name,
                numbers,
                error,
            )
        return numbers

    def attach(self, number: int, trial_id: int) -> None:
        """Adopts a running trial that another object asked for."""
        self._running.setdefault(number, trial_id)

    def make_row(self, status: Status, value: Value | None, unit: Any, params: Any) -> Row:
        """One ended trial in stored form, before curves and times are filled in."""
        return self._rows.row(status, value, unit, params, {})

    def _running_rows(
        self, unit: np.ndarray, params: Sequence[Any], system: dict[str, Any]
    ) -> list[Row]:
        """Trials that begin now; the first one is what the compiler was waited for."""
        waits = [self.clock.seconds, *(0.0 for _ in params)]
        return [
            self._rows.row(Status.RUNNING, None, point, one, {**system, COMPILE_ENTRY: wait})
            for point, one, wait in zip(unit, params, waits, strict=False)
        ]

    def _to_evaluations(
        self, known: tuple[np.ndarray, Sequence[Value | None]], trials: Any
    ) -> Evaluations:
        """Converts trials to what the sampler is told."""
        evaluations = evaluations_of(*known, trials, self._direction, self._is_constrained)
        self._is_constrained = evaluations.violation is not None
        return evaluations

    def _switch_sampler(self) -> bool:
        """Switches samplers once trials have constraints; the new one is to be told everything."""
        if self._with_constraints is None or not self._is_constrained:
            return False
        sampler, proposal_shape = self._with_constraints()
        self._with_constraints = None
        self._proposer = self._proposer_of(sampler, proposal_shape)
        return True

    def _proposer_of(self, sampler: Sampler, proposal_shape: Any) -> Proposer:
        settings = (self._seed, proposal_shape, self._num_objectives)
        return Proposer(self._space, sampler, *settings, clock=self.clock)
