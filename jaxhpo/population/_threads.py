"""The host side of a sweep: threads that call one compiled program, and the messages they send.

The work advances in calls of a known number of steps. Between two calls a worker reports and looks
whether it should stop, so a sweep can be watched, interrupted and limited in time.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxhpo.population._compile import Program, Settings, fresh_carry
from jaxhpo.population._groups import Group
from jaxhpo.population._kernel import Best, Lanes
from jaxhpo.population._layout import Plan, workers_for
from jaxhpo.population._trace import uses_x64


class Report(NamedTuple):
    """Losses of some trials at one report step.

    Attributes:
        trials: `[k]` trial numbers.
        losses: `[k]`, NaN where a trial has failed.
        report: position in the report steps.
        states: state leaves `[k, ...]` at the last report if they are kept, else None.
    """

    trials: np.ndarray
    losses: np.ndarray
    report: int
    states: list[np.ndarray] | None


class Finished(NamedTuple):
    """A worker's last message: the best trials it has seen, one per device."""

    best: Best | None


class Crashed(NamedTuple):
    """A worker's last message after an exception."""

    error: BaseException


class Busy(NamedTuple):
    """How many cores the first call kept busy by itself."""

    cores: float


class Workers:
    """The threads that run one group's chunks; iterate over `messages`."""

    def __init__(self, program: Program, settings: Settings, group: Group, keep: bool) -> None:
        self.program, self.settings, self.group, self.keep = program, settings, group, keep
        self.busy_cores: float | None = None
        self.num_workers = program.plan.num_workers
        self._chunks = iter(_chunks(program.plan, len(group.trials)))
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._x64 = uses_x64()
        self._shared = jax.device_put((program.traced.consts, settings.key), program.whole)

    def stop(self) -> None:
        """Lets every worker end after the call it is in."""
        self._stop.set()

    def messages(self, wait: float | None = None) -> Iterator[Report | Finished | None]:
        """Yields reports as they come, and None whenever `wait` seconds pass without any."""
        self._start(1)
        running = 1
        while running:
            try:
                message = self._queue.get(timeout=wait)
            except queue.Empty:
                yield None
                continue
            if isinstance(message, Busy):
                self.busy_cores = message.cores
                self.num_workers = workers_for(self.program.plan, message.cores)
                self._start(self.num_workers - 1)
                running += self.num_workers - 1
                continue
            if isinstance(message, Crashed):
                self.stop()
                raise message.error
            running -= isinstance(message, Finished)
            yield message

    def leftovers(self) -> Iterator[Report | Finished]:
        """Yields what the workers had sent when the reader stopped listening."""
        while True:
            try:
                message = self._queue.get_nowait()
            except queue.Empty:
                return
            if isinstance(message, Report | Finished):
                yield message

    def join(self) -> None:
        """Waits for the threads; call `stop` first to end them early."""
        for thread in self._threads:
            thread.join()

    def _start(self, count: int) -> None:
        for _ in range(count):
            thread = threading.Thread(target=self._work, args=(not self._threads,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self, is_first: bool) -> None:
        try:
            # The switch is local to a thread; the program was traced under the caller's.
            with jax.enable_x64(self._x64):
                self._queue.put(Finished(self._run_chunks(is_first)))
        except BaseException as error:
            self._queue.put(Crashed(error))

    def _run_chunks(self, is_first: bool) -> Best | None:
        carry = None
        while not self._stop.is_set():
            with self._lock:
                rows = next(self._chunks, None)
            if rows is None:
                break
            carry = fresh_carry(self.program) if carry is None else carry
            wall, cpu = time.perf_counter(), time.process_time()
            carry = self._run_chunk(rows, carry)
            if is_first and self.program.plan.num_workers > 1:
                wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
                self._queue.put(Busy(cpu / max(wall, 1e-9)))
            is_first = False
        return None if carry is None else jax.tree.map(np.asarray, carry.best)

    def _run_chunk(self, rows: np.ndarray, carry: Any) -> Any:
        """Runs some trials from their first step to their last."""
        plan, start = self.program.plan, 0
        place = _places(plan)[: len(rows)]
        lanes = jax.device_put(self._lanes(plan, place, rows), self.program.split)
        for report, stop in enumerate(self.settings.steps):
            loss, carry = self.program.call(
                *self._shared, lanes, carry, np.int32(start), np.int32(stop)
            )
            losses = np.asarray(loss).reshape(-1)[place]
            is_last = stop == self.settings.steps[-1]
            states = self._take(carry.state, place) if self.keep and is_last else None
            self._queue.put(Report(self.group.trials[rows], losses, report, states))
            start = stop
            if self._stop.is_set():
                break
        return carry

    def _lanes(self, plan: Plan, place: np.ndarray, rows: np.ndarray) -> Lanes:
        """Lays trials out over lanes; the lanes left over repeat the first trial, numbered -1."""
        shape = (plan.groups * plan.num_devices, plan.width)
        trial = np.full(plan.chunk, -1, np.int32)
        trial[place] = self.group.trials[rows]
        source = np.full(plan.chunk, rows[0])
        source[place] = rows
        leaves = tuple(a[source].reshape(shape + a.shape[1:]) for a in self.group.leaves)
        draw = self.settings.draws[self.group.trials[source]].reshape(shape)
        return Lanes(trial.reshape(shape), draw, leaves)

    def _take(self, leaves: Any, place: np.ndarray) -> list[np.ndarray]:
        """Copies trials' states to the host, before the next call reuses the buffers."""
        return [
            np.asarray(a).reshape((math.prod(a.shape[:2]), *a.shape[2:]))[place] for a in leaves
        ]


def _chunks(plan: Plan, num_trials: int) -> Iterator[np.ndarray]:
    """Splits trials into calls of nearly equal size, after one small call that is measured."""
    start = 0
    if plan.num_workers > 1:
        start = min(num_trials, plan.width * plan.num_devices)
        yield np.arange(start)
    left = num_trials - start
    if left > 0:
        count = -(-left // plan.chunk)
        count = min(left, -(-count // plan.num_workers) * plan.num_workers)
        yield from np.array_split(np.arange(start, num_trials), count)


def _places(plan: Plan) -> np.ndarray:
    """Lists lane positions in the order they are filled: devices in turn, a group at a time."""
    grid = np.arange(plan.chunk).reshape(plan.num_devices, plan.groups, plan.width)
    return grid.transpose(1, 0, 2).reshape(-1)
