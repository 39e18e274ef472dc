"""A scheduler on the host: compiled, asked and told round by round."""

from __future__ import annotations

import dataclasses
import functools
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._base import Outcome
from jaxhpo._checks import check_instance, fail
from jaxhpo._status import Status
from jaxhpo.population._groups import Group
from jaxhpo.population._trace import Packing, pack
from jaxhpo.population.checkpoints._arrays import Arrays, listed, numbered
from jaxhpo.population.lineage._points import Points
from jaxhpo.schedulers import Job, Scheduler
from jaxhpo.schedulers.internal import (
    Standing,
    check_jobs,
    check_levels,
    check_table,
    resolve,
    wants_gradient,
)

# More rounds than any synchronous rule has.
_MOST_FORECAST_ROUNDS = 64
_ENDED = (Status.PRUNED, Status.COMPLETE, Status.FAILED, Status.INFEASIBLE)


class Pieces(NamedTuple):
    """What a job asks for, one row a trial.

    Attributes:
        trial: `[k]` numbers of the trials, ascending.
        start: `[k]` steps that they have taken.
        stop: `[k]` steps up to which they go.
        parent: `[k]` trials whose state each goes on from, which is where that one stands.
        unit: `[k, d]` their points.
        is_moved: `[k]` bool, whether the point is another one than before.
    """

    trial: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    parent: np.ndarray
    unit: np.ndarray
    is_moved: np.ndarray


class Rule:
    """A scheduler with its state.

    Attributes:
        levels: the steps at which it judges trials, and the last one.
        points: the trials' points, of a scheduler that changes them, else None.
        scheduler: the scheduler.
        slopes: coordinates by which it wants the losses differentiated; 0: none.
        num_steps: steps that it takes in all if no trial fails.
        num_last: trials that it then trains to the end.
        seconds: time that it took to make, which is the compiler's.
    """

    def __init__(
        self,
        where: str,
        scheduler: Any,
        key: jax.Array,
        hparams: Any,
        groups: list[Group],
        num_steps: int,
        space: Any = None,
    ) -> None:
        """Makes a scheduler of its name, and asks it for the first job.

        Args:
            where: the function to name in errors.
            scheduler: its argument.
            key: of the sweep.
            hparams: values of the trials.
            groups: the trials by their static values.
            num_steps: steps of a whole trial.
            space: of the values, for a scheduler of a name that needs it.

        Raises:
            TypeError: no scheduler, or one whose state has no table or whose jobs are no `Job`.
            ValueError: no scheduler of that name, or one of other trials, steps or another space,
                or with jobs that no sweep can run.
        """
        started = time.perf_counter()
        self._where = where
        num_trials = sum(len(group.trials) for group in groups)
        self.scheduler = resolve(
            where, "scheduler", scheduler, num_trials, num_steps, known_space=space
        )
        made_for = self.scheduler.space
        self.points = None if made_for is None else Points(where, made_for, hparams)
        self._kind = np.zeros(num_trials, np.int32)
        for g, group in enumerate(groups):
            self._kind[group.trials] = g
        self._key, self._round = key, 0
        table = check_table(where, self.scheduler)
        shape = table.status.shape
        if shape != (num_trials,):
            raise fail(where, "scheduler", f"made for {num_trials} trials", f"one for {shape[0]}")
        begin, self._advance = _compiled(jax.default_backend() == "cpu")
        unit = None if self.points is None else self.points.unit.astype(table.unit.dtype)
        if unit is not None and unit.shape != table.unit.shape:
            expected = f"one whose points have shape {unit.shape}"
            raise fail(where, "scheduler", expected, table.unit.shape)
        self._state, self._job = begin(self.scheduler, self._key, unit)
        check_instance(where, "scheduler", self._job, Job, "a Scheduler whose `ask` gives a Job")
        self.slopes = 0
        if wants_gradient(self._state) and self.points is not None:
            self.slopes = len(self.points.real)
        self.levels = check_levels(where, self._state.table.levels.tolist(), num_steps)
        self._stands = np.zeros(num_trials, np.int32)
        self._has_ended = np.zeros(num_trials, bool)
        self._unit = np.array(self._state.table.unit)
        self.num_steps, self.num_last = self._forecast()
        self.seconds = time.perf_counter() - started

    def pieces(self) -> Pieces:
        """What is to be run before the next `tell`; no row if nothing is left to do."""
        job = [np.asarray(a) for a in (self._job.trial, self._job.parent, self._job.level)]
        if len({a.shape for a in job}) > 1 or job[0].ndim != 1:
            shapes = ", ".join(str(a.shape) for a in job)
            expected = "one whose jobs have `trial`, `parent` and `level` of one shape [q]"
            raise fail(self._where, "scheduler", expected, f"shapes {shapes}")
        is_job = job[0] >= 0
        order = np.argsort(job[0][is_job])
        trial, parent, level, unit = (a[is_job][order] for a in (*job, self._units(len(is_job))))
        is_moved = self._check_job(trial, parent, level, unit)
        return Pieces(trial, self._stands[parent], level, parent, unit, is_moved)

    def _units(self, size: int) -> np.ndarray:
        unit, known = np.asarray(self._job.unit), self._unit.shape[1]
        if unit.shape != (size, known):
            expected = f"one whose jobs have `unit` of shape [q, {known}]"
            raise fail(self._where, "scheduler", expected, unit.shape)
        return unit

    def tell(
        self, pieces: Pieces, losses: np.ndarray, slopes: np.ndarray | None = None
    ) -> np.ndarray:
        """Tells the losses of all pieces, and asks for the next job.

        Args:
            pieces: what `pieces` gave.
            losses: `[k]`, NaN where failed.
            slopes: `[k, s]` their derivatives by the real coordinates, where they are wanted.

        Returns:
            `[n]` bool, the trials that have ended.
        """
        self._stands[pieces.trial] = pieces.stop
        self._unit[pieces.trial] = pieces.unit
        value = np.full(self._stands.shape, np.nan)
        value[pieces.trial] = losses
        self._round += 1
        self._state, self._job = self._advance(
            self.scheduler,
            self._key,
            np.int32(self._round),
            self._state,
            self._job,
            value,
            self._gradient(pieces, slopes),
        )
        is_last = len(self.pieces().trial) == 0
        self._has_ended = np.isin(self._status(), _ENDED) | is_last
        return self._has_ended

    def _gradient(self, pieces: Pieces, slopes: np.ndarray | None) -> np.ndarray | None:
        """The gradients `[n, d]` of all trials, if the scheduler wants them."""
        if not wants_gradient(self._state):
            return None
        gradient = np.zeros(self._unit.shape)
        if slopes is not None:
            assert self.points is not None
            gradient[np.ix_(pieces.trial, self.points.real)] = slopes
        return gradient

    def snapshot(self) -> Arrays:
        """The scheduler's state and job as arrays, and what is known of the trials."""
        return {
            "round": np.asarray(self._round),
            "stands": self._stands,
            "has_ended": self._has_ended,
            "unit": self._unit,
            **numbered("state", pack((self._state, self._job))),
        }

    def restore(self, found: Arrays) -> None:
        """Takes up what `snapshot` gave."""
        self._round = int(found["round"])
        self._stands, self._has_ended = found["stands"], found["has_ended"]
        self._unit = found["unit"]
        packing = Packing.of((self._state, self._job))
        self._state, self._job = packing.unpack(listed("state", found))

    def _check_job(
        self, trial: np.ndarray, parent: np.ndarray, level: np.ndarray, unit: np.ndarray
    ) -> np.ndarray:
        """Refuses what a sweep cannot run; tells whose point has changed."""
        may_move = self.points is not None
        standing = Standing(
            self.levels, self._stands, self._has_ended, self._unit, self._kind, may_move
        )
        return check_jobs(self._where, standing, trial, parent, level, unit)

    def _status(self) -> np.ndarray:
        return np.asarray(self._state.table.status)

    def _forecast(self) -> tuple[int, int]:
        """What it takes if no trial fails: steps in all, and trials that are trained to the end.

        A rule of very many rounds is taken to train all to the end, as many at a time as it has
        had in the smallest job.
        """
        begun, unit = (self._state, self._job), self._unit.copy()
        values, fewest = np.arange(len(self._stands), dtype=float), len(self._stands)
        for _ in range(_MOST_FORECAST_ROUNDS):
            pieces = self.pieces()
            if not len(pieces.trial):
                break
            fewest = min(fewest, len(pieces.trial))
            self.tell(pieces, values[pieces.trial])
        has_ended = not len(self.pieces().trial)
        found = (
            int(self._stands.sum(dtype=np.int64)),
            int(np.sum(self._status() == Status.COMPLETE)),
        )
        (self._state, self._job), self._round = begun, 0
        self._stands[:], self._has_ended[:], self._unit = 0, False, unit
        return found if has_ended else (len(values) * self.levels[-1], fewest)


def _round_key(key: Any, number: Any) -> Any:
    """The key of a round: its stream is two folds of a number that no trial has away."""
    for _ in range(2):
        key = jax.random.fold_in(key, np.uint32(0xFFFFFFFF))
    return jax.random.fold_in(key, number)


def _begin(scheduler: Scheduler, key: Any, unit: Any) -> tuple[Any, Job]:
    """The state and the first job; `unit` are the trials' points, if they are known."""
    key_init, key_ask = jax.random.split(_round_key(key, 0))
    state = scheduler.init(key_init)
    if unit is not None:
        table = dataclasses.replace(state.table, unit=unit)
        state = dataclasses.replace(state, table=table)
    begun: tuple[Any, Job] = scheduler.ask(key_ask, state)
    return begun


def _advance(
    scheduler: Scheduler, key: Any, number: Any, state: Any, job: Job, value: Any, gradient: Any
) -> tuple[Any, Job]:
    """Tells a job's values and gradients, `[n]` of all trials, and asks for the next job."""
    key_tell, key_ask = jax.random.split(_round_key(key, number))
    rows = jnp.maximum(job.trial, 0)
    outcome = Outcome(value[rows], gradient=None if gradient is None else gradient[rows])
    state, _ = scheduler.tell(key_tell, state, job, outcome)
    advanced: tuple[Any, Job] = scheduler.ask(key_ask, state)
    return advanced


@functools.cache
def _compiled(on_cpu: bool) -> tuple[Any, Any]:
    """`_begin` and `_advance` as programs; they run so few times that compiling is their cost."""
    options = {"xla_backend_optimization_level": 0} if on_cpu else None
    begin, advance = (jax.jit(one, compiler_options=options) for one in (_begin, _advance))
    return begin, advance
