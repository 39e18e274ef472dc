"""`Study.sweep`: a vectorised sweep that is asked, trained and recorded batch by batch."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import logging
import time
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxhpo import _checks
from jaxhpo._progress import Progress, Reporter, make_reporter
from jaxhpo._status import Status, explain
from jaxhpo.study._batch import build_rows
from jaxhpo.study._interrupts import Interrupts
from jaxhpo.study._record import store_rows

if TYPE_CHECKING:
    from jaxhpo import population
    from jaxhpo.study._study import Study
    from jaxhpo.training import Training

logger = logging.getLogger("jaxhpo")

_WHERE = "Study.sweep"
# Stream of the seed's key that the training runs use.
_SWEEP_STREAM = 2**32 - 3


@dataclasses.dataclass(frozen=True)
class SweepSummary:
    """What one call of `Study.sweep` did; the trials are in the study.

    Attributes:
        num_trials: trials recorded.
        num_failed: those of them that failed.
        num_batches: transactions they were written in.
        seconds: wall time in all.
        compile_seconds: time spent on tracing and compiling.
        write_seconds: time spent on writing to the storage.
        plans: how each batch was laid out; `str(plan)` is a sentence.
    """

    num_trials: int
    num_failed: int
    num_batches: int
    seconds: float
    compile_seconds: float
    write_seconds: float
    plans: tuple[Any, ...]


def sweep(
    study: Study,
    training: Training,
    *,
    num_trials: int,
    num_steps: int,
    batch_size: int = 4096,
    num_reports: int = 10,
    timeout: float | None = None,
    progress: Any = True,
    **options: Any,
) -> SweepSummary:
    """Trains trials by `population.sweep`; each batch becomes visible in one transaction.

    A process that is killed loses the batch that it trains, and nothing that was recorded; the
    study opened again proposes that batch anew. On Ctrl-C the trials of the batch that had ended
    are recorded, those before the last of them that had not are recorded as failed
    ("interrupted"), and `KeyboardInterrupt` passes on.

    A trial's keys follow from the seed and its number alone, so neither the batch size nor a stop
    changes what a trial draws or how it trains.

    Args:
        study: the study; its direction must be "minimize".
        training: the training run whose `loss` is minimised.
        num_trials: how many more trials to train.
        num_steps: steps a trial; static.
        batch_size: trials asked, trained and written together. Samplers learn between batches.
        num_reports: points of a learning curve; at most 50 of them are stored.
        timeout: seconds after which training stops at the next report.
        progress: as in `Study.optimize`.
        **options: passed on to `population.sweep` (memory_budget, share_data_order, …).

    Returns:
        What was done.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: a number out of range, or a study that maximises.
    """
    return _Run(
        study, training, num_trials, num_steps, batch_size, num_reports, timeout, progress, options
    ).run()


class _Run:
    """One call of `sweep`: settings and counters."""

    def __init__(
        self,
        study: Study,
        training: Training,
        num_trials: int,
        num_steps: int,
        batch_size: int,
        num_reports: int,
        timeout: float | None,
        progress: Any,
        options: dict[str, Any],
    ) -> None:
        if study.direction != "minimize":
            raise ValueError(
                f"{_WHERE}: `study` must have the direction 'minimize' (a training's loss is "
                f"minimised), got {study.direction!r}."
            )
        study.space.check_precision(_WHERE)
        self.study, self.training, self.options = study, training, options
        self.num_trials = _checks.check_int(_WHERE, "num_trials", num_trials, 0)
        self.num_steps = _checks.check_int(_WHERE, "num_steps", num_steps, 1)
        self.num_reports = _checks.check_int(_WHERE, "num_reports", num_reports, 1)
        size = _checks.check_int(_WHERE, "batch_size", batch_size, 1)
        self.batch_size = min(size, max(self.num_trials, 1))
        if timeout is not None:
            timeout = _checks.check_not_negative(_WHERE, "timeout", timeout)
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self.reporter: Reporter = make_reporter(_WHERE, progress, study.name, self.num_trials)
        self.key = jax.random.fold_in(jax.random.key(study.seed), _SWEEP_STREAM)
        self.done = self.failed = self.batches = 0
        self.compile_seconds = self.write_seconds = 0.0
        self.plans: tuple[Any, ...] = ()

    def run(self) -> SweepSummary:
        """Runs batch after batch until there is a reason to stop."""
        started = time.perf_counter()
        self.study.stop_reason = None
        with contextlib.ExitStack() as stack:
            stack.callback(self.reporter.close)
            interrupts = stack.enter_context(Interrupts())
            while (reason := self._reason_to_stop()) is None:
                self._batch(interrupts)
        self.study.stop_reason = reason
        return SweepSummary(
            self.done,
            self.failed,
            self.batches,
            time.perf_counter() - started,
            self.compile_seconds,
            self.write_seconds,
            self.plans,
        )

    def _reason_to_stop(self) -> str | None:
        if self.study.stop_reason:
            return self.study.stop_reason
        if self.done >= self.num_trials:
            return f"all {self.num_trials} trials were run"
        if self._seconds_left() == 0.0:
            return "the timeout was reached"
        return None

    def _seconds_left(self) -> float | None:
        return None if self.deadline is None else max(self.deadline - time.monotonic(), 0.0)

    def _batch(self, interrupts: Interrupts) -> None:
        from jaxhpo import population

        count = min(self.batch_size, self.num_trials - self.done)
        first, unit, values = self.study._asker.propose(count, self.batch_size)
        if len(unit) == 0:
            self.study.stop_reason = explain(Status.EMPTY)
            logger.info("study %r ends: %s", self.study.name, self.study.stop_reason)
            return
        left = self._seconds_left()
        start, best = datetime.datetime.now(), self.study._best_value_or_none()
        try:
            with interrupts.open():
                result = population.sweep(
                    self.training,
                    values,
                    key=self.key,
                    first_trial=first,
                    num_steps=self.num_steps,
                    num_reports=self.num_reports,
                    timeout=None if left is None else max(left, 1e-3),
                    progress=lambda event: self._tick(event, best),
                    **{"programs": self.study.programs, **self.options},
                )
        except population.SweepInterrupted as interrupt:
            self._write(first, unit, values, interrupt.sweep, start, "interrupted")
            self.study.stop_reason = "interrupted"
            logger.warning(
                "interrupted after %d trials of this call, all of them recorded. %s",
                self.done,
                self.study.resume_hint(),
            )
            raise KeyboardInterrupt from interrupt
        self._write(first, unit, values, result, start, "the timeout was reached")

    def _tick(self, event: population.Progress, best: float | None) -> None:
        """Translates the sweep's progress into the study's."""
        loss = float(event.best_loss)
        shown = loss if best is None else min(best, loss)
        self.reporter.update(
            Progress(
                self.done + event.num_done,
                self.num_trials,
                shown if np.isfinite(shown) else None,
                self.failed + event.num_failed,
                "compiling" if event.is_compiling else "",
            )
        )

    def _write(
        self,
        first: int,
        unit: np.ndarray,
        values: Any,
        result: population.Sweep,
        start: datetime.datetime,
        cut_reason: str,
    ) -> None:
        """Records the batch up to its last trial that ended."""
        self.compile_seconds += result.compile_seconds
        self.plans += result.plans
        has_ended = ~np.isin(result.status, (Status.EMPTY, Status.RUNNING))
        n = int(np.max(np.flatnonzero(has_ended), initial=-1)) + 1
        if n == 0:
            return
        began = time.perf_counter()
        status = np.where(has_ended, result.status, Status.FAILED)[:n]
        params = self.study.space.decode(jax.tree.map(lambda leaf: leaf[:n], values))
        rows = build_rows(
            self.study,
            unit[:n],
            params,
            result.losses[:n],
            curves=result.curves[:n],
            curve_steps=result.curve_steps,
            status=status,
            seconds=result.seconds / len(unit),
            start=start,
        )
        for i in np.flatnonzero(~has_ended[:n]):
            attrs = {**rows[i].user_attrs, "reason": cut_reason}
            rows[i] = dataclasses.replace(rows[i], user_attrs=attrs)
        store_rows(self.study, rows, unit[:n], first, self.batch_size)
        self.write_seconds += time.perf_counter() - began
        self.done += n
        self.failed += int(np.sum(status == Status.FAILED))
        self.batches += 1
