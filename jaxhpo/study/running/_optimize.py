"""The loop of `Study.optimize`: ask, evaluate, tell, until there is a reason to stop."""

from __future__ import annotations

import contextlib
import logging
import math
import secrets
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from jaxhpo import _checks
from jaxhpo._status import Status, explain
from jaxhpo.progress import Progress, make_reporter, printable
from jaxhpo.study._trial import Trial
from jaxhpo.study.reporting._generators import takes_checkpoint
from jaxhpo.study.reporting._source import Source
from jaxhpo.study.reporting._tasks import Judge, Recorder, Task
from jaxhpo.study.running._first_failures import FirstFailures, describe_first_failures
from jaxhpo.study.running._heartbeat import Heartbeat
from jaxhpo.study.running._interrupts import DeferredInterrupts, interruptible_sleep
from jaxhpo.study.running._results import ObjectiveResult
from jaxhpo.study.running.engines._choose import engine_of
from jaxhpo.study.running.engines._elsewhere import Address
from jaxhpo.study.running.engines._local_pool import Engine, Pool
from jaxhpo.study.scheduling._left_behind import warn_of_awaited, warn_of_left
from jaxhpo.study.scheduling._pruner import PrunerJudge, is_pruner
from jaxhpo.study.scheduling._rule import steps_of
from jaxhpo.study.scheduling._schedule import Schedule
from jaxhpo.study.storage._reports import is_paused
from jaxhpo.study.storage._waiting import retried_numbers
from jaxhpo.study.storage.outages._heartbeats import check_heartbeat

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from jaxhpo.study._core import StudyCore

logger = logging.getLogger("jaxhpo")

_WHERE = "Study.optimize"

_WAIT_SECONDS = 0.5
"""How often a process that waits for others looks what they have done."""

_REMIND_SECONDS = 60.0
"""How long it waits for the same trials before it says for whose."""


class OptimizeLoop:
    """One call of `Study.optimize`: its settings, its counters and its reason to stop."""

    def __init__(
        self,
        study: StudyCore,
        objective: Callable[[Any], Any],
        *,
        num_trials: int,
        timeout: float | None,
        num_workers: int | None,
        callbacks: Sequence[Callable[..., Any]],
        catch: tuple[type[BaseException], ...],
        max_first_failures: int | None,
        progress: Any,
        scheduler: Any = None,
        num_steps: int | None = None,
        executor: Any = None,
        synchronous: bool = False,
        max_retries: int = 0,
        heartbeat: float | None = None,
        engine: Engine | None = None,
        where: str = _WHERE,
        resume_hint: str | None = None,
    ) -> None:
        """Checks the arguments of `Study.optimize`, which documents them.

        An `engine` runs the trials in place of the pools of this room; `objective` is then only
        what tells whether a trial can go on later. `where` is the function to name in errors, and
        `resume_hint` says how to go on after an interrupt, if not with the study.
        """
        self._study, self._num_objectives = study, len(study.directions)
        self._objective = _checks.check_callable(_WHERE, "objective", objective)
        self._where, self._resume_hint = where, resume_hint or study.resume_hint()
        self._num_trials = _checks.check_int(_WHERE, "num_trials", num_trials, 0)
        self._is_synchronous = _checks.check_bool(_WHERE, "synchronous", synchronous)
        self._max_retries = _checks.check_int(_WHERE, "max_retries", max_retries, 0)
        if timeout is not None:
            timeout = _checks.check_not_negative(_WHERE, "timeout", timeout)
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._callbacks = _check_callbacks(callbacks)
        self._catch = _check_catch(catch)
        if max_first_failures is not None:
            name = "max_first_failures"
            max_first_failures = _checks.check_int(_WHERE, name, max_first_failures, 1)
        self._first_failures = FirstFailures(max_first_failures)
        note = "the sampler's programs compile for the first proposals"
        self._reporter = make_reporter(_WHERE, progress, study.name, self._num_trials, note=note)
        self._begun = self._done = self._failed = self._num_ended = 0
        self._stopped = ""
        if num_steps is not None:
            num_steps = _checks.check_int(_WHERE, "num_steps", num_steps, 1)
        self._source = Source(study, takes_checkpoint(objective))
        self._source.heartbeat = check_heartbeat(
            _WHERE, heartbeat, is_database=study._store.is_database
        )
        self._next_look = time.monotonic()
        self._set_up_judge(scheduler, num_steps)
        self._engine = engine or engine_of(
            where,
            objective,
            self._num_objectives,
            executor=executor,
            num_workers=num_workers,
            is_judged=self._judge is not None,
            address=self._address(scheduler),
        )
        self._is_told = self._has_reported = False
        self._awaited: tuple[list[int], float] = ([], 0.0)
        # What the user has asked, and will tell, is no trial of this run.
        self._asked_by_user = study._sampler.running_numbers

    def _set_up_judge(self, scheduler: Any, num_steps: int | None) -> None:
        """Makes what ends trials early, if anything does."""
        self._schedule: Schedule | None = None
        self._pruned: list[Trial] = []
        judge: Judge | None = None
        if scheduler is not None and self._num_objectives > 1:
            got = f"{self._num_objectives} objectives"
            raise _checks.fail(
                self._where, "scheduler", "None where there are several objectives", got
            )
        if is_pruner(scheduler):
            judge = PrunerJudge(self._study.to_optuna(), scheduler)
        elif scheduler is not None:
            num_steps = steps_of(self._where, scheduler, num_steps)
            self._schedule = Schedule(
                self._where,
                self._study,
                self._source,
                scheduler,
                num_trials=self._num_trials,
                num_steps=num_steps,
                on_ended=self._pruned.extend,
            )
            judge = self._schedule.judge
        self._num_steps, self._judge = num_steps, judge

    def _address(self, scheduler: Any) -> Address | None:
        """Where workers of other processes find the study; None where they cannot."""
        study = self._study
        if (storage := study._store.address) is None:
            return None
        return Address(
            run=secrets.token_hex(8),
            where=self._where,
            storage=storage,
            name=study.name,
            direction=study.direction,
            seed=study._meta["seed"],
            space_hash=study._meta["space_hash"],
            num_steps=self._num_steps,
            scheduler=scheduler,
            is_resumable=self._source.is_resumable,
        )

    def run(self) -> str:
        """Runs to the end and returns the reason for it."""
        study = self._study
        with contextlib.ExitStack() as stack:
            stack.callback(study._store.checkpoint)
            stack.enter_context(self._reporter)
            stack.enter_context(study._sampler.clock.saying(self._reporter.say))
            stack.enter_context(study._sampler.expecting(self._num_trials))
            interrupts = stack.enter_context(DeferredInterrupts())
            self._start_heartbeat(stack)
            pool = self._make_pool(interrupts)
            stack.callback(pool.close)
            self._report_progress(study._best_value_or_none())
            try:
                self._warn_of_left()
                self._retry_all(study._lost)
                study._lost = []
                while (reason := self._reason_to_stop()) is None or pool.num_busy:
                    interrupts.raise_pending()
                    self._look_for_lost()
                    self._round(pool, interrupts, may_start=reason is None)
                return reason
            except KeyboardInterrupt:
                study._sampler.fail_running("interrupted", self._asked_by_user)
                logger.warning("interrupted %s %s", self._so_far(), self._resume_hint)
                study.stop_reason = "interrupted"
                raise
            except BaseException as error:
                why = f"the study stopped: {type(error).__name__}"
                study._sampler.fail_running(why, self._asked_by_user)
                study.stop_reason = self._stopped or f"stopped by {type(error).__name__}"
                raise

    def _start_heartbeat(self, stack: contextlib.ExitStack) -> None:
        """Lets other machines know, until the run ends, that its trials have not been lost."""
        seconds, sampler = self._source.heartbeat, self._study._sampler
        if seconds is not None:
            beat = Heartbeat(
                self._study._store, seconds, lambda: sampler.running_ids(self._asked_by_user)
            )
            stack.enter_context(beat)

    def _look_for_lost(self) -> None:
        """Now and then, with a heartbeat: ends the trials of others that have vanished."""
        seconds, now = self._source.heartbeat, time.monotonic()
        if seconds is None or now < self._next_look:
            return
        self._next_look = now + seconds
        self._retry_all(self._study.fail_stale())

    def _retry_all(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self._retry(self._study._store.trial(number), is_counted=self._schedule is None)

    def _warn_of_left(self) -> None:
        """Says which trials this run will not take up although they wait."""
        if not self._study._sampler.has_paused:
            return
        if self._schedule is None:
            warn_of_left(self._study)
        else:
            self._schedule.warn_of_left()

    def _so_far(self) -> str:
        """What an interrupted run has done."""
        ended = f"after {self._num_ended} trials of this call"
        num_paused = 0
        if self._study._sampler.has_paused:
            num_paused = sum(is_paused(frozen) for frozen in self._study._store.history())
        if not num_paused:
            return f"{ended}, all of them recorded."
        return (
            f"{ended}; {num_paused} more have begun, and wait. All that they reported is recorded."
        )

    def _make_pool(self, interrupts: DeferredInterrupts) -> Pool:
        store = self._study._store
        recorder = Recorder(
            store, self._source.checkpoints, interrupts.deferred, self._num_steps, self._judge
        )
        return self._engine(recorder, interrupts)

    def _reason_to_stop(self) -> str | None:
        if self._study.stop_reason:
            return self._study.stop_reason
        if self._schedule is None and self._begun >= self._num_trials and not self._source.has_left:
            return f"all {self._num_trials} trials were run"
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return "the timeout was reached"
        return None

    def _round(self, pool: Pool, interrupts: DeferredInterrupts, *, may_start: bool) -> None:
        """Gives the workers something to do, and takes note of what they have done.

        A worker that is done gets the next trial at once; in a synchronous run once all are done,
        so that the same trials run in every run.
        """
        started = self._next_tasks(pool) if may_start else []
        ended = []
        for task in started:
            problem = self._source.load(task)
            if problem is None:
                pool.start(task)
            else:
                ended.append((task, problem))
        while pool.num_busy and (self._is_synchronous or not ended):
            ended += pool.wait()
        if self._schedule is None:
            ended.sort(key=lambda one: one[0].trial.number)
        self._take(ended, interrupts)

    def _next_tasks(self, pool: Pool) -> list[Task]:
        """What to run next; where that is nothing, `stop_reason` says why."""
        study, schedule = self._study, self._schedule
        if schedule is None:
            left = self._num_trials - self._begun
            tasks = self._source.take(len(pool) - pool.num_busy, left)
            self._begun += sum(task.is_new for task in tasks)
            is_over = not tasks and not pool.num_busy
        else:
            tasks = []
            while pool.num_busy + len(tasks) < len(pool) and (task := schedule.next()) is not None:
                tasks.append(task)
            is_over = not tasks and not pool.num_busy and not schedule.is_waiting
            if schedule.is_waiting and not tasks and not pool.num_busy:
                self._wait_for_others()
        if is_over and schedule is not None and not schedule.num_left:
            study.stop_reason = f"all {self._num_trials} trials were run"
            schedule.warn_of_waiting()
        elif is_over:
            study.stop_reason = explain(Status.EMPTY)
            logger.info("study %r ends: %s", study.name, study.stop_reason)
        return tasks

    def _wait_for_others(self) -> None:
        """Lets other processes get further with their trials."""
        if not self._is_told:
            self._reporter.say("waiting for trials that other processes run")
            self._is_told = True
        assert self._schedule is not None
        records, now = self._schedule.awaited, time.monotonic()
        numbers, since = self._awaited
        if [one.number for one in records] != numbers:
            self._awaited = ([one.number for one in records], now)
        elif records and now - since >= _REMIND_SECONDS:
            warn_of_awaited(self._study, records)
            self._awaited = (numbers, math.inf)  # once
        interruptible_sleep(_WAIT_SECONDS)
        self._study.fail_stale()

    def _take(
        self, ended: Sequence[tuple[Task, ObjectiveResult]], interrupts: DeferredInterrupts
    ) -> None:
        """Records what came of tasks, and tells whoever wants to know."""
        study = self._study
        results = [result for _, result in ended]
        trials = self._source.end([task for task, _ in ended], results)
        self._done += len(ended)
        trials += self._pruned
        self._pruned.clear()
        self._num_ended += len(trials)
        self._failed += sum(trial.status is Status.FAILED for trial in trials)
        before = study._best_value_or_none()
        study._on_trials_ended(trials)
        for task, result in ended:
            if result.is_lost:
                is_counted = task.is_new and self._schedule is None
                self._retry(self._study._store.trial(task.trial.number), is_counted=is_counted)
        self._log_if_improved(before, trials)
        self._report_progress(study._best_value_or_none())
        self._warn_of_silence(ended)
        self._raise_uncaught(results)
        with interrupts.allow():
            for trial in trials:
                self._run_callbacks(trial)

    def _retry(self, lost: FrozenTrial, *, is_counted: bool) -> None:
        """Lets the configuration of a trial whose worker has vanished be run again."""
        retried = retried_numbers(lost)
        if len(retried) >= self._max_retries:
            return
        number = self._study._sampler.retry(lost.params, [*retried, lost.number])
        logger.warning(
            "study %r: the worker of trial %d was lost; trial %d runs its params again.",
            self._study.name,
            lost.number,
            number,
        )
        self._begun -= is_counted

    def _warn_of_silence(self, ended: Sequence[tuple[Task, ObjectiveResult]]) -> None:
        """Says once that a scheduler has nothing to judge."""
        is_judged, self._has_reported = (
            self._judge is not None,
            self._has_reported or any(task.step for task, _ in ended),
        )
        has_returned = any(result.status is Status.COMPLETE for _, result in ended)
        if is_judged and not self._has_reported and has_returned:
            logger.warning(
                "%s: `objective` returned a value and yielded none, so that `scheduler` has "
                "nothing to judge: let it `yield` its losses as it goes.",
                _WHERE,
            )
            self._has_reported = True

    def _report_progress(self, best: float | None) -> None:
        done = self._begun if self._schedule is None else self._schedule.num_begun
        self._reporter.update(Progress(done, self._num_trials, best, self._failed))

    def _log_if_improved(self, before: float | None, ended: Sequence[Trial]) -> None:
        best = self._study._best_value_or_none()
        if best is None or best == before:
            return
        trial = next(trial for trial in ended if trial.value == best)
        was = "the first" if before is None else f"{before:.6g} before"
        line = "study %r: trial %d is the best so far, value %.6g (%s), params %s"
        logger.info(line, self._study.name, trial.number, best, was, trial.flat)

    def _run_callbacks(self, trial: Trial) -> None:
        for callback in self._callbacks:
            callback(self._study, trial)

    def _raise_uncaught(self, results: Sequence[ObjectiveResult]) -> None:
        """Raises what may not pass silently; the trials are recorded already."""
        for result in results:
            # Misuse is an error of the program, unless the objective has returned numbers before.
            if result.is_misuse and (
                self._failed == self._done or result.status is not Status.FAILED
            ):
                raise TypeError(f"{_WHERE}: {result.reason}")
            if result.exception is not None and not isinstance(result.exception, self._catch):
                raise result.exception
            if result.exception is not None and result.status is not Status.FAILED:
                logger.warning(
                    "`objective` raised while closed: %s", printable(result.reason or "")
                )
            if result.status is Status.FAILED:
                logger.info("a trial failed: %s", printable(result.reason or ""))
            if self._first_failures.reaches_limit(result):
                raise self._first_failures_error(result)

    def _first_failures_error(self, result: ObjectiveResult) -> BaseException:
        """The error of all trials so far, with the count."""
        count = self._first_failures.count
        error = result.exception or RuntimeError(f"{_WHERE}: {result.reason}")
        self._stopped = describe_first_failures(count, error)
        error.add_note(
            f"{_WHERE}: the first {count} of {self._num_trials} trials all failed with this error, "
            f"so study {self._study.name!r} stopped; they are recorded. Set "
            "`max_first_failures` to another limit, or to None for no limit."
        )
        return error


def _check_callbacks(callbacks: Any) -> list[Callable[..., Any]]:
    try:
        listed = list(callbacks)
    except TypeError:
        expected = "a list of functions of (study, trial)"
        raise TypeError(
            f"{_WHERE}: `callbacks` must be {expected}, got {_checks.describe(callbacks)}."
        ) from None
    return [_checks.check_callable(_WHERE, "callbacks", one) for one in listed]


def _check_catch(catch: Any) -> tuple[type[BaseException], ...]:
    classes = catch if isinstance(catch, tuple | list) else (catch,)
    if not all(isinstance(item, type) and issubclass(item, Exception) for item in classes):
        raise TypeError(
            f"{_WHERE}: `catch` must be a tuple of exception classes, got "
            f"{_checks.describe(catch)}."
        )
    return tuple(classes)
