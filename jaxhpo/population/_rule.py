"""A scheduler on the host: compiled, asked and told round by round."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._base import Outcome
from jaxhpo._checks import fail
from jaxhpo._status import Status
from jaxhpo.schedulers import Job, Scheduler
from jaxhpo.schedulers.internal import resolve

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
    """

    def __init__(self, where: str, scheduler: Any, num_trials: int, num_steps: int) -> None:
        """Makes a scheduler of its name, and asks it for the first job.

        Raises:
            TypeError: no scheduler.
            ValueError: no scheduler of that name, or one of other trials or steps.
        """
        self._where = where
        self._scheduler = resolve(where, "scheduler", scheduler, num_trials, num_steps)
        self._key, self._round = jax.random.key(0), 0
        shape = jax.eval_shape(self._scheduler.init, self._key).table.status.shape
        if shape != (num_trials,):
            raise fail(where, "scheduler", f"made for {num_trials} trials", f"one for {shape[0]}")
        self._state, self._job, forecast = _begin(self._scheduler, self._key)
        self.levels = tuple(self._state.table.levels.tolist())
        if self.levels[-1] != num_steps:
            expected = f"made for {num_steps} steps"
            raise fail(where, "scheduler", expected, f"one for {self.levels[-1]}")
        self.num_steps, self.num_last = (int(number) for number in forecast)
        self._stands = np.zeros(num_trials, np.int32)

    def pieces(self) -> Pieces:
        """What is to be run before the next `tell`; no row if nothing is left to do."""
        rows = np.flatnonzero(np.asarray(self._job.trial) >= 0)
        trial = np.asarray(self._job.trial)[rows]
        parent, level = np.asarray(self._job.parent)[rows], np.asarray(self._job.level)[rows]
        if (parent != trial).any():
            expected = "a scheduler of which each trial goes on from its own state"
            raise fail(self._where, "scheduler", expected, "a job whose `parent` is another trial")
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
        self._state, self._job = _advance(
            self._scheduler, self._key, np.int32(self._round), self._state, self._job, value
        )
        status = np.asarray(self._state.table.status)
        ended: np.ndarray = np.isin(status, _ENDED) | (len(self.pieces().trial) == 0)
        return ended


@jax.jit
def _begin(scheduler: Scheduler, key: Any) -> tuple[Any, Job, tuple[Any, Any]]:
    """The state and the first job, and what the scheduler takes in all (see `_forecast`)."""
    key_init, key_ask = jax.random.split(jax.random.fold_in(key, 0))
    state, job = scheduler.ask(key_ask, scheduler.init(key_init))
    return state, job, _forecast(scheduler, key, state, job)


@jax.jit
def _advance(
    scheduler: Scheduler, key: Any, number: Any, state: Any, job: Job, value: Any
) -> tuple[Any, Job]:
    """Tells a job's values, `[n]` of all trials, and asks for the next job."""
    key_tell, key_ask = jax.random.split(jax.random.fold_in(key, number))
    outcome = Outcome(value[jnp.maximum(job.trial, 0)])
    state, _ = scheduler.tell(key_tell, state, job, outcome)
    next_state, next_job = scheduler.ask(key_ask, state)
    return next_state, next_job


def _forecast(scheduler: Scheduler, key: Any, state: Any, job: Job) -> tuple[Any, Any]:
    """Steps in all, and trials that are trained to the end, if all losses were finite."""
    num_trials, num_levels = state.table.value.shape

    def go_on(loop: Any) -> Any:
        _, job, _, _, number = loop
        return jnp.any(job.trial >= 0) & (number <= num_trials * num_levels)

    def round_(loop: Any) -> Any:
        state, job, stands, steps, number = loop
        is_job = job.trial >= 0
        trial = jnp.maximum(job.trial, 0)
        steps += jnp.sum(jnp.where(is_job, job.level - stands[trial], 0).astype(steps.dtype))
        stands = stands.at[trial].max(job.level)
        value = jnp.arange(num_trials, dtype=jnp.result_type(float))
        state, job = _advance(scheduler, key, number, state, job, value)
        return state, job, stands, steps, number + 1

    # A float holds what an int32 may not: thousands of trials of a million steps.
    start = (jnp.zeros(num_trials, jnp.int32), jnp.zeros((), jnp.result_type(float)))
    loop = (state, job, *start, jnp.int32(1))
    state, _, _, steps, _ = jax.lax.while_loop(go_on, round_, loop)
    return steps, jnp.sum(state.table.status == int(Status.COMPLETE), dtype=jnp.int32)
