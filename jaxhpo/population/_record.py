"""Collects the workers' messages into a sweep's progress and its result."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from jaxhpo._status import Status
from jaxhpo.population._compile import Program, Settings
from jaxhpo.population._kernel import key_of, keys_of
from jaxhpo.population._layout import Plan, with_reason
from jaxhpo.population._progress import COMPILING, Progress
from jaxhpo.population._threads import Report, Slopes, Workers
from jaxhpo.population._trace import Packing, TracedTraining, pack
from jaxhpo.population.checkpoints._arrays import Arrays, inside, listed, numbered, within
from jaxhpo.population.distributed._processes import Processes
from jaxhpo.population.lineage._lineage import Lineage, LineageRecorder


@dataclasses.dataclass(frozen=True)
class Sweep:
    """What became of the trials of a sweep.

    Attributes:
        losses: `[n]` final validation losses; NaN where a trial failed or was not finished.
        curves: `[n, r]` validation losses at `curve_steps`; NaN from a failure or a stop on.
        curve_steps: `[r]` int32 numbers of steps taken.
        steps: `[n]` int32 steps that each trial took; a failed one until its failure was seen.
        status: `[n]` int32 `Status`: COMPLETE, FAILED, PRUNED (ended early by the scheduler),
            RUNNING (cut short), EMPTY (not begun).
        best_index: number of the best trial, -1 if none completed.
        best_loss: its loss, infinite if none completed.
        best_hparams: its hyperparameters, unbatched, as `Space.decode` takes them, or None.
        best_state: its training state after the last step, or None.
        states: all trials' states after their last step, leading axis n, if they were kept; a tuple
            of them, one per group, with `state_trials` to name their rows, if static values make
            their shapes differ.
        state_trials: trial numbers of the rows of `states`, one array per group; () if not kept.
        num_failed: number of FAILED trials.
        seconds: wall time in all.
        compile_seconds: time spent on tracing and compiling, of which with several static values
            a part runs beside the training.
        wait_seconds: the part of `seconds` in which that kept the training waiting.
        num_compilations: programs compiled.
        plans: the layout of each program; `str(plan)` is a sentence.
        width: `[n]` int32 trials that ran side by side with each; 0 where it was not begun. Another
            width may round otherwise.
        key: the sweep's key; where each trial has its own, that of the first.
        draws: `[n]` what `trial_key` folds the key with, or the trials' own keys.
        lineage: whom each trial went on from and with what, under a scheduler that changes
            hyperparameters; None otherwise.
    """

    losses: np.ndarray
    curves: np.ndarray
    curve_steps: np.ndarray
    steps: np.ndarray
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
    wait_seconds: float
    num_compilations: int
    plans: tuple[Plan, ...]
    width: np.ndarray
    key: jax.Array
    draws: Any
    lineage: Lineage | None = None

    def trial_key(self, index: Any) -> jax.Array:
        """The key that a trial was trained with: with it, any other way of training repeats it.

        `training.objective(training, num_steps)` with this key and the trial's hyperparameters is
        the trial's loss, `training.train` its state, and a hypergradient estimator differentiates
        this very run. With `share_data_order` the steps had another key, which all trials share.

        Args:
            index: the trial's place in this sweep, or an array `[k]` of them.

        Returns:
            The key, or `[k]` keys, which `sweep` takes as its `key`.
        """
        draw = self.draws[index]
        return key_of(self.key, draw) if np.ndim(index) == 0 else keys_of(self.key, draw)

    @property
    def plan(self) -> Plan:
        """The layout of the first program.

        Raises:
            ValueError: the sweep was cut short before a program ran.
        """
        if not self.plans:
            raise ValueError("Sweep.plan: the sweep was cut short before it ran a program.")
        return self.plans[0]


class SweepInterrupted(KeyboardInterrupt):
    """Ctrl-C during a sweep; `sweep` holds what had been reached.

    Attributes:
        sweep: the unfinished `Sweep`.
    """

    def __init__(self, sweep: Sweep) -> None:
        super().__init__("the sweep was interrupted between two calls of its program")
        self.sweep = sweep


class SweepRecorder:
    """Collects the workers' messages into the result."""

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
        self.compile_seconds, self.wait_seconds, self.num_compilations = 0.0, 0.0, 0
        self.plans: list[Plan] = []
        # What a scheduler lets train now, in words.
        self.stage = ""
        # A scheduler that stops trials sets it to what it will take.
        self.planned_steps = num_trials * settings.steps[-1]
        self._curves = np.full((num_trials, len(settings.steps)), np.nan)
        self._status = np.full(num_trials, Status.EMPTY, np.int32)
        self._steps, self._width = np.zeros((2, num_trials), np.int32)
        self._dtype: Any = np.dtype(jax.dtypes.canonicalize_dtype(float))
        self._best: tuple[float, int, Any] = (math.inf, -1, None)
        self._states: list[tuple[np.ndarray, list[np.ndarray]]] = []
        self._group_states: list[tuple[np.ndarray, Any]] = []
        self._counts = {"failed": 0, "steps": 0}
        # Trials that have taken their last step, or that a scheduler has ended.
        self.is_done = np.zeros(num_trials, bool)
        self._best_loss = math.inf
        # Derivatives of the last losses, `[n, s]`, of a scheduler that wants them.
        self.slopes: np.ndarray | None = None
        # Of a scheduler that changes hyperparameters.
        self.lineage: LineageRecorder | None = None
        self._new: list[tuple[np.ndarray, np.ndarray]] = []

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the time inside, in which nothing trains."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.wait_seconds += time.perf_counter() - began

    def add_program(self, program: Program, trials: np.ndarray) -> None:
        """Counts what compiling cost, and notes the width at which trials run."""
        self.compile_seconds += program.seconds
        self.num_compilations += program.num_compilations
        self._width[trials] = program.plan.width

    def add(self, message: Report | Slopes, quiet: bool = False) -> None:
        """Takes in what a worker says."""
        if isinstance(message, Report):
            return self._add_report(message, quiet)
        if self.slopes is None:
            self.slopes = np.full((len(self._status), message.along.shape[1]), np.nan)
        self.slopes[message.trials] = message.along

    def _add_report(self, report: Report, quiet: bool) -> None:
        """Takes in the losses of some trials at one report step."""
        steps, trials = self.settings.steps, report.trials
        taken = steps[report.report] - (steps[report.report - 1] if report.report else 0)
        losses = report.losses.astype(float)
        self._curves[trials, report.report] = losses
        self._counts["steps"] += taken * len(trials)
        has_failed = self._status[trials] == Status.FAILED
        reached = np.where(has_failed, self._steps[trials], steps[report.report])
        self._steps[trials] = reached
        self._status[trials] = np.where(np.isnan(losses), Status.FAILED, Status.RUNNING)
        if report.report == len(steps) - 1:
            self._status[trials] = np.where(np.isnan(losses), Status.FAILED, Status.COMPLETE)
            self.is_done[trials] = True
            self._counts["failed"] += int(np.isnan(losses).sum())
            self._best_loss = min(self._best_loss, np.nanmin(losses, initial=math.inf))
            self._new.append((trials, losses))
            if report.states is not None:
                self._states.append((trials, report.states))
        if not quiet:
            self.report_progress()

    def begin(
        self, trials: np.ndarray, parent: np.ndarray, start: np.ndarray, stop: np.ndarray
    ) -> None:
        """Notes that pieces of trials begin; who has failed and copies another's state runs on."""
        copies = trials[parent != trials]
        self._status[copies] = Status.RUNNING
        self._steps[copies] = start[parent != trials]
        if self.lineage is not None:
            self.lineage.add(trials, parent, start, stop)

    def move(self, trials: np.ndarray, values: Any) -> None:
        """Notes that trials go on with other hyperparameters."""
        assert self.lineage is not None
        self.lineage.move(trials, values)

    def losses_at(self, trials: np.ndarray, report: np.ndarray) -> np.ndarray:
        """Losses of some trials, each at a report step of its own; NaN where failed."""
        found: np.ndarray = self._curves[trials, report]
        return found

    def lowest_at(self, report: int) -> float:
        """The lowest loss of all trials at a report; NaN if there is none."""
        return float(np.fmin.reduce(self._curves[:, report]))

    def stop_trials(self, trials: np.ndarray) -> None:
        """Counts trials that go on no more before their last step: as failed, else as pruned."""
        has_failed = self._status[trials] == Status.FAILED
        self._status[trials[~has_failed]] = Status.PRUNED
        self.is_done[trials] = True
        self._counts["failed"] += int(has_failed.sum())
        self._new.append((trials, np.full(len(trials), np.nan)))

    def add_states(self, trials: np.ndarray, leaves: list[np.ndarray]) -> None:
        """Takes in the last states of trials of the group that is added next."""
        self._states.append((trials, leaves))

    @property
    def num_steps_taken(self) -> int:
        """Steps taken so far, over all trials."""
        return self._counts["steps"]

    def add_group(self, program: Program, workers: Workers) -> None:
        """Takes in the best trial of each worker and device, and the plan that was followed."""
        self._best = self._best_with(workers)
        self.add_finished(self.plan_of(workers), program.traced.packing)

    def plan_of(self, workers: Workers) -> Plan:
        """The plan that workers follow, and why."""
        plan = dataclasses.replace(workers.program.plan, num_workers=workers.num_workers)
        return with_reason(plan, self.settings.devices[0].platform, workers.busy_cores)

    def add_finished(self, plan: Plan, packing: Packing) -> None:
        """Takes in the plan of a group, and its states."""
        self.plans.append(plan)
        if self._states:
            trials = np.concatenate([t for t, _ in self._states])
            order = np.argsort(trials)
            columns = zip(*(s for _, s in self._states), strict=True)
            leaves = [np.concatenate(column)[order] for column in columns]
            self._group_states.append((trials[order], packing.unpack(leaves)))
            self._states = []

    @property
    def has_begun(self) -> np.ndarray:
        """`[n]` bool, trials that have reached a report."""
        begun: np.ndarray = self._status != Status.EMPTY
        return begun

    def _best_with(self, workers: Workers) -> tuple[float, int, Any]:
        """The best trial, those that some workers have seen included."""
        found = self._best
        for best in workers.bests():
            for row in range(len(best.trial)):
                loss, trial = float(best.loss[row]), int(best.trial[row])
                if trial >= 0 and (loss, trial) < found[:2]:
                    leaves = [leaf[row] for leaf in best.state]
                    found = (loss, trial, workers.program.traced.packing.unpack(leaves))
        return found

    def snapshot(self, workers: list[Workers]) -> Arrays:
        """All that has come in, and the best trial of workers that are still there."""
        best = min(
            (self._best_with(one) for one in workers), key=lambda b: b[:2], default=self._best
        )
        lineage = {} if self.lineage is None else self.lineage.snapshot()
        return {
            "curves": self._curves,
            "status": self._status,
            "steps": self._steps,
            "width": self._width,
            "is_done": self.is_done,
            "counts": np.asarray([*self._counts.values(), self.planned_steps]),
            "best": np.asarray([self._best_loss, best[0]]),
            "best_trial": np.asarray(best[1]),
            **numbered("best_state", [] if best[1] < 0 else pack(best[2])),
            **within("lineage", lineage),
        }

    def agree(self, processes: Processes, traced_of: Callable[[int], TracedTraining]) -> None:
        """Takes the best of several processes' best trials."""
        if processes.count == 1:
            return
        loss, trial, state = self._best
        found = processes.gather([np.asarray(loss), np.asarray(trial)])
        bests = [(float(loss), int(trial), i) for i, (loss, trial) in enumerate(found)]
        loss, trial, process = min(bests)
        if trial < 0:
            return
        traced = traced_of(trial)
        own = [np.zeros(a.shape, a.dtype) for a in traced.state]
        leaves = [np.asarray(a) for a in pack(state)] if process == processes.index else own
        self._best = (loss, trial, traced.packing.unpack(processes.gather(leaves)[process]))

    def restore(self, found: Arrays, traced_of: Callable[[int], TracedTraining]) -> None:
        """Takes up what `snapshot` gave.

        Args:
            found: the arrays.
            traced_of: the training of a trial.
        """
        arrays = (self._curves, self._status, self._steps, self._width, self.is_done)
        for name, array in zip(
            ("curves", "status", "steps", "width", "is_done"), arrays, strict=True
        ):
            array[:] = found[name]
        failed, steps, self.planned_steps = found["counts"].tolist()
        self._counts = {"failed": failed, "steps": steps}
        self._best_loss, loss = found["best"].tolist()
        if (trial := int(found["best_trial"])) >= 0:
            state = traced_of(trial).packing.unpack(listed("best_state", found))
            self._best = (loss, trial, state)
        if self.lineage is not None:
            self.lineage.restore(inside("lineage", found))

    def report_progress(self, is_compiling: bool = False) -> None:
        """Calls the progress callback."""
        if self.progress is None:
            return
        new, self._new = self._new, []
        total = len(self._status)
        self.progress(
            Progress(
                done=int(self.is_done.sum()),
                total=total,
                best=float(self._best_loss) if math.isfinite(self._best_loss) else None,
                failed=self._counts["failed"],
                message=COMPILING if is_compiling else self.stage,
                steps_done=self._counts["steps"],
                num_steps=self.planned_steps,
                seconds=time.perf_counter() - self.started,
                new_trials=np.concatenate([np.zeros(0, np.int32), *(trials for trials, _ in new)]),
                new_losses=np.concatenate([np.zeros(0), *(losses for _, losses in new)]),
                snapshot=self.finish,
            )
        )

    def finish(self) -> Sweep:
        """Builds the result from what has come in."""
        loss, index, state = self._best
        curves = self._curves.astype(self._dtype)
        done = self._status == Status.COMPLETE
        last = self.hparams if self.lineage is None else self.lineage.current
        return Sweep(
            losses=np.where(done, curves[:, -1], np.nan).astype(self._dtype),
            curves=curves,
            curve_steps=np.asarray(self.settings.steps, np.int32),
            steps=self._steps.copy(),
            status=self._status.copy(),
            best_index=index,
            best_loss=loss,
            best_hparams=None if index < 0 else jax.tree.map(lambda a: np.asarray(a)[index], last),
            best_state=state,
            states=self._all_states(),
            state_trials=tuple(t for t, _ in self._group_states),
            num_failed=int(np.sum(self._status == Status.FAILED)),
            seconds=time.perf_counter() - self.started,
            compile_seconds=self.compile_seconds,
            wait_seconds=self.wait_seconds,
            num_compilations=self.num_compilations,
            plans=tuple(self.plans),
            width=self._width.copy(),
            key=self.settings.key,
            draws=self.settings.draws,
            lineage=None if self.lineage is None else self.lineage.finish(),
        )

    def _all_states(self) -> Any:
        """One pytree of all states, or one per group where static values split them."""
        if len(self._group_states) == 1:
            return self._group_states[0][1]
        return tuple(s for _, s in self._group_states) or None
