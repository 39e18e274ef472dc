"""What runs trials: the protocol of a pool, and that of the one worker that is this process."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol

from jaxhpo.study.reporting._tasks import Recorder, Task
from jaxhpo.study.running._evaluate import evaluate
from jaxhpo.study.running._interrupts import DeferredInterrupts
from jaxhpo.study.running._results import ObjectiveResult


class Pool(Protocol):
    """Runs a number of tasks at a time, its length."""

    def __len__(self) -> int: ...

    @property
    def num_busy(self) -> int:
        """How many tasks have begun and not ended."""

    def start(self, task: Task) -> None:
        """Takes a task; there must be room for it."""

    def wait(self) -> list[tuple[Task, ObjectiveResult]]:
        """Lets tasks get further, and gives those that have ended or are to wait."""

    def close(self) -> None:
        """Ends what still runs."""


Engine = Callable[[Recorder, DeferredInterrupts], Pool]
"""Makes the pool of one run: what it tells its reports to, and where an interrupt may come."""


class LocalPool:
    """Runs one task at a time where it is waited for; used as `WorkerPool` is."""

    def __init__(
        self,
        objective: Callable[..., Any],
        recorder: Recorder,
        interrupts: DeferredInterrupts,
        num_objectives: int,
    ) -> None:
        """Takes the objective; see `WorkerPool`."""
        self._objective, self._recorder = objective, recorder
        self._interrupts, self._num_objectives = interrupts, num_objectives
        self._tasks: list[Task] = []

    def __len__(self) -> int:
        return 1

    @property
    def num_busy(self) -> int:
        """How many tasks have begun and not ended."""
        return len(self._tasks)

    def start(self, task: Task) -> None:
        """Takes a task; it runs once it is waited for."""
        self._tasks.append(task)

    def wait(self) -> list[tuple[Task, ObjectiveResult]]:
        """Runs the task; an interrupt passes through it."""
        task = self._tasks.pop()
        tell = functools.partial(self._recorder.tell, task)
        with self._interrupts.allow():
            result = evaluate(
                self._objective,
                task.trial.params,
                self._num_objectives,
                tell,
                task.named,
                task.last,
            )
        return [(task, result)]

    def close(self) -> None:
        """Nothing runs between two calls."""
