"""One piece of a trial: one call of its objective, and what it reports."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jaxhpo._status import Status
from jaxhpo.study._trial import Trial
from jaxhpo.study.storage._reports import CHECKPOINT, report
from jaxhpo.study.storage._reserved import own_attrs

if TYPE_CHECKING:
    from jaxhpo.study.reporting._packed import Packed
    from jaxhpo.study.storage._store import Store
    from jaxhpo.study.storage.files._checkpoints import Checkpoints


@dataclasses.dataclass
class Task:
    """A running trial of this process.

    Attributes:
        trial: the trial.
        trial_id: its identifier in the storage.
        named: further arguments of the objective: its checkpoint, where it takes one.
        step: reports so far.
        last: the last of them, or None.
        seconds: how long the trial had taken before.
        checkpoint: what the storage knows of its last checkpoint, or None.
        level: the step at which a rule judges it next.
        is_new: whether this run has begun it.
        attempt: names this attempt at it, if it can go on later; else None.
    """

    trial: Trial
    trial_id: int
    named: dict[str, Any] = dataclasses.field(default_factory=dict)
    step: int = 0
    last: float | None = None
    seconds: float = 0.0
    checkpoint: dict[str, Any] | None = None
    level: int = 0
    is_new: bool = True
    attempt: str | None = None


Judge = Callable[[Task], "Status | None"]
"""Says with which status a trial is to end, or wait, after what it has reported; None: go on."""


class Recorder:
    """Writes down what running trials report, and asks whether they go on.

    Attributes:
        num_steps: reports of a whole trial; None for any number.
    """

    def __init__(
        self,
        store: Store,
        checkpoints: Checkpoints,
        deferred: Callable[[], contextlib.AbstractContextManager[None]],
        num_steps: int | None,
        judge: Judge | None,
    ) -> None:
        """Takes up a study.

        Args:
            store: its rows.
            checkpoints: its checkpoints.
            deferred: holds back interrupts while something is written.
            num_steps: reports of a whole trial; None for any number.
            judge: what ends trials, or lets them wait; None for nothing.
        """
        self._store, self._checkpoints, self._deferred = store, checkpoints, deferred
        self.num_steps, self._judge = num_steps, judge

    def tell(
        self,
        task: Task,
        loss: float,
        checkpoint: str | Packed | None,
        step: int | None = None,
    ) -> Status | None:
        """Records a report.

        Args:
            task: the running trial.
            loss: finite.
            checkpoint: a path, arrays or None.
            step: of the report; None for the one after the last.

        Returns:
            The status to close it with, or None where it goes on.
        """
        with self._deferred():
            if self.num_steps is not None and task.step >= self.num_steps:
                return Status.COMPLETE
            step, before = task.step + 1 if step is None else step, task.checkpoint
            found = None
            if checkpoint is not None:
                found = self._checkpoints.save(task.trial.number, step, checkpoint, task.attempt)
            if not report(self._store, task.trial_id, step, loss, found, task.attempt):
                self._checkpoints.remove(found)
                return Status.FAILED
            task.step, task.last = step, loss
            if found is not None:
                task.checkpoint = found
                if before is not None and before != found:
                    self._checkpoints.remove(before)
            return None if self._judge is None else self._judge(task)

    def catch_up(self, task: Task) -> None:
        """Takes note of the checkpoint that another process has recorded for a running trial."""
        if "checkpoint" in task.named:
            found = own_attrs(self._store.trial(task.trial.number)).get(CHECKPOINT)
            task.checkpoint = found or task.checkpoint
