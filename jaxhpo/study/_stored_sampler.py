"""A sampler whose asks and tells are written to a storage."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxhpo._base import Sampler
from jaxhpo._direction import Direction, directions_of
from jaxhpo._status import Status
from jaxhpo.ask_tell import CompileClock, Evaluations, Proposer
from jaxhpo.samplers.internal import learns, startup_of
from jaxhpo.study._evaluations import evaluations_of, history_of
from jaxhpo.study._trial import Trial, Value, status_of
from jaxhpo.study.running._plan import Plan
from jaxhpo.study.running._results import ObjectiveResult
from jaxhpo.study.running._row_maker import RowMaker, ended_trial, ending_of
from jaxhpo.study.scheduling._fidelity import comparable
from jaxhpo.study.storage._bulk import NumberTaken, Others
from jaxhpo.study.storage._errors import StorageError
from jaxhpo.study.storage._owner import this_process
from jaxhpo.study.storage._reports import is_paused
from jaxhpo.study.storage._reserved import RESERVED, is_released
from jaxhpo.study.storage._rows import COMPILE_ENTRY, HEARTBEAT, RESUMABLE, SCHEDULE, Ending, Row
from jaxhpo.study.storage._waiting import enqueue, retry_attrs, waiting
from jaxhpo.study.storage.outages._late_results import record_late_results, recover_spooled

if TYPE_CHECKING:
    from jaxhpo.space import Space
    from jaxhpo.study.storage._store import Store

logger = logging.getLogger("jaxhpo")

# Writers that keep taking each other's number get any number after this many attempts.
MAX_ATTEMPTS = 400


class StoredSampler:
    """Keeps a sampler's state in step with a study's rows, other writers included.

    A trial's number is fixed when its row is written. If another process took the number that the
    proposal was made for, the history is read again and the proposal made anew, so that several
    processes on one study propose what one alone would have proposed.

    Attributes:
        clock: counts the time that compiling takes, until a trial is written with it.
        has_paused: whether trials may wait that have begun.
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
        self.has_paused = False
        self._is_constrained = False
        self._has_waiting = self._has_released = self._is_mid_batch = False
        # Trials of other processes, or paused, that the sampler takes for failed until they end.
        self._assumed_failed: set[int] = set()
        # number -> trial id of the trials that this object has handed out.
        self._running: dict[int, int] = {}
        # Trials that had begun when the compiler was waited for: their times in the storage do not
        # tell how long they took.
        self._waited: set[int] = set()
        # Trials that a scheduler judges: what they are worth depends on the others.
        self._judged: set[int] = set()
        # Trials that wait, where others have failed, if they are interrupted: number -> attempt.
        self._resumable: dict[int, str] = {}

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

    @contextlib.contextmanager
    def expecting(self, count: int) -> Iterator[None]:
        """Within, `count` trials are to come: for more nothing is compiled ahead."""
        self._proposer.expect(self.next_number + count)
        try:
            yield
        finally:
            self._proposer.expect(math.inf)

    @property
    def _learns(self) -> bool:
        """Whether what is told changes what is proposed."""
        return learns(self.sampler)

    def refresh(self) -> None:
        """Reads the history and replays it into the sampler."""
        if self._store.has_spooled:
            recover_spooled(self._store)
        trials = self._store.history()
        unit, values = history_of(trials, self._space)
        if self._learns and self._num_objectives == 1:
            least = max(self._space.num_dims + 1, startup_of(self.sampler))
            values = comparable(trials, values, least, self._direction)
        evaluations = self._to_evaluations((unit, values), trials)
        self._switch_sampler()
        self._proposer.reset(evaluations)
        self._assumed_failed = {
            t.number for t in trials if status_of(t) is Status.RUNNING or is_paused(t)
        }
        self._next_number = trials[-1].number + 1 if trials else 0
        self._has_waiting = any(
            status_of(trial) is Status.WAITING and not is_paused(trial) for trial in trials
        )
        self.has_paused = any(is_paused(trial) for trial in trials)
        self._has_released = any(is_released(trial) for trial in trials)
        # The rest of a batch that others have broken into is proposed anew, as on reopening.
        self._is_mid_batch = self._proposer.is_mid_batch(len(trials))
        self._is_stale = False

    def enqueue(self, params: Any) -> list[int]:
        """Writes trials that are handed out before any further proposal; see `Study.enqueue`."""
        self._is_stale = True
        return enqueue(self._store, self._space, params)

    def retry(self, flat: dict[str, Any], retried: list[int]) -> int:
        """Writes stored params as a trial that waits, after `retried`; gives its number."""
        self._is_stale = True
        return self._store.enqueue(flat, retry_attrs(retried))

    def ask(
        self,
        count: int,
        owner: list[str | int] | None = None,
        attrs: Mapping[str, Any] = MappingProxyType({}),
    ) -> list[Trial]:
        """Hands out trials that wait, then proposes others, and writes them as running.

        Args:
            count: how many.
            owner: the process that will run them, or None if nobody knows.
            attrs: what else jaxhpo keeps of them.

        Returns:
            The trials; fewer than `count` only if the sampler has no further point.
        """
        if self._is_stale:
            self.refresh()
        own = {"owner": owner, **attrs}
        started = self._start_waiting(count, own) if self._has_waiting else []
        asked = self._ask_sampler(count - len(started), own)
        if any(trial.compile_seconds for trial in asked):
            self._waited.update(trial.number for trial in started)
        if SCHEDULE in attrs:
            self._judged.update(trial.number for trial in started + asked)
        if RESUMABLE in attrs:
            self._resumable |= {trial.number: attrs[RESUMABLE] for trial in started + asked}
        return started + asked

    def _start_waiting(self, count: int, own: dict[str, Any]) -> list[Trial]:
        """Starts up to `count` of the waiting trials."""
        # The sampler learns of them from the history, as it would if the study were opened anew.
        self._is_stale = True
        started: list[Trial] = []
        for number, trial_id, values, unit in waiting(self._store, self._space, self._seed):
            [params] = self._space.decode(values)
            was_reserved = unit is not None
            unit = np.asarray(self._space.to_unit(values))[0] if unit is None else unit
            row = self._rows.row(Status.RUNNING, None, unit, params, own)
            self._running[number] = trial_id
            # From here on it is a trial of its own, no part of a batch.
            attrs = {HEARTBEAT: None, **own, RESERVED: None}
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

    def _ask_sampler(self, count: int, own: dict[str, Any]) -> list[Trial]:
        """Proposes trials and writes them as running."""
        if count == 0:
            return []
        for attempt in range(MAX_ATTEMPTS):
            first = self.next_number
            if self._has_waiting:  # others have enqueued some
                return self._ask_again(count, own)
            # A proposal that is dropped, or interrupted, is still pending in the sampler's state.
            self._is_stale = True
            plan = Plan(self._proposer, first, count)
            if not plan.unit:
                self.refresh()
                return self._ask_again(count, own) if self._has_waiting else []
            rows = self._running_rows(plan.unit, plan.params, own)

            def skip(found: int, others: Others, plan: Plan = plan) -> Sequence[Row] | None:
                nonlocal rows
                if not plan.move_to(found, others):
                    return None
                rows = self._running_rows(plan.unit, plan.params, own)
                return rows

            expected = None if attempt == MAX_ATTEMPTS - 1 else first
            may_skip = skip if self._proposer.proposes_ahead else None
            try:
                written = self._store.append(rows, expected, skip=may_skip)
            except NumberTaken:
                continue
            waited = (self.clock.take(), *(0.0 for _ in written))
            self._running.update(written)
            self._is_stale = written[0][0] != plan.first or self._is_mid_batch
            self._next_number = written[-1][0] + 1
            proposed = zip(written, plan.params, waited, rows, plan.unit, strict=False)
            return [
                Trial(number, params, compile_seconds=seconds, flat=row.params, unit=unit)
                for (number, _), params, seconds, row, unit in proposed
            ]
        raise AssertionError("unreachable: the last attempt takes any number")

    def _ask_again(self, count: int, own: dict[str, Any]) -> list[Trial]:
        return self.ask(count, own["owner"], {k: v for k, v in own.items() if k != "owner"})

    def trial_id(self, number: int) -> int:
        """The identifier of a trial that this object has handed out."""
        return self._running[number]

    def resume(self, trial: Trial, trial_id: int, attrs: dict[str, Any]) -> bool:
        """Takes up a trial that has paused.

        Args:
            trial: the trial.
            trial_id: its identifier.
            attrs: entries among jaxhpo's own attributes, with this process as the owner.

        Returns:
            False if it does not wait any more.
        """
        if not self._store.claim([trial_id], attrs):
            return False
        self._running[trial.number] = trial_id
        self._resumable[trial.number] = attrs[RESUMABLE]
        # The storage knows when it was taken up, not how long it took before.
        self._waited.add(trial.number)
        if self._learns:  # it was told already, as far as it had come
            self._assumed_failed.add(trial.number)
        return True

    def paused(self, trial: Trial, *, is_new: bool = False) -> None:
        """Takes note that a trial waits, or as a new one will be begun by whoever asks next."""
        self._running.pop(trial.number, None)
        self._resumable.pop(trial.number, None)
        self.has_paused = True
        self._is_stale |= is_new or self._learns

    def tell(self, trials: Sequence[Trial], results: Sequence[ObjectiveResult]) -> list[Trial]:
        """Ends running trials and tells the sampler.

        Args:
            trials: trials that are running.
            results: what became of each.

        Returns:
            The trials that ended now. One that another process had marked as failed has the number
            of the new trial that holds its value; one that it had given a value is left out.
        """
        attempts = [self._resumable.pop(trial.number, None) for trial in trials]
        endings = [
            ending_of(self._running[trial.number], result, trial.number in self._waited, attempt)
            for trial, result, attempt in zip(trials, results, attempts, strict=True)
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
            or (any(trial.number in self._judged for trial in trials) and self._learns)
        ):
            return ended
        if self._proposer.proposes_ahead and self._with_constraints is None:
            self._is_stale = False
            return ended
        unit = np.asarray([trial.unit for trial in ended])
        evaluations = self._to_evaluations((unit, [trial.value for trial in ended]), ended)
        if not self._switch_sampler():
            self._proposer.tell_proposed(evaluations, self._next_number)
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
        # Points that were proposed ahead are so without these.
        if numbers[0] == expected and not self._proposer.is_ahead:
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

    def running_ids(self, excluded: frozenset[int]) -> list[int]:
        """Their identifiers, without those of some numbers; from any thread."""
        return [i for number, i in list(self._running.items()) if number not in excluded]

    def fail_running(self, reason: str, excluded: frozenset[int] = frozenset()) -> list[int]:
        """Marks as failed the trials that this object has handed out and not ended.

        Those that can go on later wait instead.

        Args:
            reason: why, in words.
            excluded: numbers of those that keep running: somebody else is to tell them.

        Returns:
            The numbers of those that failed.
        """
        mine = [number for number in self._running if number not in excluded]
        waiting = [self._running.pop(one) for one in mine if self._resumable.pop(one, None)]
        numbers = [number for number in mine if number in self._running]
        endings = [
            Ending(self._running.pop(number), Status.FAILED, None, {"reason": reason})
            for number in numbers
        ]
        self._is_stale, self.has_paused = True, self.has_paused or bool(waiting)
        try:
            self._store.finish_now(endings)
            self._store.release(waiting, lambda owner: owner == this_process())
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
        self, unit: Iterable[np.ndarray], params: Sequence[Any], system: dict[str, Any]
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
        return Proposer(self._space, sampler, *settings, clock=self.clock, is_in_turn=True)
