"""`sweep`: one training run, thousands of trials."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxhpo._checks import check_callable, check_int, check_key, check_positive, fail
from jaxhpo._status import Status
from jaxhpo.population._compile import Program, Settings, compile_group, trace_group
from jaxhpo.population._groups import Group, group_trials
from jaxhpo.population._layout import Plan, default_budget, explained, num_cores
from jaxhpo.population._run import Crew, Finished, Report
from jaxhpo.population._trace import TracedTraining, uses_x64
from jaxhpo.training._objective import check_training
from jaxhpo.training._training import Training

_WHERE = "sweep"


class Progress(NamedTuple):
    """What a sweep's `progress` callback is told, about once a call of the compiled program.

    Attributes:
        num_done: trials that have ended, failures included.
        num_trials: trials in all.
        steps_done: training steps taken, over all trials.
        num_steps: training steps in all.
        best_loss: smallest final loss so far; infinite before the first.
        num_failed: trials whose loss was not finite.
        is_compiling: whether the sweep waits for the compiler.
        seconds: since the start.
        new_trials: `[k]` numbers of the trials that ended since the last tick.
        new_losses: `[k]` their losses, NaN where failed.
    """

    num_done: int
    num_trials: int
    steps_done: int
    num_steps: int
    best_loss: float
    num_failed: int
    is_compiling: bool
    seconds: float
    new_trials: np.ndarray
    new_losses: np.ndarray


@dataclasses.dataclass(frozen=True)
class Sweep:
    """What became of the trials of a sweep.

    Attributes:
        losses: `[n]` final validation losses; NaN where a trial failed or was not finished.
        curves: `[n, r]` validation losses at `curve_steps`; NaN from a failure on.
        curve_steps: `[r]` int32 numbers of steps taken.
        status: `[n]` int32 `Status`: COMPLETE, FAILED, RUNNING (cut short), EMPTY (not begun).
        best_index: number of the best trial, -1 if none completed.
        best_loss: its loss, infinite if none completed.
        best_hparams: its hyperparameters, unbatched, as `Space.decode` takes them, or None.
        best_state: its training state after the last step, or None.
        states: all states, leading axis n, if they were kept; a tuple of them, one a group, with
            `state_trials` to name their rows, if static values make their shapes differ.
        state_trials: the trial numbers of the rows of `states`, one array a group; () if not kept.
        num_failed: number of FAILED trials.
        seconds: wall time in all.
        compile_seconds: time spent on tracing and compiling, of which with several static values
            a part runs beside the training.
        num_compilations: programs compiled.
        plans: the layout of each program; `str(plan)` is a sentence.
    """

    losses: np.ndarray
    curves: np.ndarray
    curve_steps: np.ndarray
    status: np.ndarray
    best_index: int
    best_loss: float
    best_hparams: Any
    best_state: Any
    states: Any
    state_trials: tuple[np.ndarray, ...]
    num_failed: int
    seconds: float
    compile_seconds: float
    num_compilations: int
    plans: tuple[Plan, ...]

    @property
    def plan(self) -> Plan:
        """The layout of the first program."""
        return self.plans[0]


class SweepInterrupted(KeyboardInterrupt):
    """Ctrl-C during a sweep; `sweep` holds what had been reached.

    Attributes:
        sweep: the unfinished `Sweep`.
    """

    def __init__(self, sweep: Sweep) -> None:
        super().__init__("the sweep was interrupted between two calls of its program")
        self.sweep = sweep


def sweep(
    training: Training,
    hparams: Any,
    *,
    key: jax.Array | int,
    num_steps: int,
    num_reports: int = 10,
    memory_budget: int | None = None,
    share_data_order: bool = False,
    keep_states: bool = False,
    progress: Callable[[Progress], Any] | None = None,
    timeout: float | None = None,
    devices: Sequence[Any] | None = None,
    width: int | None = None,
    chunk: int | None = None,
) -> Sweep:
    """Trains many trials of one training run on all local devices and cores.

    Trial `i` has the key `fold_in(key, i)` and ends with the value of
    `training.objective(training, num_steps)` there: neither the other trials nor the number of
    devices, threads or chunks change it. Trials that share their `static` values share one program,
    compiled once. Work is cut into chunks that keep the program, by its own memory analysis, within
    `memory_budget`. A trial whose loss is not finite at a report has failed: it is frozen and
    counted, and changes no other.

    Args:
        training: `init`, `step` and `loss`, called once a program, on abstract values.
        hparams: values pytree, every leaf `[n, ...]`, as `Space.sample(key, n)` gives it; a
            `static` leaf reaches the training as its Python value.
        key: a key or an integer seed.
        num_steps: steps a trial; static.
        num_reports: validation losses in a learning curve, evenly spaced, the last after the last
            step; each is also a progress tick and a place to stop.
        memory_budget: bytes that the running programs may hold: of host memory on CPU (default
            2 GiB), of each device otherwise (default three quarters of what is free).
        share_data_order: whether all trials see the same batches and dropout masks (common random
            numbers: a fairer comparison, and faster, since a batch is fetched once a group). Their
            initial parameters still differ.
        keep_states: whether to return all final states rather than the best one's alone.
        progress: called with `Progress` in the calling thread.
        timeout: seconds after which the sweep stops at the next report, or None.
        devices: devices to use; all local ones if None.
        width: trials side by side under `vmap`; chosen if None.
        chunk: trials a call; chosen if None.

    Returns:
        The `Sweep`.

    Raises:
        TypeError: an argument of a wrong type, or a step that changes the state's structure.
        ValueError: leaves of different lengths, a loss that is not a scalar, or a budget that one
            trial exceeds; all before any training.
        SweepInterrupted: Ctrl-C; holds what had been reached.

    Example:
        >>> import jax, jax.numpy as jnp, jaxhpo as hpo
        >>> training = hpo.Training(
        ...     init=lambda key, hparams: jnp.ones(()),
        ...     step=lambda key, hparams, state, t: state * (1 - hparams["lr"]),
        ...     loss=lambda hparams, state: state**2,
        ... )
        >>> trials = hpo.population.sweep(
        ...     training, {"lr": jnp.array([0.1, 0.5, jnp.inf])}, key=0, num_steps=4
        ... )
        >>> trials.best_index, trials.num_failed
        (1, 1)
    """
    started = time.perf_counter()
    check_training(_WHERE, training)
    num_steps = check_int(_WHERE, "num_steps", num_steps, 1)
    num_reports = check_int(_WHERE, "num_reports", num_reports, 1)
    if progress is not None:
        check_callable(_WHERE, "progress", progress)
    if timeout is not None:
        timeout = float(check_positive(_WHERE, "timeout", timeout))
    groups, num_trials = group_trials(_WHERE, hparams)
    chosen = tuple(jax.local_devices() if devices is None else devices)
    if not chosen:
        raise fail(_WHERE, "devices", "a non-empty sequence of devices", devices)
    budget = default_budget(list(chosen)) if memory_budget is None else memory_budget
    settings = Settings(
        training,
        check_key(_WHERE, key),
        _report_steps(num_steps, num_reports),
        chosen,
        check_int(_WHERE, "memory_budget", budget, 1),
        bool(share_data_order),
        None if width is None else check_int(_WHERE, "width", width, 1),
        None if chunk is None else check_int(_WHERE, "chunk", chunk, 1),
    )
    record = _Record(settings, hparams, num_trials, keep_states, progress, started)
    return _run_groups(settings, groups, record, timeout)


def _report_steps(num_steps: int, num_reports: int) -> tuple[int, ...]:
    """Spaces at most `num_reports` reports evenly, the last at the end."""
    steps = np.linspace(0, num_steps, min(num_reports, num_steps) + 1)[1:]
    return tuple(int(s) for s in np.unique(np.round(steps).astype(int)))


def _run_groups(
    settings: Settings, groups: list[Group], record: _Record, timeout: float | None
) -> Sweep:
    """Compiles all programs, side by side where there are several, and runs each as it is ready."""
    from concurrent.futures import ThreadPoolExecutor  # 5 ms that an import need not cost.

    deadline = math.inf if timeout is None else record.started + timeout
    pool = ThreadPoolExecutor(max_workers=min(num_cores(), len(groups)))
    x64 = uses_x64()

    def compile_one(group: Group, traced: TracedTraining) -> Program:
        with jax.enable_x64(x64):
            return compile_group(_WHERE, settings, group, traced)

    try:
        record.tick(is_compiling=True)
        before = time.perf_counter()
        traced = [trace_group(_WHERE, settings, group) for group in groups]
        record.compile_seconds += time.perf_counter() - before
        futures = [
            pool.submit(compile_one, group, t) for group, t in zip(groups, traced, strict=True)
        ]
        for group, future in zip(groups, futures, strict=True):
            if time.perf_counter() >= deadline:
                break
            if not future.done():
                record.tick(is_compiling=True)
            program = future.result()
            record.add_program(program)
            _run_group(settings, group, program, record, deadline)
    except KeyboardInterrupt as interrupt:
        raise SweepInterrupted(record.finish()) from interrupt
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return record.finish()


def _run_group(
    settings: Settings, group: Group, program: Program, record: _Record, deadline: float
) -> None:
    """Runs one group's trials; on any exception the workers end before it goes on."""
    crew = Crew(program, settings, group, record.keep_states)
    wait = None if math.isinf(deadline) else 0.05
    best = []
    try:
        for message in crew.messages(wait):
            if time.perf_counter() >= deadline:
                crew.stop()
            if isinstance(message, Report):
                record.add_report(message)
            elif isinstance(message, Finished) and message.best is not None:
                best.append(message.best)
    finally:
        crew.stop()
        crew.join()
        for late in crew.leftovers():
            if isinstance(late, Report):
                record.add_report(late, quiet=True)
            elif isinstance(late, Finished) and late.best is not None:
                best.append(late.best)
        record.add_group(program, crew, best)


class _Record:
    """Gathers the workers' messages into the result."""

    def __init__(
        self,
        settings: Settings,
        hparams: Any,
        num_trials: int,
        keep_states: bool,
        progress: Callable[[Progress], Any] | None,
        started: float,
    ) -> None:
        self.settings, self.hparams, self.progress = settings, hparams, progress
        self.started, self.keep_states = started, keep_states
        self.compile_seconds, self.num_compilations = 0.0, 0
        self.plans: list[Plan] = []
        self._curves = np.full((num_trials, len(settings.steps)), np.nan)
        self._status = np.full(num_trials, Status.EMPTY, np.int32)
        self._dtype: Any = np.dtype(jax.dtypes.canonicalize_dtype(float))
        self._best: tuple[float, int, Any] = (math.inf, -1, None)
        self._states: list[tuple[np.ndarray, list[np.ndarray]]] = []
        self._group_states: list[tuple[np.ndarray, Any]] = []
        self._counts = {"done": 0, "failed": 0, "steps": 0}
        self._best_loss = math.inf
        self._new: list[tuple[np.ndarray, np.ndarray]] = []

    def add_program(self, program: Program) -> None:
        """Counts what compiling cost."""
        self.compile_seconds += program.seconds
        self.num_compilations += program.num_compilations

    def add_report(self, report: Report, quiet: bool = False) -> None:
        """Takes in the losses of some trials at one report step."""
        steps, trials = self.settings.steps, report.trials
        taken = steps[report.report] - (steps[report.report - 1] if report.report else 0)
        losses = report.losses.astype(float)
        self._curves[trials, report.report] = losses
        self._counts["steps"] += taken * len(trials)
        self._status[trials] = np.where(np.isnan(losses), Status.FAILED, Status.RUNNING)
        if report.report == len(steps) - 1:
            self._status[trials] = np.where(np.isnan(losses), Status.FAILED, Status.COMPLETE)
            self._counts["done"] += len(trials)
            self._counts["failed"] += int(np.isnan(losses).sum())
            self._best_loss = min(self._best_loss, np.nanmin(losses, initial=math.inf))
            self._new.append((trials, losses))
            if report.states is not None:
                self._states.append((trials, report.states))
        if not quiet:
            self.tick()

    def add_group(self, program: Program, crew: Crew, bests: list[Any]) -> None:
        """Takes in the best trial of each worker and device, and the plan that was followed."""
        plan = dataclasses.replace(program.plan, num_workers=crew.num_workers)
        platform = self.settings.devices[0].platform
        self.plans.append(explained(plan, platform, crew.busy_cores))
        for best in bests:
            for row in range(len(best.trial)):
                loss, trial = float(best.loss[row]), int(best.trial[row])
                if trial >= 0 and (loss, trial) < self._best[:2]:
                    leaves = [leaf[row] for leaf in best.state]
                    self._best = (loss, trial, program.traced.packing.unpack(leaves))
        if self._states:
            trials = np.concatenate([t for t, _ in self._states])
            order = np.argsort(trials)
            columns = zip(*(s for _, s in self._states), strict=True)
            leaves = [np.concatenate(column)[order] for column in columns]
            self._group_states.append((trials[order], program.traced.packing.unpack(leaves)))
            self._states = []

    def tick(self, is_compiling: bool = False) -> None:
        """Tells the callback how far the sweep has come."""
        if self.progress is None:
            return
        trials = [t for t, _ in self._new] or [np.zeros(0, np.int32)]
        losses = [v for _, v in self._new] or [np.zeros(0)]
        self._new = []
        total = len(self._status)
        self.progress(
            Progress(
                self._counts["done"],
                total,
                self._counts["steps"],
                total * self.settings.steps[-1],
                float(self._best_loss),
                self._counts["failed"],
                is_compiling,
                time.perf_counter() - self.started,
                np.concatenate(trials),
                np.concatenate(losses),
            )
        )

    def finish(self) -> Sweep:
        """Builds the result from what has come in."""
        loss, index, state = self._best
        curves = self._curves.astype(self._dtype)
        done = self._status == Status.COMPLETE
        return Sweep(
            losses=np.where(done, curves[:, -1], np.nan).astype(self._dtype),
            curves=curves,
            curve_steps=np.asarray(self.settings.steps, np.int32),
            status=self._status,
            best_index=index,
            best_loss=loss,
            best_hparams=None
            if index < 0
            else jax.tree.map(lambda a: np.asarray(a)[index], self.hparams),
            best_state=state,
            states=self._all_states(),
            state_trials=tuple(t for t, _ in self._group_states),
            num_failed=int(np.sum(self._status == Status.FAILED)),
            seconds=time.perf_counter() - self.started,
            compile_seconds=self.compile_seconds,
            num_compilations=self.num_compilations,
            plans=tuple(self.plans),
        )

    def _all_states(self) -> Any:
        """One pytree of all states, or one a group where static values split them."""
        if len(self._group_states) == 1:
            return self._group_states[0][1]
        return tuple(s for _, s in self._group_states) or None
