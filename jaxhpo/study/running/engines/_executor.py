"""Runs trials on any `concurrent.futures.Executor`: threads, processes, or a cluster's."""

from __future__ import annotations

import concurrent.futures
import pickle
import queue
from collections.abc import Callable
from typing import Any, NamedTuple

from jaxhpo._checks import describe
from jaxhpo._status import Status
from jaxhpo.study.reporting._tasks import Recorder, Task
from jaxhpo.study.running._evaluate import evaluate
from jaxhpo.study.running._interrupts import DeferredInterrupts
from jaxhpo.study.running._results import WORKER_ENDED, ObjectiveResult
from jaxhpo.study.running.engines._elsewhere import Address, Reported, call_elsewhere
from jaxhpo.study.storage._errors import StorageError

# How long an interrupt may stay unseen: a queue that is waited for without end hides it.
_TICK_SECONDS = 0.2


class _Said(NamedTuple):
    """A report of a thread, which waits for the answer."""

    task: Task
    loss: float
    checkpoint: Any
    answer: queue.SimpleQueue[Any]


class ExecutorPool:
    """As many trials at a time as there are workers, on an executor that stays the user's."""

    def __init__(
        self,
        executor: Any,
        objective: Callable[..., Any],
        num_workers: int,
        recorder: Recorder,
        interrupts: DeferredInterrupts,
        num_objectives: int = 1,
        make: Callable[[], Any] | None = None,
        address: Address | None = None,
    ) -> None:
        """Takes the objective; nothing is started yet.

        Args:
            executor: a `concurrent.futures.Executor`.
            objective: the user's function.
            num_workers: trials at a time.
            recorder: takes what the objective reports.
            interrupts: may come while this process waits.
            num_objectives: values that the objective must return.
            make: makes an executor in place of one that is broken, or None.
            address: where workers of other processes record what they report; None: nowhere.
        """
        self._address = address
        self._executor, self._make = executor, make
        self._objective, self._num_workers = objective, num_workers
        self._recorder, self._interrupts = recorder, interrupts
        self._num_objectives = num_objectives
        self._tasks: dict[concurrent.futures.Future[Any], Task] = {}
        self._news: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._is_closed = False

    def __len__(self) -> int:
        return self._num_workers

    @property
    def num_busy(self) -> int:
        """How many tasks have begun and not ended."""
        return len(self._tasks)

    def start(self, task: Task) -> None:
        """Submits a task.

        Raises:
            RuntimeError: the executor takes none: it is shut down, or broken for good.
        """
        try:
            future = self._submit(task)
        except concurrent.futures.BrokenExecutor as error:
            if self._make is None:
                error.add_note(
                    f"Study.optimize: a worker of `executor` has ended. {WORKER_ENDED} Given a "
                    "function that makes an executor, the run makes another one and goes on."
                )
                raise
            self._executor = self._make()
            future = self._submit(task)
        self._tasks[future] = task
        future.add_done_callback(self._news.put)

    def wait(self) -> list[tuple[Task, ObjectiveResult]]:
        """Waits until a task has ended, and answers what others report in the meantime."""
        ended: list[tuple[Task, ObjectiveResult]] = []
        while not ended or not self._news.empty():
            with self._interrupts.allow():
                news = self._next()
            if isinstance(news, _Said):
                news.answer.put(self._recorder.tell(news.task, news.loss, news.checkpoint))
            elif news is not None:
                task = self._tasks.pop(news)
                ended.append((task, self._result(task, news)))
        return ended

    def close(self) -> None:
        """Takes back what has not begun; what runs is left to the executor, and told to end."""
        self._is_closed = True
        for future in self._tasks:
            future.cancel()
        self._tasks = {}

    def _submit(self, task: Task) -> concurrent.futures.Future[Any]:
        if isinstance(self._executor, concurrent.futures.ThreadPoolExecutor):
            return self._executor.submit(self._call_here, task)
        most = self._recorder.num_steps
        most = None if most is None else most - task.step
        what = (self._objective, task, self._num_objectives, most, self._address)
        return self._executor.submit(call_elsewhere, *what)

    def _next(self) -> Any:
        try:
            return self._news.get(timeout=_TICK_SECONDS)
        except queue.Empty:
            return None

    def _call_here(self, task: Task) -> Reported:
        """What a thread of this process does: the run answers its reports."""

        def tell(loss: float, checkpoint: Any) -> Status | None:
            answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
            self._news.put(_Said(task, loss, checkpoint, answer))
            while True:
                try:
                    status: Status | None = answer.get(timeout=_TICK_SECONDS)
                except queue.Empty:
                    if self._is_closed:  # nobody answers any more
                        return Status.FAILED
                else:
                    return status

        what = (self._objective, task.trial.params, self._num_objectives)
        return Reported(evaluate(*what, tell, task.named, task.last), [])

    def _result(self, task: Task, future: concurrent.futures.Future[Any]) -> ObjectiveResult:
        """What came of a task, once its reports are recorded."""
        if future.cancelled():
            return _lost("the executor has cancelled it")
        error = future.exception()
        if isinstance(error, pickle.PicklingError | AttributeError | TypeError):
            raise TypeError(
                "Study.optimize: `objective` must be one that `executor` can send to its workers, "
                f"got {describe(self._objective)}: {error}"
            ) from error
        if isinstance(error, StorageError):  # of a worker that records what it reports
            raise error
        if error is not None:
            self._recorder.catch_up(task)
            is_broken = isinstance(error, concurrent.futures.BrokenExecutor)
            return _lost(f"{type(error).__name__}: {error}", WORKER_ENDED if is_broken else "")
        found: Reported = future.result()
        if found.step is not None:
            task.step, task.checkpoint = found.step, found.checkpoint
        for loss, checkpoint in found.reports:
            if self._recorder.tell(task, loss, checkpoint) is not None:
                reason = "another process has ended the trial"
                return ObjectiveResult(Status.FAILED, reason=reason)
        return found.result


def _lost(why: str, hint: str = "") -> ObjectiveResult:
    reason = f"the worker was lost while it ran this trial ({why}). {hint}".rstrip(" .")
    return ObjectiveResult(Status.FAILED, reason=reason, error_kind=reason, is_lost=True)
