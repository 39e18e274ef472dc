"""A scheduler's state as a fold of `tell` over what was reported, and what it then asks for.

All values are folded level by level, so the state is a function of what the storage holds. A rule
whose `tell` only writes down is told what is new, which comes to the same and costs less.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._base import Outcome
from jaxhpo._status import Status
from jaxhpo.schedulers import Job, Scheduler
from jaxhpo.schedulers.internal import decides_in_ask

_STREAM = np.uint32(2**32 - 5)
"""Stream of the study's key that a rule draws from."""

_MOST_CELLS = 8
"""New values up to which each is told by itself; of more, all are folded anew."""


_NOTHING = np.array([[-1, 0]], np.int32)


class Answer(NamedTuple):
    """What a rule answers.

    Attributes:
        status: `[n]` int32 status of each trial.
        trial: `[q]` of the job, -1 where there is none.
        parent: `[q]` of the job.
        level: `[q]` of the job.
    """

    status: np.ndarray
    trial: np.ndarray
    parent: np.ndarray
    level: np.ndarray


class Programs:
    """What a scheduler's programs need, flat: to take its pytree apart costs as much as a run.

    Attributes:
        can_add: whether `more` is the same as `whole`.
    """

    def __init__(self, scheduler: Scheduler, seed: int) -> None:
        """Takes a checked scheduler, and the study's seed."""
        leaves, structure = jax.tree.flatten(scheduler)
        self._leaves = tuple(jax.device_put(leaves))
        self._seed = jax.device_put(np.int64(seed).astype(jnp.result_type(int)))
        self._whole, self._more = _compiled(structure)
        self.can_add = decides_in_ask(scheduler)

    def whole(self, value: np.ndarray, told: np.ndarray, status: np.ndarray) -> tuple[Any, Any]:
        """Folds all values; the leaves of the state, and the answer as one array."""
        found: tuple[Any, Any] = self._whole(self._leaves, self._seed, value, told, status)
        return found

    def more(self, state: Any, cell: np.ndarray, value: Any, status: np.ndarray) -> tuple[Any, Any]:
        """Tells one value more, of a trial at a level, or of -1 nothing; `state` is used up."""
        arguments = (self._leaves, self._seed, state, cell, value, status)
        found: tuple[Any, Any] = self._more(*arguments)
        return found


class Fold:
    """The state of a rule for one population."""

    def __init__(self, programs: Programs) -> None:
        """Nothing has been told."""
        self._programs = programs
        self._state: Any = None
        self._value: np.ndarray = np.zeros((0, 0))
        self._told: np.ndarray = np.zeros((0, 0), bool)

    def ask(self, value: np.ndarray, told: np.ndarray, status: np.ndarray) -> Answer:
        """Tells what is new, and asks.

        Args:
            value: `[n, L]` values to minimise, NaN where a trial has failed.
            told: `[n, L]` bool, which of them are there.
            status: `[n]` int32 statuses that are known otherwise, -1 where the rule is to find it.

        Returns:
            The answer.
        """
        cells = self._new_cells(value, told)
        if cells is None:
            self._state, answer = self._programs.whole(value, told, status)
        else:
            state, self._state = self._state, None
            for cell in cells:
                state, answer = self._programs.more(state, cell, value[cell[0], cell[1]], status)
            self._state = state
        self._value, self._told = value.copy(), told.copy()
        found, n = np.asarray(answer), len(status)
        return Answer(found[:n], *found[n:].reshape(3, -1))

    def _new_cells(self, value: np.ndarray, told: np.ndarray) -> np.ndarray | None:
        """Row and level `[c, 2]` of what is new, lower levels first, row -1 where that is nothing.

        None where all is to be folded anew.
        """
        before = self._told
        if not self._programs.can_add or self._state is None or (before & ~told).any():
            return None
        old, new = self._value[before], value[before]
        if ((old != new) & ~(np.isnan(old) & np.isnan(new))).any():
            return None
        level, row = np.nonzero((told & ~before).T)
        if len(row) > _MOST_CELLS:
            return None
        if not len(row):
            return _NOTHING
        return np.stack([row, level], axis=1).astype(np.int32)


@functools.cache
def _compiled(structure: Any) -> tuple[Any, Any]:
    """The two programs, of a scheduler's structure."""

    def keys(seed: Any) -> Any:
        return jax.random.split(jax.random.fold_in(jax.random.key(seed), _STREAM), 3)

    def tell(scheduler: Scheduler, key: Any, state: Any, level: Any, trial: Any, value: Any) -> Any:
        table = state.table
        unit = jnp.full((len(trial), table.unit.shape[1]), jnp.nan, table.unit.dtype)
        job = Job(trial, unit, trial, jnp.full(trial.shape, table.levels[level]))
        return scheduler.tell(jax.random.fold_in(key, level), state, job, Outcome(value))[0]

    def answer(scheduler: Scheduler, key: Any, state: Any, status: Any) -> tuple[Any, Any]:
        table = state.table
        known = jnp.where(status >= 0, status, table.status)
        # Whoever runs was let go on from where it stands.
        is_running = known == int(Status.RUNNING)
        promoted = jnp.where(is_running, table.level, table.promoted)
        changed = dataclasses.replace(table, status=known, promoted=promoted)
        asked, job = scheduler.ask(key, dataclasses.replace(state, table=changed))
        packed = jnp.concatenate([asked.table.status, job.trial, job.parent, job.level])
        return tuple(jax.tree.leaves(state)), packed

    def whole(leaves: Any, seed: Any, value: Any, told: Any, status: Any) -> tuple[Any, Any]:
        scheduler = jax.tree.unflatten(structure, leaves)
        key_init, key_tell, key_ask = keys(seed)
        rows = jnp.arange(value.shape[0], dtype=jnp.int32)

        def step(state: Any, level: Any) -> tuple[Any, None]:
            trial = jnp.where(told[:, level], rows, jnp.int32(-1))
            return tell(scheduler, key_tell, state, level, trial, value[:, level]), None

        levels = jnp.arange(value.shape[1], dtype=jnp.int32)
        state, _ = jax.lax.scan(step, scheduler.init(key_init), levels)
        # What passes through unchanged would be the scheduler's own buffer, which `more` uses up.
        return answer(scheduler, key_ask, jax.lax.optimization_barrier(state), status)

    def more(
        leaves: Any, seed: Any, state: Any, cell: Any, value: Any, status: Any
    ) -> tuple[Any, Any]:
        scheduler = jax.tree.unflatten(structure, leaves)
        key_init, key_tell, key_ask = keys(seed)
        kind = jax.tree.structure(jax.eval_shape(scheduler.init, key_init))
        state = jax.tree.unflatten(kind, state)
        state = tell(scheduler, key_tell, state, cell[1], cell[:1], value[None])
        return answer(scheduler, key_ask, state, status)

    return jax.jit(whole), jax.jit(more, donate_argnums=2)
