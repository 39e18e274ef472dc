"""Begins trials, takes up those that wait, and ends or pauses them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jaxhpo._status import Status
from jaxhpo.study._trial import from_frozen
from jaxhpo.study.reporting._tasks import Task
from jaxhpo.study.running._results import ObjectiveResult, raised
from jaxhpo.study.storage._errors import StorageError, StudyMismatchError
from jaxhpo.study.storage._owner import this_process
from jaxhpo.study.storage._reports import (
    CHECKPOINT,
    SECONDS,
    is_paused,
    new_attempt,
    pause,
    surrender,
)
from jaxhpo.study.storage._reserved import own_attrs
from jaxhpo.study.storage._rows import HEARTBEAT, RESUMABLE, SCHEDULE

if TYPE_CHECKING:
    from jaxhpo.study._core import StudyCore
    from jaxhpo.study._trial import Trial


class Source:
    """The trials of one run of a study.

    Attributes:
        is_resumable: whether the objective takes a checkpoint, so that its trials can wait.
        checkpoints: what its trials can go on from.
        heartbeat: how often, in seconds, this process promises a sign of life; None: not.
    """

    def __init__(self, study: StudyCore, is_resumable: bool) -> None:
        """Takes up a study."""
        self._study, self.is_resumable = study, is_resumable
        self.checkpoints = study._kept_checkpoints
        self.heartbeat: float | None = None

    def take(self, count: int, num_new: int) -> list[Task]:
        """Trials to run without a scheduler: those that an interrupted run has left, then new ones.

        Args:
            count: how many.
            num_new: how many may be new.
        """
        resumed: list[Task] = []
        while self.has_left and len(resumed) < count:
            if (task := self.resume(self._left.pop(0))) is not None:
                resumed.append(task)
        num_new = min(num_new, count - len(resumed))
        return resumed + (self.begin(num_new, {}) if num_new else [])

    def begin(self, count: int, attrs: dict[str, Any]) -> list[Task]:
        """Begins trials.

        Args:
            count: how many.
            attrs: entries among jaxhpo's own attributes.

        Returns:
            The trials; fewer than `count` only if the sampler has no further point.
        """
        attempt = new_attempt() if self.is_resumable else None
        own = attrs if attempt is None else {**attrs, RESUMABLE: attempt}
        own = own if self.heartbeat is None else {**own, HEARTBEAT: self.heartbeat}
        trials = self._study._sampler.ask(count, owner=this_process(), attrs=own)
        named = {"checkpoint": None} if self.is_resumable else {}
        running = self._study._sampler.trial_id
        return [
            Task(trial, running(trial.number), dict(named), attempt=attempt) for trial in trials
        ]

    def resume(self, number: int) -> Task | None:
        """Takes up a trial that waits; None if another process has done so."""
        study = self._study
        frozen = study._store.trial(number)
        trial = from_frozen(study.space, frozen)
        if self.heartbeat is not None:  # its last sign of life is as old as its pause
            study._store.beat([frozen._trial_id])
        attempt = new_attempt()
        attrs = {"owner": this_process(), HEARTBEAT: self.heartbeat, RESUMABLE: attempt}
        if not study._sampler.resume(trial, frozen._trial_id, attrs):
            return None
        trial = dataclasses.replace(trial, status=Status.RUNNING, seconds=None)
        own = own_attrs(frozen)
        found = own.get(CHECKPOINT)
        step = 0 if found is None else int(found["step"])
        return Task(
            trial,
            frozen._trial_id,
            {"checkpoint": None},
            step,
            trial.curve.get(step),
            float(own.get(SECONDS, 0.0)),
            found,
            is_new=False,
            attempt=attempt,
        )

    def load(self, task: Task) -> ObjectiveResult | None:
        """Reads the checkpoint that a trial goes on from; what it has failed with if that fails."""
        if task.checkpoint is None:
            return None
        try:
            task.named = {"checkpoint": self.checkpoints.load(task.checkpoint)}
        except (StorageError, StudyMismatchError) as error:
            return raised(error, task.trial.params)
        return None

    def end(self, tasks: Sequence[Task], results: Sequence[ObjectiveResult]) -> list[Trial]:
        """Ends trials, or lets those wait whose result says so.

        Returns:
            The trials that have ended.
        """
        ended: list[tuple[Trial, ObjectiveResult]] = []
        for task, result in zip(tasks, results, strict=True):
            total = result
            if task.seconds:
                total = dataclasses.replace(result, seconds=result.seconds + task.seconds)
            if result.status is Status.WAITING:
                pause(self._study._store, task.trial_id, total.seconds, task.attempt)
                self._study._sampler.paused(task.trial)
            else:
                ended.append((task.trial, total))
        if not ended:
            return []
        told = self._study._sampler.tell(*(list(part) for part in zip(*ended, strict=True)))
        numbers = {trial.number for trial in told}
        for task, result in zip(tasks, results, strict=True):
            # One that another process has taken up goes on from it.
            is_over = task.attempt is None or task.trial.number in numbers
            if result.status is not Status.WAITING and is_over:
                self.checkpoints.remove(task.checkpoint)
        return told

    def prune(self, numbers: Sequence[int]) -> list[Trial]:
        """Ends trials that wait as pruned, with their last loss as their value.

        Args:
            numbers: the trials.

        Returns:
            Those that have ended; others were taken up, or ended, by another process.
        """
        tasks = [task for number in numbers if (task := self.resume(number)) is not None]
        curves = [task.trial.curve for task in tasks]
        last = [curve[max(curve)] if curve else None for curve in curves]
        return self.end(tasks, [ObjectiveResult(Status.PRUNED, value) for value in last])

    def drop(self, task: Task) -> None:
        """Lets a trial wait that has just begun, for whoever begins the next one."""
        surrender(self._study._store, task.trial_id)
        self._study._sampler.paused(task.trial, is_new=True)

    @property
    def has_left(self) -> bool:
        """Whether trials wait that an interrupted run without a scheduler has left."""
        return self.is_resumable and bool(self._left)

    @functools.cached_property
    def _left(self) -> list[int]:
        """The numbers of such trials, as they were when they were first looked for."""
        return [
            frozen.number
            for frozen in self._study._store.history()
            if is_paused(frozen) and SCHEDULE not in own_attrs(frozen)
        ]
