"""Worker processes that evaluate an objective; always spawned, never forked.

A forked child of a process that runs JAX threads can hang, so each worker is a fresh interpreter.
The parent asks and tells; a worker only calls the objective. A worker that dies takes down its own
trial and nothing else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

from jaxhpo._checks import describe
from jaxhpo._status import Status
from jaxhpo.study.running._evaluate import ObjectiveResult, evaluate
from jaxhpo.study.running._modules import ModuleLocation, ensure_imported, locate_module

_SAFE_PATH = "PYTHONSAFEPATH"

_DIED = (
    "the worker process ended while it ran this trial (exit code {code}). Likely causes: it ran "
    "out of memory, the objective called os._exit, or the script starts the study outside of "
    "`if __name__ == '__main__':`."
)


class WorkerPool:
    """A fixed number of processes, each holding the objective."""

    def __init__(
        self, objective: Callable[[Any], Any], num_workers: int, num_objectives: int = 1
    ) -> None:
        """Starts the processes.

        Args:
            objective: the user's function; it must be picklable.
            num_workers: how many processes.
            num_objectives: values that the objective must return.

        Raises:
            TypeError: the objective cannot be pickled.
        """
        self._payload = pickle_objective(objective, num_workers)
        self._location = locate_module(objective)
        self._num_objectives = num_objectives
        self._workers: list[_Worker | None] = [None] * num_workers

    def __len__(self) -> int:
        return len(self._workers)

    def evaluate(self, batch: Sequence[Any]) -> list[ObjectiveResult]:
        """Evaluates at most one params per worker.

        Args:
            batch: the params, no more than there are workers.

        Returns:
            One result per params, in order.
        """
        started = []
        for index, params in enumerate(batch):
            worker = self._workers[index]
            if worker is None:
                worker = self._workers[index] = _Worker(
                    self._payload, self._num_objectives, self._location
                )
            worker.send(params)
            started.append(worker)
        results = []
        for index, worker in enumerate(started):
            result = worker.receive()
            if result is None:
                code = worker.stop(patience=5.0)
                self._workers[index] = None
                reason = _DIED.format(code=code)
                result = ObjectiveResult(Status.FAILED, reason=reason, error_kind=reason)
            results.append(result)
        return results

    def close(self) -> None:
        """Ends all workers, whatever they are doing."""
        for worker in self._workers:
            if worker is not None:
                worker.stop()
        self._workers = [None] * len(self._workers)


class _Worker:
    def __init__(
        self, payload: bytes, num_objectives: int, location: ModuleLocation | None
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, child = context.Pipe()
        # Not a daemon: an objective may start processes of its own.
        is_safe = _SAFE_PATH in os.environ
        arguments = (child, payload, num_objectives, location, is_safe)
        self._process = context.Process(target=_worker_main, args=arguments)
        with _safe_path():
            self._process.start()
        child.close()

    def send(self, params: Any) -> None:
        try:
            message = pickle.dumps(params)
        except Exception as error:
            raise TypeError(
                "Study.optimize: `space` must decode to picklable params where num_workers is "
                f"above 1, got {describe(params)}: {error}"
            ) from error
        # If the process is dead, receive() finds out.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._connection.send_bytes(message)

    def receive(self) -> ObjectiveResult | None:
        try:
            result: ObjectiveResult = self._connection.recv()
            return result
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
        self._connection.close()
        return self._process.exitcode


@contextlib.contextmanager
def _safe_path() -> Iterator[None]:
    """Lets an interpreter that starts meanwhile leave the working folder off its module path.

    It would come first there, and a `random.py` in it before Python's own. The worker gets the
    path of this process as soon as it runs.
    """
    before = os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_SAFE_PATH, None)
        else:
            os.environ[_SAFE_PATH] = before


def _worker_main(
    connection: Connection,
    payload: bytes,
    num_objectives: int,
    location: ModuleLocation | None,
    is_safe: bool,
) -> None:
    """Main loop of a worker: unpickles the objective, then receives params and sends results."""
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
    while True:
        try:
            params = pickle.loads(connection.recv_bytes())
        except (EOFError, OSError):
            return
        connection.send(failure or _picklable(evaluate(objective, params, num_objectives)))


def _picklable(result: ObjectiveResult) -> ObjectiveResult:
    """The result with an exception that can be pickled, or a RuntimeError in its place."""
    if result.exception is None:
        return result
    try:
        pickle.loads(pickle.dumps(result.exception))
    except Exception:
        return dataclasses.replace(result, exception=RuntimeError(result.reason))
    return result


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
