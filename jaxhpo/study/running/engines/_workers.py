"""Worker processes that evaluate an objective; always spawned, never forked.

A forked child of a process that runs JAX threads can hang, so each worker is a fresh interpreter.
The parent asks, tells and decides; a worker only calls the objective. A worker that dies takes down
its own trial and nothing else.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
from collections.abc import Callable, Generator, Iterator
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

from jaxhpo._checks import describe
from jaxhpo._status import Status
from jaxhpo.study.reporting._tasks import Recorder, Task
from jaxhpo.study.running._evaluate import evaluate
from jaxhpo.study.running._interrupts import DeferredInterrupts
from jaxhpo.study.running._modules import ModuleLocation, ensure_imported, locate_module
from jaxhpo.study.running._results import WORKER_ENDED, ObjectiveResult, picklable
from jaxhpo.study.running.engines._devices import environment_of

_SAFE_PATH = "PYTHONSAFEPATH"

_DIED = "the worker process ended while it ran this trial (exit code {code}). " + WORKER_ENDED


class WorkerPool:
    """A fixed number of processes, each holding the objective."""

    def __init__(
        self,
        objective: Callable[..., Any],
        num_workers: int,
        recorder: Recorder,
        interrupts: DeferredInterrupts,
        num_objectives: int = 1,
    ) -> None:
        """Takes the objective; a process starts with its first task.

        Args:
            objective: the user's function; it must be picklable.
            num_workers: how many processes.
            recorder: takes what the objective reports.
            interrupts: may come while this process waits.
            num_objectives: values that the objective must return.

        Raises:
            TypeError: the objective cannot be pickled.
        """
        self._payload = pickle_objective(objective, num_workers)
        self._location = locate_module(objective)
        self._recorder, self._interrupts = recorder, interrupts
        self._num_objectives = num_objectives
        self._workers: list[_Worker | None] = [None] * num_workers
        self._tasks: dict[int, Task] = {}

    def __len__(self) -> int:
        return len(self._workers)

    @property
    def num_busy(self) -> int:
        """How many tasks have begun and not ended."""
        return len(self._tasks)

    def start(self, task: Task) -> None:
        """Gives a task to a worker that has none; there must be one."""
        index = next(i for i in range(len(self)) if i not in self._tasks)
        worker = self._workers[index]
        if worker is None:
            parts = (self._payload, self._num_objectives, self._location)
            worker = _Worker(*parts, environment_of(index))
            self._workers[index] = worker
        worker.send((task.trial.params, task.named, task.last))
        self._tasks[index] = task

    def wait(self) -> list[tuple[Task, ObjectiveResult]]:
        """Waits until a task has ended, and answers what others report in the meantime.

        Returns:
            The tasks that have ended, with their results.
        """
        ended: list[tuple[Task, ObjectiveResult]] = []
        while not ended:
            busy = {worker.connection: i for i in self._tasks if (worker := self._workers[i])}
            with self._interrupts.allow():
                ready = multiprocessing.connection.wait(list(busy))
            for index in sorted(busy[one] for one in ready):  # type: ignore[index]
                result = self._hear(index)
                if result is not None:
                    ended.append((self._tasks.pop(index), result))
        return ended

    def _hear(self, index: int) -> ObjectiveResult | None:
        """Takes one message of a worker: a report, which it answers, or a result."""
        worker = self._workers[index]
        assert worker is not None
        message = worker.receive()
        if isinstance(message, ObjectiveResult):
            return message
        if message is not None:
            worker.answer(self._recorder.tell(self._tasks[index], *message))
            return None
        code = worker.stop(patience=5.0)
        self._workers[index] = None
        reason = _DIED.format(code=code)
        return ObjectiveResult(Status.FAILED, reason=reason, error_kind=reason, is_lost=True)

    def close(self) -> None:
        """Ends all workers, whatever they are doing."""
        for worker in self._workers:
            if worker is not None:
                worker.stop()
        self._workers, self._tasks = [None] * len(self._workers), {}


class _Worker:
    def __init__(
        self,
        payload: bytes,
        num_objectives: int,
        location: ModuleLocation | None,
        environment: dict[str, str],
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, child = context.Pipe()
        # Not a daemon: an objective may start processes of its own.
        is_safe = _SAFE_PATH in os.environ
        arguments = (child, payload, num_objectives, location, is_safe)
        self._process = context.Process(target=_worker_main, args=arguments)
        # The working folder would come first on the module path of an interpreter that starts, and
        # a `random.py` in it before Python's own. The worker gets the path of this process.
        with _environment({_SAFE_PATH: "1", **environment}):
            self._process.start()
        child.close()

    def send(self, task: tuple[Any, dict[str, Any], float | None]) -> None:
        try:
            message = pickle.dumps(task)
        except Exception as error:
            raise TypeError(
                "Study.optimize: `space` must decode to picklable params where num_workers is "
                f"above 1, got {describe(task[0])}: {error}"
            ) from error
        # If the process is dead, receive() finds out.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send_bytes(message)

    def answer(self, status: Status | None) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(status)

    def receive(self) -> Any:
        """An `ObjectiveResult`, or loss and checkpoint of a report; None if the process is dead."""
        try:
            return self.connection.recv()
        except (EOFError, ConnectionResetError):
            return None

    def stop(self, patience: float = 0.0) -> int | None:
        """Ends the process, by force after `patience` seconds; returns its exit code."""
        self._process.join(patience)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self.connection.close()
        return self._process.exitcode


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Variables for a process that starts meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _worker_main(
    connection: Connection,
    payload: bytes,
    num_objectives: int,
    location: ModuleLocation | None,
    is_safe: bool,
) -> None:
    """Main loop of a worker: unpickles the objective, then receives tasks and sends results."""
    if not is_safe:  # what the objective starts is not our matter
        os.environ.pop(_SAFE_PATH, None)
    # Ctrl-C reaches the whole process group; the parent decides what happens then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    failure: ObjectiveResult | None = None
    try:
        ensure_imported(location)
        objective = pickle.loads(payload)
    except Exception as exception:
        failure = ObjectiveResult(
            Status.FAILED,
            reason=(
                "the worker process could not load `objective` "
                f"({type(exception).__name__}: {exception}). Define it at the top level of a "
                "module that can be imported."
            ),
            is_misuse=True,
        )

    def call(params: Any, **named: Any) -> Any:
        returned = objective(params, **named)
        if isinstance(returned, Generator):  # whoever ends this process lets it clean up
            signal.signal(signal.SIGTERM, _leave)
        return returned

    def tell(loss: float, checkpoint: Any) -> Status | None:
        connection.send((loss, checkpoint))
        status: Status | None = connection.recv()
        return status

    while True:
        try:
            params, named, last = pickle.loads(connection.recv_bytes())
            result = failure or evaluate(call, params, num_objectives, tell, named, last)
        except (EOFError, OSError):  # nobody listens any more
            return
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        connection.send(picklable(result))


def _leave(number: int, frame: FrameType | None) -> None:
    """Ends a worker as an exception does, so that a generator's `finally` runs."""
    del frame
    raise SystemExit(128 + number)


def pickle_objective(objective: Callable[[Any], Any], num_workers: int) -> bytes:
    """Pickles the objective for the workers.

    Raises:
        TypeError: it cannot be pickled; the message says what can.
    """
    try:
        return pickle.dumps(objective)
    except Exception as error:
        raise TypeError(
            f"Study.optimize: `objective` must be picklable to run in num_workers={num_workers} "
            f"processes (a function at the top level of a module, or an instance of a class "
            f"there), got {describe(objective)}: {error}"
        ) from error
