"""Writes down how the trials of a batch end: at a scheduler's rungs, and with the batch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxhpo._status import Status
from jaxhpo.study._batch import build_endings
from jaxhpo.study.storage._errors import StorageError
from jaxhpo.study.storage._rows import COMPILE_ENTRY, SCHEDULE_ATTR, SWEEP_ATTR, Ending

if TYPE_CHECKING:
    from jaxhpo import population
    from jaxhpo.study._core import StudyCore
    from jaxhpo.study.storage._reserved import Batch

logger = logging.getLogger("jaxhpo")


class BatchRecord:
    """What is recorded of one batch.

    Attributes:
        endings: of the trials that were recorded.
        num_failed: those that failed.
        seconds: time spent on writing.
    """

    def __init__(
        self,
        where: str,
        study: StudyCore,
        batch: Batch,
        how: dict[str, Any],
        size: int,
        deferred: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """Begins with nothing.

        Args:
            where: the public function, for errors.
            study: the study.
            batch: its trials.
            how: they are trained, for training one of them again.
            size: rows to pad a tell to.
            deferred: holds interrupts back while something is written.
        """
        self._where, self._study, self._batch = where, study, batch
        self._how, self._size, self._deferred = how, size, deferred
        # Trials that need not be written any more.
        self._is_written = batch.has_ended.copy()
        self._has_ended = np.zeros(len(batch.numbers), bool)
        self._counted_wait = self._began = 0.0
        self.endings: list[Ending] = []
        self.num_failed = 0
        self.seconds = 0.0

    def take(self, event: population.Progress) -> None:
        """Ends the trials that a scheduler has ended at a rung, all in one transaction.

        Those that go on are running until the end of the batch: nobody else may take them up.
        Trials that have come to their last step are written with the next rung, or at the end.
        """
        self._has_ended[event.new_trials] = True
        if not np.isnan(event.new_losses).any():
            return
        result = event.snapshot()
        if not (result.status[event.new_trials] == Status.PRUNED).any():
            return
        with self._deferred():
            endings = self._build(result, self._has_ended)
            try:
                self._count(self._study._sampler.end_some(endings))
            except (StorageError, KeyboardInterrupt) as error:
                if not self._study._store.has_spooled:
                    raise
                self._count(endings)  # they are in a file, from which they come into the storage
                if isinstance(error, KeyboardInterrupt):
                    raise
                logger.warning("study %r: the sweep goes on: %s", self._study.name, error)

    def end(self, result: population.Sweep) -> None:
        """Ends the trials that have ended, lets the others wait, and tells the sampler."""
        has_ended = ~np.isin(result.status, (Status.EMPTY, Status.RUNNING))
        endings = self._build(result, has_ended)
        how = (self._batch, endings, self._size, list(self.endings))
        self._count(self._study._sampler.end(*how))

    def _count(self, recorded: list[Ending]) -> None:
        self._study._on_trials_ended(recorded)
        self.endings += recorded
        self.num_failed += sum(ending.status is Status.FAILED for ending in recorded)
        self.seconds += time.perf_counter() - self._began

    def _build(self, result: population.Sweep, has_ended: np.ndarray) -> list[Ending]:
        """How trials have ended that nothing is written of yet."""
        self._began = time.perf_counter()
        done = np.flatnonzero(has_ended & ~self._is_written)
        self._is_written[done] = True
        endings = build_endings(
            self._where,
            self._study,
            [self._batch.trial_ids[i] for i in done],
            _values(result)[done],
            curves=result.curves[done],
            curve_steps=result.curve_steps,
            status=result.status[done],
            seconds=_seconds(result)[done],
        )
        waits = [result.wait_seconds - self._counted_wait, *(0.0 for _ in endings)]
        if endings:
            self._counted_wait = result.wait_seconds
        for i, ending, wait in zip(done, endings, waits, strict=False):
            is_pruned = ending.status is Status.PRUNED
            ending.system_attrs[SWEEP_ATTR] = {
                **self._how,
                "num_steps": int(result.steps[i]) if is_pruned else self._how["num_steps"],
                "width": int(result.width[i]),
                **({COMPILE_ENTRY: wait} if wait else {}),
            }
            if result.lineage is not None:
                schedule = _schedule(self._study, self._batch, result.lineage, int(i))
                ending.user_attrs[SCHEDULE_ATTR] = schedule
        return endings


def _schedule(
    study: StudyCore, batch: Batch, lineage: population.Lineage, trial: int
) -> list[dict[str, Any]]:
    """What led to a trial's value: until which step which trial trained with which params."""
    who = lineage.ancestors(trial)
    params = study.space.decode(lineage.schedule(trial))
    pieces: list[dict[str, Any]] = []
    for step, one, values in zip(lineage.steps.tolist(), who.tolist(), params, strict=False):
        number, flat = int(batch.numbers[one]), study.space.flatten_params(values)
        if pieces and (pieces[-1]["trial"], pieces[-1]["params"]) == (number, flat):
            pieces.pop()
        pieces.append({"until": step, "trial": number, "params": flat})
    return pieces


def _values(result: population.Sweep) -> np.ndarray:
    """Final losses; of trials that ended early the last loss, as Optuna keeps it."""
    pruned = np.flatnonzero(result.status == Status.PRUNED)
    last = np.searchsorted(result.curve_steps, result.steps[pruned])
    values = result.losses.copy()
    values[pruned] = result.curves[pruned, last]
    return values


def _seconds(result: population.Sweep) -> np.ndarray:
    """The time of training `[n]`, shared out by the steps that each trial has taken."""
    spent = max(result.seconds - result.wait_seconds, 0.0)
    share = result.steps / max(int(result.steps.sum(dtype=np.int64)), 1)
    return np.asarray(spent * share)
