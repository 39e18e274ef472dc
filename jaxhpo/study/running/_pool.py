"""What runs the trials of `Study.optimize`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from jaxhpo.study.reporting._tasks import Recorder, Task
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
