"""A scheduler on the host: compiled, asked and told round by round."""

from __future__ import annotations

import functools
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._base import Outcome
from jaxhpo._checks import check_instance, describe, fail
from jaxhpo._status import Status
from jaxhpo.schedulers import Job, Scheduler, Table
from jaxhpo.schedulers.internal import resolve

# More rounds than any synchronous rule has.
_MOST_FORECAST_ROUNDS = 64
_ENDED = (Status.PRUNED, Status.COMPLETE, Status.FAILED, Status.INFEASIBLE)


class Pieces(NamedTuple):
    """What a job asks for, one row a trial.

    Attributes:
        trial: `[k]` numbers of the trials, ascending.
        start: `[k]` steps that they have taken.
        stop: `[k]` steps up to which they go.
    """

    trial: np.ndarray
    start: np.ndarray
    stop: np.ndarray


class Rule:
    """A scheduler with its state.

    Attributes:
        levels: the steps at which it judges trials, and the last one.
        num_steps: steps that it takes in all if no trial fails.
        num_last: trials that it then trains to the end.
        seconds: time that it took to make, which is the compiler's.
    """

    def __init__(
        self, where: str, scheduler: Any, key: jax.Array, num_trials: int, num_steps: int
    ) -> None:
        """Makes a scheduler of its name, and asks it for the first job.

        Args:
            where: the function to name in errors.
            scheduler: its argument.
            key: of the sweep.
            num_trials: trials of the sweep.
            num_steps: steps of a whole trial.

        Raises:
            TypeError: no scheduler, or one whose state has no table or whose jobs are no `Job`.
            ValueError: no scheduler of that name, or one of other trials or steps, or with jobs
                that no sweep can run.
        """
        started = time.perf_counter()
        self._where = where
        self._scheduler = resolve(where, "scheduler", scheduler, num_trials, num_steps)
        self._key, self._round = key, 0
        table = getattr(jax.eval_shape(self._scheduler.init, key), "table", None)
        if not isinstance(table, Table):
            expected = "a Scheduler whose state has a field `table`, a Table"
            raise TypeError(f"{where}: `scheduler` must be {expected}, got {describe(table)}.")
        shape = table.status.shape
        if shape != (num_trials,):
            raise fail(where, "scheduler", f"made for {num_trials} trials", f"one for {shape[0]}")
        if not table.levels.size:
            raise fail(where, "scheduler", "one with at least one level", "a table without")
        begin, self._advance = _compiled(jax.default_backend() == "cpu")
        self._state, self._job = begin(self._scheduler, self._key)
        check_instance(where, "scheduler", self._job, Job, "a Scheduler whose `ask` gives a Job")
        self.levels: tuple[int, ...] = tuple(self._state.table.levels.tolist())
        if self.levels[-1] != num_steps:
            expected = f"made for {num_steps} steps"
            raise fail(where, "scheduler", expected, f"one for {self.levels[-1]}")
        if list(self.levels) != sorted({max(level, 1) for level in self.levels}):
            expected = "one whose levels increase from at least 1"
            raise fail(where, "scheduler", expected, list(self.levels))
        self._stands = np.zeros(num_trials, np.int32)
        self._has_ended = np.zeros(num_trials, bool)
        self.num_steps, self.num_last = self._forecast()
        self.seconds = time.perf_counter() - started

    def pieces(self) -> Pieces:
        """What is to be run before the next `tell`; no row if nothing is left to do."""
        job = [np.asarray(a) for a in (self._job.trial, self._job.parent, self._job.level)]
        if len({a.shape for a in job}) > 1 or job[0].ndim != 1:
            shapes = ", ".join(str(a.shape) for a in job)
            expected = "one whose jobs have `trial`, `parent` and `level` of one shape [q]"
            raise fail(self._where, "scheduler", expected, f"shapes {shapes}")
        trial, parent, level = (a[job[0] >= 0] for a in job)
        self._check_job(trial, parent, level)
        order = np.argsort(trial)
        return Pieces(trial[order], self._stands[trial[order]], level[order])

    def tell(self, pieces: Pieces, losses: np.ndarray) -> np.ndarray:
        """Tells the losses of all pieces, and asks for the next job.

        Args:
            pieces: what `pieces` gave.
            losses: `[k]`, NaN where failed.

        Returns:
            `[n]` bool, the trials that have ended.
        """
        self._stands[pieces.trial] = pieces.stop
        value = np.full(self._stands.shape, np.nan)
        value[pieces.trial] = losses
        self._round += 1
        self._state, self._job = self._advance(
            self._scheduler, self._key, np.int32(self._round), self._state, self._job, value
        )
        is_last = len(self.pieces().trial) == 0
        self._has_ended = np.isin(self._status(), _ENDED) | is_last
        return self._has_ended

    def _check_job(self, trial: np.ndarray, parent: np.ndarray, level: np.ndarray) -> None:
        """Refuses what a sweep cannot run, or would run for ever."""
        n = len(self._stands)
        known = np.minimum(trial, n - 1)
        for is_wrong, expected, got in (
            (trial >= n, f"one whose jobs are of the trials 0 to {n - 1}", "trial {}"),
            (
                np.bincount(known, minlength=n)[known] > 1,
                "one that hands out a trial once at a time",
                "a job with trial {} twice",
            ),
            (
                parent != trial,
                "a scheduler of which each trial goes on from its own state",
                "a job whose `parent` is another trial",
            ),
            (
                ~np.isin(level, self.levels) | (level <= self._stands[known]),
                "one whose jobs go to a later level of its table",
                "a job of trial {} to step {}",
            ),
            (self._has_ended[known], "one of which no trial goes on that has ended", "trial {}"),
        ):
            if is_wrong.any():
                row = int(np.argmax(is_wrong))
                found = got.format(trial[row], level[row])
                raise fail(self._where, "scheduler", expected, found)

    def _status(self) -> np.ndarray:
        return np.asarray(self._state.table.status)

    def _forecast(self) -> tuple[int, int]:
        """What it takes if no trial fails: steps in all, and trials that are trained to the end.

        A rule of very many rounds is taken to train all to the end, and one at a time.
        """
        begun, values = (self._state, self._job), np.arange(len(self._stands), dtype=float)
        for _ in range(_MOST_FORECAST_ROUNDS):
            pieces = self.pieces()
            if not len(pieces.trial):
                break
            self.tell(pieces, values[pieces.trial])
        has_ended = not len(self.pieces().trial)
        found = (
            int(self._stands.sum(dtype=np.int64)),
            int(np.sum(self._status() == Status.COMPLETE)),
        )
        (self._state, self._job), self._round = begun, 0
        self._stands[:], self._has_ended[:] = 0, False
        return found if has_ended else (len(values) * self.levels[-1], 1)


def _round_key(key: Any, number: Any) -> Any:
    """The key of a round: its stream is two folds of a number that no trial has away."""
    for _ in range(2):
        key = jax.random.fold_in(key, np.uint32(0xFFFFFFFF))
    return jax.random.fold_in(key, number)


def _begin(scheduler: Scheduler, key: Any) -> tuple[Any, Job]:
    """The state and the first job."""
    key_init, key_ask = jax.random.split(_round_key(key, 0))
    begun: tuple[Any, Job] = scheduler.ask(key_ask, scheduler.init(key_init))
    return begun


def _advance(
    scheduler: Scheduler, key: Any, number: Any, state: Any, job: Job, value: Any
) -> tuple[Any, Job]:
    """Tells a job's values, `[n]` of all trials, and asks for the next job."""
    key_tell, key_ask = jax.random.split(_round_key(key, number))
    state, _ = scheduler.tell(key_tell, state, job, Outcome(value[jnp.maximum(job.trial, 0)]))
    advanced: tuple[Any, Job] = scheduler.ask(key_ask, state)
    return advanced


@functools.cache
def _compiled(on_cpu: bool) -> tuple[Any, Any]:
    """`_begin` and `_advance` as programs; they run so few times that compiling is their cost."""
    options = {"xla_backend_optimization_level": 0} if on_cpu else None
    begin, advance = (jax.jit(one, compiler_options=options) for one in (_begin, _advance))
    return begin, advance
