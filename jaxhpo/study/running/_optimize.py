"""The loop of `Study.optimize`: ask, evaluate, tell, until there is a reason to stop."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from jaxhpo import _checks
from jaxhpo._status import Status, explain
from jaxhpo.progress import Progress, make_reporter, printable
from jaxhpo.study._trial import Trial
from jaxhpo.study.running._evaluate import ObjectiveResult, evaluate
from jaxhpo.study.running._first_failures import FirstFailures, describe_first_failures
from jaxhpo.study.running._interrupts import DeferredInterrupts
from jaxhpo.study.running._workers import WorkerPool
from jaxhpo.study.storage._owner import this_process

if TYPE_CHECKING:
    from jaxhpo.study._core import StudyCore

logger = logging.getLogger("jaxhpo")

_WHERE = "Study.optimize"


class OptimizeLoop:
    """One call of `Study.optimize`: its settings, its counters and its reason to stop."""

    def __init__(
        self,
        study: StudyCore,
        objective: Callable[[Any], Any],
        *,
        num_trials: int,
        timeout: float | None,
        num_workers: int,
        callbacks: Sequence[Callable[..., Any]],
        catch: tuple[type[BaseException], ...],
        max_first_failures: int | None,
        progress: Any,
    ) -> None:
        """Checks the arguments of `Study.optimize`, which documents them."""
        self._study, self._num_objectives = study, len(study.directions)
        self._objective = _checks.check_callable(_WHERE, "objective", objective)
        self._num_trials = _checks.check_int(_WHERE, "num_trials", num_trials, 0)
        self._num_workers = _checks.check_int(_WHERE, "num_workers", num_workers, 1)
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
        self._done = self._failed = 0
        self._stopped = ""
        # What the user has asked, and will tell, is no trial of this run.
        self._asked_by_user = study._sampler.running_numbers

    def run(self) -> str:
        """Runs to the end and returns the reason for it."""
        study = self._study
        with contextlib.ExitStack() as stack:
            stack.callback(study._store.checkpoint)
            stack.callback(self._reporter.close)
            stack.enter_context(study._sampler.clock.saying(self._reporter.say))
            pool = None
            if self._num_workers > 1:
                pool = WorkerPool(self._objective, self._num_workers, self._num_objectives)
                stack.callback(pool.close)
            interrupts = stack.enter_context(DeferredInterrupts())
            self._report_progress(study._best_value_or_none())
            try:
                while (reason := self._reason_to_stop()) is None:
                    interrupts.raise_pending()
                    self._round(pool, interrupts)
                return reason
            except KeyboardInterrupt:
                study._sampler.fail_running("interrupted", self._asked_by_user)
                logger.warning(
                    "interrupted after %d trials of this call, all of them recorded. %s",
                    self._done,
                    study.resume_hint(),
                )
                study.stop_reason = "interrupted"
                raise
            except BaseException as error:
                why = f"the study stopped: {type(error).__name__}"
                study._sampler.fail_running(why, self._asked_by_user)
                study.stop_reason = self._stopped or f"stopped by {type(error).__name__}"
                raise

    def _reason_to_stop(self) -> str | None:
        if self._study.stop_reason:
            return self._study.stop_reason
        if self._done >= self._num_trials:
            return f"all {self._num_trials} trials were run"
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return "the timeout was reached"
        return None

    def _round(self, pool: WorkerPool | None, interrupts: DeferredInterrupts) -> None:
        """Asks, evaluates and tells one trial a worker."""
        study = self._study
        count = min(len(pool) if pool else 1, self._num_trials - self._done)
        trials = study._sampler.ask(count, owner=this_process())
        if not trials:
            study.stop_reason = explain(Status.EMPTY)
            logger.info("study %r ends: %s", study.name, study.stop_reason)
            return
        with interrupts.allow():
            if pool is None:
                results = [evaluate(self._objective, trials[0].params, self._num_objectives)]
            else:
                results = pool.evaluate([trial.params for trial in trials])
        ended = study._sampler.tell(trials, results)
        self._done += len(trials)
        self._failed += sum(trial.status is Status.FAILED for trial in ended)
        before = study._best_value_or_none()
        study._on_trials_ended(ended)
        self._log_if_improved(before, ended)
        self._report_progress(study._best_value_or_none())
        self._raise_uncaught(results)
        with interrupts.allow():
            for trial in ended:
                self._run_callbacks(trial)

    def _report_progress(self, best: float | None) -> None:
        self._reporter.update(Progress(self._done, self._num_trials, best, self._failed))

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
            if result.is_misuse and self._failed == self._done:
                raise TypeError(f"{_WHERE}: {result.reason}")
            if result.exception is not None and not isinstance(result.exception, self._catch):
                raise result.exception
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
