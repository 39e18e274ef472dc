"""`Study.sweep`: a vectorised sweep that is asked and trained batch by batch."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxhpo import _checks, population
from jaxhpo._status import Status, explain
from jaxhpo.progress import Progress, Reporter, make_reporter
from jaxhpo.samplers.internal import Batching, batching_of, warn_of_large_batch
from jaxhpo.schedulers import Scheduler
from jaxhpo.schedulers.internal import (
    check_levels,
    check_table,
    least_trials,
    proposes,
    resolve,
)
from jaxhpo.study.running._interrupts import DeferredInterrupts, interrupt_type
from jaxhpo.study.running.sweeping._batch_record import BatchRecord
from jaxhpo.study.running.sweeping._retrain import sweep_key
from jaxhpo.study.running.sweeping._sweep_summary import SweepSummary
from jaxhpo.study.storage._owner import this_process
from jaxhpo.study.storage._reserved import Batch

if TYPE_CHECKING:
    import pathlib

    from jaxhpo.study._core import StudyCore
    from jaxhpo.training import Training

logger = logging.getLogger("jaxhpo")

_WHERE = "Study.sweep"


class SweepRun:
    """One call of `Study.sweep`: settings and counters."""

    def __init__(
        self,
        study: StudyCore,
        training: Training,
        *,
        num_trials: int,
        num_steps: int,
        batch_size: int | None,
        num_reports: int,
        timeout: float | None,
        progress: Any,
        scheduler: Any,
        checkpoint: bool,
        options: dict[str, Any],
    ) -> None:
        """Checks the arguments of `Study.sweep`, which documents them."""
        if study.direction != "minimize":
            raise ValueError(
                f"{_WHERE}: `study` must have the direction 'minimize' (a training's loss is "
                f"minimised), got {study.direction!r}."
            )
        study.space.check_precision(_WHERE)
        self.study, self.training = study, training
        self.options = {**options, "scheduler": scheduler, "space": study.space}
        shared = _checks.check_bool(_WHERE, "share_data_order", options["share_data_order"])
        self.options["share_data_order"] = shared
        if options["devices"] is None:  # each process of a distributed program has its own batches
            self.options["devices"] = jax.local_devices()
        self.num_trials = _checks.check_int(_WHERE, "num_trials", num_trials, 0)
        self.num_steps = _checks.check_int(_WHERE, "num_steps", num_steps, 1)
        self.num_reports = _checks.check_int(_WHERE, "num_reports", num_reports, 1)
        self.batching, self.size = self._batches(batch_size, scheduler)
        self.fewest = 1
        if isinstance(scheduler, Scheduler):
            self.fewest = self.size
        elif scheduler is not None:  # each batch makes its own
            how = (_WHERE, "scheduler", scheduler, self.size, self.num_steps)
            self.fewest = least_trials(*how, known_space=study.space)
            # The last batch takes in what is too little for one of its own.
            self.size = min(max(self.size, 2 * self.fewest - 1), self.num_trials or self.size)
            if callable(scheduler):
                self._check_made(scheduler)
        if timeout is not None:
            timeout = _checks.check_not_negative(_WHERE, "timeout", timeout)
        self.deadline = None if timeout is None else time.monotonic() + timeout
        note = f"{self.num_steps} steps each; {self.batching.words or 'one batch after another'}; "
        self.reporter: Reporter = make_reporter(
            _WHERE, progress, study.name, self.num_trials, note=f"{note}the programs compile first"
        )
        self.checkpoints = None
        if _checks.check_bool(_WHERE, "checkpoint", checkpoint):
            self.checkpoints = study._kept_checkpoints
            self.checkpoints.folder_of(0)  # refuses a study that has none
        self.done = self.failed = self.batches = 0
        self.compile_seconds = self.write_seconds = 0.0
        self.plans: tuple[Any, ...] = ()

    def _batches(self, batch_size: int | None, scheduler: Any) -> tuple[Batching, int]:
        """Which batches there are, and the most trials in one."""
        sampler = self.study._sampler.sampler
        own = batching_of(sampler)
        most = self.num_trials or own.first
        if isinstance(scheduler, Scheduler):
            size = self._check_ready(scheduler, batch_size)
            return own._replace(first=size, size=size), size
        if batch_size is None:
            return own, min(max(own.first, own.size), most)
        size = _checks.check_int(_WHERE, "batch_size", batch_size, 1)
        warn_of_large_batch(_WHERE, sampler, size, self.num_trials)
        return own._replace(first=size, size=size), min(size, self.num_trials or size)

    def _check_ready(self, scheduler: Scheduler, batch_size: int | None) -> int:
        """The trials that a ready-made scheduler is for, which every batch must have."""
        _refuse_sampler(scheduler)
        size = check_table(_WHERE, scheduler).status.shape[0]
        if batch_size not in (None, size):
            expected = f"made for {batch_size} trials (`batch_size`), or a function that makes one"
            raise _checks.fail(_WHERE, "scheduler", expected, f"one for {size}")
        waiting, whole = self.study._sampler.released_batch() if self.num_trials % size else (0, 0)
        if (self.num_trials - (waiting if whole == size else 0)) % size:
            expected = f"a multiple of the {size} trials that `scheduler` is made for"
            raise _checks.fail(_WHERE, "num_trials", expected, self.num_trials)
        levels = jax.device_get(scheduler.init(0).table.levels).tolist()
        check_levels(_WHERE, levels, self.num_steps)
        return size

    def _check_made(self, scheduler: Any) -> None:
        """Refuses a function that makes schedulers for others than the trials it is given."""
        for size in {self.size, self.num_trials % self.size} - {0}:
            made = resolve(_WHERE, "scheduler", scheduler, size, self.num_steps)
            _refuse_sampler(made)
            found = check_table(_WHERE, made).status.shape[0]
            if found != size:
                expected = f"made for {size} trials"
                raise _checks.fail(_WHERE, "scheduler", expected, f"one for {found}")

    def run(self) -> SweepSummary:
        """Runs batch after batch until there is a reason to stop."""
        started = time.perf_counter()
        self.study.stop_reason = None
        with contextlib.ExitStack() as stack:
            stack.callback(self.study._store.checkpoint)
            stack.enter_context(self.reporter)
            stack.enter_context(self.study._sampler.clock.saying(self.reporter.say))
            stack.enter_context(self.study._sampler.expecting(self.num_trials))
            interrupts = stack.enter_context(DeferredInterrupts())
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

    def _batch(self, interrupts: DeferredInterrupts) -> None:
        """Reserves trials, trains them and writes down what became of them."""
        sampler = self.study._sampler
        began = time.perf_counter()
        batch = self._reserve()
        if not batch.numbers:
            self.study.stop_reason = explain(Status.EMPTY)
            logger.info("study %r ends: %s", self.study.name, self.study.stop_reason)
            return
        self.write_seconds += time.perf_counter() - began
        how = {
            "num_steps": self.num_steps,
            "num_reports": self.num_reports,
            "share_data_order": self.options["share_data_order"],
        }
        record = BatchRecord(_WHERE, self.study, batch, how, self.size, interrupts.deferred)
        interrupt = None
        try:
            with interrupts.allow():
                result = self._train(batch, record)
        except population.SweepInterrupted as error:
            result, interrupt = error.sweep, error
        except BaseException:
            sampler.release(batch)
            raise
        self._end_batch(batch, record, result)
        if interrupt is not None:
            self.study.stop_reason = "interrupted"
            logger.warning(
                "interrupted after %d trials of this call, all of them recorded. %s",
                self.done,
                self.study.resume_hint(),
            )
            raise interrupt_type(interrupt)() from interrupt

    def _reserve(self) -> Batch:
        """The next batch, of which the scheduler can make a population, and of the rest too."""
        sampler, left = self.study._sampler, self.num_trials - self.done
        count = min(max(self.batching.count_at(sampler.next_number), self.fewest), left)
        if 0 < left - count < self.fewest:
            count = left - self.fewest if left >= 2 * self.fewest else left
        # What a scheduler has begun to judge it judges as a whole.
        whole = None if self.options["scheduler"] is None else self._can_go_on
        batch = sampler.reserve(count, self.size, this_process(), whole=whole)
        # Trials that wait come first, and may be too few for a population.
        while self.fewest > 1 and 0 < len(batch.numbers) < count and not batch.has_ended.any():
            rest = count - len(batch.numbers)
            more = sampler.reserve(rest, self.size, this_process(), name=batch.name)
            if not more.numbers:
                break
            batch = batch.joined(more)
        return batch

    def _can_go_on(self, num_waiting: int, size: int) -> bool:
        """Whether a population can be judged to its end, and what is left then be others."""
        rest = self.num_trials - self.done - num_waiting
        if isinstance(self.options["scheduler"], Scheduler):
            return size == self.size and rest >= 0 and rest % size == 0
        return rest == 0 or rest >= self.fewest

    def _train(self, batch: Batch, record: BatchRecord) -> population.Sweep:
        """Trains a batch, from where a killed process has left the very same one."""
        if self.checkpoints is None:
            return self._sweep(batch, record, None)
        folder = self.checkpoints.folder_of(min(batch.numbers))
        try:
            return self._sweep(batch, record, folder)
        except population.CheckpointMismatchError as error:
            number = min(batch.numbers)
            logger.warning(
                "study %r: the batch of trial %d begins anew: %s", self.study.name, number, error
            )
            self.checkpoints.remove_folder(min(batch.numbers))
            return self._sweep(batch, record, folder)

    def _sweep(
        self, batch: Batch, record: BatchRecord, folder: pathlib.Path | None
    ) -> population.Sweep:
        left, best = self._seconds_left(), self.study._best_value_or_none()

        def report_progress(event: population.Progress) -> None:
            record.take(event)
            self._forward_progress(event, best, batch.before)

        return population.sweep(
            self.training,
            batch.values,
            key=sweep_key(self.study),
            first_trial=np.asarray(batch.numbers),
            num_steps=self.num_steps,
            num_reports=self.num_reports,
            timeout=None if left is None else max(left, 1e-3),
            progress=report_progress,
            checkpoint_dir=folder,
            **self.options,
        )

    def _forward_progress(
        self, event: population.Progress, best: float | None, before: np.ndarray
    ) -> None:
        """Translates the sweep's progress into the study's: what had ended before is not new."""
        known = [one for one in (best, event.best) if one is not None]
        best_known = min(known, default=None)
        done = self.done + max(event.done - int(np.count_nonzero(before)), 0)
        failed_before = int(np.count_nonzero(before == Status.FAILED))
        failed = self.failed + max(event.failed - failed_before, 0)
        self.reporter.update(Progress(done, self.num_trials, best_known, failed, event.message))

    def _end_batch(self, batch: Batch, record: BatchRecord, result: population.Sweep) -> None:
        """Ends the trials of a batch that have ended; the others wait."""
        self.compile_seconds += result.compile_seconds
        words = self.batching.words
        self.plans += tuple(
            dataclasses.replace(plan, reason=f"{plan.reason} {words}." if words else plan.reason)
            for plan in result.plans
        )
        record.end(result)
        self.study._keep_state(self.training, batch.numbers, result)
        if self.checkpoints is not None:
            self.checkpoints.remove_folder(min(batch.numbers))
        self.write_seconds += record.seconds
        self.done += len(record.endings)
        self.failed += record.num_failed
        self.batches += len(record.endings) > 0


def _refuse_sampler(scheduler: Scheduler) -> None:
    """A trial is written down with its point before the scheduler sees it."""
    if proposes(scheduler):
        expected = "made without `sampler`: the study's own sampler proposes the points"
        raise _checks.fail(_WHERE, "scheduler", expected, "one with a sampler")
