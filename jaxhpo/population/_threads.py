"""The host side of a sweep: threads that call one compiled program, and the messages they send.

The work advances in calls of a known number of steps. Between two calls a worker reports and looks
whether it should stop, so a sweep can be watched, interrupted and limited in time.
"""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxhpo.population._compile import Program, Settings, fresh_carry
from jaxhpo.population._groups import Group
from jaxhpo.population._kernel import Best, Carry, Lanes
from jaxhpo.population._layout import Plan, workers_for
from jaxhpo.population._states import DeviceStates, HostStates, take_lanes
from jaxhpo.population._trace import uses_x64
from jaxhpo.population.checkpoints._arrays import Arrays


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


class Slopes(NamedTuple):
    """Derivatives of the loss that some trials will have reached.

    Attributes:
        trials: `[k]` trial numbers.
        along: `[k, s]` by each coordinate, with the state at the start of the part held fixed.
    """

    trials: np.ndarray
    along: np.ndarray


class Part(NamedTuple):
    """A part of a group's work.

    Attributes:
        rows: `[k]` places in the group of the trials to go on with.
        reports: the report steps to go through, as places in the settings' `steps`; trials that
            begin later than at 0 stand at the one before.
        directions: of the group's real hyperparameters, one array `[g, s, ...]` a leaf: those along
            which the loss at the end is differentiated; None: it is not.
    """

    rows: np.ndarray
    reports: range
    directions: list[np.ndarray] | None = None


class Finished(NamedTuple):
    """A worker's last message."""


class Crashed(NamedTuple):
    """A worker's last message after an exception."""

    error: BaseException


class Busy(NamedTuple):
    """How many cores the first call kept busy by itself."""

    cores: float


class Workers:
    """The threads that run one group's chunks; iterate over `messages`.

    Attributes:
        states: where states wait between parts of the work; None: there is one part.
    """

    def __init__(
        self,
        program: Program,
        settings: Settings,
        group: Group,
        keep: bool,
        states: HostStates | DeviceStates | None = None,
    ) -> None:
        self.program, self.settings, self.group, self.keep = program, settings, group, keep
        self.states = states
        self.busy_cores: float | None = None
        self.num_workers = program.plan.num_workers
        self._part = Part(np.arange(len(group.trials)), range(len(settings.steps)))
        self._chunks: Iterator[np.ndarray] = iter(())
        self._carries: list[Carry] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._x64 = uses_x64()
        self._shared = jax.device_put((program.traced.consts, settings.key), program.whole)

    def stop(self) -> None:
        """Lets every worker end after the call it is in."""
        self._stop.set()

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    def bests(self) -> list[Best]:
        """The best finished trials that each worker has seen, one per device; after `join`."""
        return [jax.tree.map(np.asarray, carry.best) for carry in self._carries]

    def spill(self) -> None:
        """Moves the states to the host, where those of any trial can be taken up."""
        if isinstance(self.states, DeviceStates):
            self.states = self.states.spill(self._carries[0])

    def pick(self, rows: np.ndarray) -> Arrays:
        """The states of those of `rows` that have one, as arrays of a checkpoint."""
        assert self.states is not None
        if isinstance(self.states, HostStates):
            return self.states.pick(rows)
        rows = np.intersect1d(rows, self.states.rows)
        if not len(rows):
            return HostStates(self.program, len(self.group.trials)).pick(rows)
        return self.states.spill(self._carries[0]).pick(rows)

    def put(self, found: Arrays) -> None:
        """Takes up what `pick` gave, before any part of the work."""
        on_host = isinstance(self.states, HostStates)
        host = self.states if on_host else HostStates(self.program, len(self.group.trials))
        assert isinstance(host, HostStates)
        host.put(found)
        if isinstance(self.states, DeviceStates) and len(rows := found["rows"]):
            place = _places(self.program.plan)[: len(rows)]
            carry = host.load(fresh_carry(self.program), rows, place)
            self.states.save(carry, rows, place)
            self._carries.append(carry)

    def messages(
        self, wait: float | None = None, part: Part | None = None
    ) -> Iterator[Report | Slopes | Finished | None]:
        """Yields reports as they come, and None whenever `wait` seconds pass without any.

        Args:
            wait: seconds, or None to wait for ever.
            part: what to run; all trials from the first step to the last if None.
        """
        self._part = self._part if part is None else part
        self._chunks = self._cut(self._part.rows)
        self._threads = []
        # The first call is measured alone, and then says how many more workers pay.
        running = 1 if self.busy_cores is None else self.num_workers
        self._start(running)
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

    def leftovers(self) -> Iterator[Report | Slopes]:
        """Yields the reports that the workers had sent when the reader stopped listening."""
        while True:
            try:
                message = self._queue.get_nowait()
            except queue.Empty:
                return
            if isinstance(message, Report | Slopes):
                yield message

    def join(self) -> None:
        """Waits for the threads; call `stop` first to end them early."""
        for thread in self._threads:
            thread.join()

    def _cut(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Splits trials into calls."""
        is_measured = self.num_workers > 1 and self.busy_cores is None
        plan = dataclasses.replace(self.program.plan, num_workers=self.num_workers)
        if self.states is None:
            return _chunks(plan, rows)
        return _lots(plan, rows, is_measured)

    def _start(self, count: int) -> None:
        for _ in range(count):
            thread = threading.Thread(target=self._work, args=(not self._threads,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self, is_first: bool) -> None:
        try:
            # The switch is local to a thread; the program was traced under the caller's.
            with jax.enable_x64(self._x64):
                self._run_chunks(is_first and self.busy_cores is None)
                self._queue.put(Finished())
        except BaseException as error:
            self._queue.put(Crashed(error))

    def _run_chunks(self, is_first: bool) -> None:
        carry = None
        while not self._stop.is_set():
            with self._lock:
                rows = next(self._chunks, None)
            if rows is None:
                break
            carry = self._free_carry() if carry is None else carry
            wall, cpu = time.perf_counter(), time.process_time()
            carry = self._run_chunk(rows, carry)
            if is_first and self.program.plan.num_workers > 1:
                wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
                self._queue.put(Busy(cpu / max(wall, 1e-9)))
            is_first = False
        if carry is not None:
            self._carries.append(carry)

    def _free_carry(self) -> Carry:
        """A carry that no thread uses, or a new one."""
        with self._lock:
            carry = self._carries.pop() if self._carries else None
        return fresh_carry(self.program) if carry is None else carry

    def _run_chunk(self, rows: np.ndarray, carry: Carry) -> Carry:
        """Runs some trials through the part's steps."""
        plan, steps, reports = self.program.plan, self.settings.steps, self._part.reports
        start = steps[reports.start - 1] if reports.start else 0
        place = _places(plan)[: len(rows)]
        lanes = jax.device_put(self._lanes(plan, place, rows), self.program.split)
        if self.states is not None and start:
            carry = self.states.load(carry, rows, place)
        if (directions := self._part.directions) is not None:
            along = [_spread(plan, place, rows, leaf) for leaf in directions]
            along = jax.device_put(along, self.program.split)
            end = np.int32(steps[reports[-1]])
            found = self.program.slopes(*self._shared, (lanes, along), carry, np.int32(start), end)
            found = np.asarray(found).reshape(-1, found.shape[-1])[place]
            self._queue.put(Slopes(self.group.trials[rows], found))
        for report in reports:
            stop = steps[report]
            loss, carry = self.program.call(
                *self._shared, lanes, carry, np.int32(start), np.int32(stop)
            )
            losses = np.asarray(loss).reshape(-1)[place]
            is_last = stop == steps[-1]
            states = take_lanes(carry.state, place) if self.keep and is_last else None
            self._queue.put(Report(self.group.trials[rows], losses, report, states))
            start = stop
            if self._stop.is_set() and report != reports[-1]:
                return carry
        if self.states is not None:
            self.states.save(carry, rows, place)
        return carry

    def _lanes(self, plan: Plan, place: np.ndarray, rows: np.ndarray) -> Lanes:
        """Lays trials out over lanes; the lanes left over repeat the first trial, numbered -1."""
        shape = (plan.groups * plan.num_devices, plan.width)
        trial = np.full(plan.chunk, -1, np.int32)
        trial[place] = self.group.trials[rows]
        leaves = tuple(_spread(plan, place, rows, leaf) for leaf in self.group.leaves)
        draw = _spread(plan, place, rows, self.settings.draws[self.group.trials])
        return Lanes(trial.reshape(shape), draw, leaves)


def _spread(plan: Plan, place: np.ndarray, rows: np.ndarray, leaf: Any) -> Any:
    """Lays rows of `[g, ...]` out over lanes; the lanes left over repeat the first."""
    source = np.full(plan.chunk, rows[0])
    source[place] = rows
    return leaf[source].reshape((plan.groups * plan.num_devices, plan.width, *leaf.shape[1:]))


def _chunks(plan: Plan, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Splits trials into calls of nearly equal size, after one small call that is measured."""
    start, num_trials = 0, len(rows)
    if plan.num_workers > 1:
        start = min(num_trials, plan.width * plan.num_devices)
        yield rows[:start]
    left = num_trials - start
    if left > 0:
        count = -(-left // plan.chunk)
        count = min(left, -(-count // plan.num_workers) * plan.num_workers)
        yield from np.array_split(rows[start:], count)


def _lots(plan: Plan, rows: np.ndarray, is_measured: bool) -> Iterator[np.ndarray]:
    """Splits trials as `_chunks` does, into calls of whole groups: few trials make few groups."""
    lot = plan.width * plan.num_devices
    lots = [rows[i : i + lot] for i in range(0, len(rows), lot)]
    if is_measured:
        yield lots.pop(0)
    if lots:
        count = -(-len(lots) // plan.groups)
        count = min(len(lots), -(-count // plan.num_workers) * plan.num_workers)
        for part in np.array_split(np.arange(len(lots)), count):
            yield np.concatenate([lots[i] for i in part])


def _places(plan: Plan) -> np.ndarray:
    """Lists lane positions in the order they are filled: devices in turn, a group at a time."""
    grid = np.arange(plan.chunk).reshape(plan.num_devices, plan.groups, plan.width)
    return grid.transpose(1, 0, 2).reshape(-1)
