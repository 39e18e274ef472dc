"""A scheduler as a function of what trials have reported: nothing of it is kept between decisions.

Its state is folded anew, level by level, from the values that the storage holds. So every process
decides the same, and a study that was killed decides as if it had not been.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._base import Outcome
from jaxhpo._checks import fail
from jaxhpo._status import Status
from jaxhpo.schedulers import Job, Scheduler
from jaxhpo.schedulers.internal import check_levels, check_table, makes_points, resolve

_STREAM = np.uint32(2**32 - 5)
"""Stream of the study's key that a rule draws from."""


class Decision(NamedTuple):
    """What a rule makes of a population.

    Attributes:
        status: `[n]` status of each trial after all that was reported.
        trial: row of the trial to run next, or -1.
        level: the step up to which to run it.
    """

    status: np.ndarray
    trial: int
    level: int


class Rule:
    """A checked scheduler for populations of one size.

    Attributes:
        size: trials of a population.
        levels: the steps at which it judges trials.
        text: identifies the rule and its settings.
    """

    def __init__(self, where: str, scheduler: Any, size: int, num_steps: int, seed: int) -> None:
        """Makes a scheduler of its name.

        Args:
            where: the function to name in errors.
            scheduler: its argument.
            size: trials of a population, if the scheduler is not ready-made.
            num_steps: reports of a whole trial.
            seed: the study's.

        Raises:
            TypeError: no scheduler, or one whose state has no table.
            ValueError: no scheduler of that name, or one for other steps, with points of its own or
                with new ones.
        """
        self._where = where
        _check_keeps_points(where, scheduler)
        self._scheduler = resolve(where, "scheduler", scheduler, size, num_steps)
        _check_keeps_points(where, self._scheduler)
        self._key = np.int64(seed).astype(jnp.result_type(int))
        table = check_table(where, self._scheduler)
        if table.unit.shape[1]:
            expected = "made without `unit`: the study's sampler proposes the points"
            raise fail(where, "scheduler", expected, f"points {table.unit.shape}")
        self.size = table.status.shape[0]
        self.levels = check_levels(where, _levels(self._scheduler), num_steps)
        self.text = _identity(self._scheduler)

    def decide(self, value: np.ndarray, told: np.ndarray, status: np.ndarray) -> Decision:
        """Tells all that was reported, and asks who goes on.

        Args:
            value: `[n, L]` values to minimise, NaN where a trial has failed.
            told: `[n, L]` bool, which of them are there.
            status: `[n]` int32 statuses that are known otherwise, -1 where the rule is to find it.

        Returns:
            The decision.

        Raises:
            ValueError: the rule asks for what a study cannot run.
        """
        found = jax.device_get(_decide()(self._scheduler, self._key, value, told, status))
        after, trial, parent, level = (np.asarray(one) for one in found)
        decision = Decision(after, int(trial[0]), int(level[0]))
        if decision.trial < 0:
            return decision
        if int(parent[0]) != decision.trial:
            expected = "one of which each trial goes on from its own state"
            raise fail(self._where, "scheduler", expected, "a job whose `parent` is another trial")
        reached = int(told[decision.trial].sum())
        if decision.level not in self.levels[reached:]:
            expected = "one whose jobs go to a later level of its table"
            got = f"a job of trial {decision.trial} to step {decision.level}"
            raise fail(self._where, "scheduler", expected, got)
        return decision

    @functools.cached_property
    def waits_for_others(self) -> bool:
        """Whether it never lets the only trial that was seen go on: it judges whole rungs."""
        shape = (self.size, len(self.levels))
        if len(self.levels) == 1:
            return False
        told = np.zeros(shape, bool)
        told[0, 0] = True
        status = np.full(self.size, Status.PRUNED, np.int32)
        status[0] = -1
        return self.decide(np.zeros(shape), told, status).trial != 0


def steps_of(where: str, scheduler: Any, num_steps: int | None) -> int:
    """Reports of a whole trial under a scheduler: a ready-made one knows them.

    Args:
        where: the function to name in errors.
        scheduler: its argument.
        num_steps: its argument, or None.

    Returns:
        The number.

    Raises:
        TypeError: it is None, and the scheduler is not ready-made.
        ValueError: a scheduler that changes hyperparameters.
    """
    _check_keeps_points(where, scheduler)
    if num_steps is not None:
        return num_steps
    if isinstance(scheduler, Scheduler):
        check_table(where, scheduler)
        return _levels(scheduler)[-1]
    expected = "the most reports of a trial where `scheduler` is not ready-made"
    raise TypeError(f"{where}: `num_steps` must be {expected}, got None.")


def _check_keeps_points(where: str, scheduler: Any) -> None:
    """Refuses population-based training, by its name before it is made."""
    if makes_points(scheduler):
        expected = (
            "one that keeps the params of a trial, since an objective goes on from no other "
            "trial's state (`Study.sweep` and `population.sweep` run those that do not)"
        )
        got = scheduler if isinstance(scheduler, str) else "one made with a `space`"
        raise fail(where, "scheduler", expected, got)


def _levels(scheduler: Scheduler) -> list[int]:
    """Steps of the levels; the state is made in one program."""
    levels: list[int] = _first_levels()(scheduler).tolist()
    return levels


@functools.cache
def _first_levels() -> Any:
    """The program that makes a table and takes its levels, one for each structure and size."""
    return jax.jit(lambda scheduler: scheduler.init(0).table.levels)


def _identity(scheduler: Scheduler) -> str:
    """A name, and a number that differs where any setting does."""
    leaves, structure = jax.tree.flatten(scheduler)
    digest = hashlib.sha256()
    for leaf in leaves:
        array = np.asarray(leaf)
        digest.update(f"{array.dtype.kind}{array.shape}".encode() + array.astype(float).tobytes())
    name = getattr(getattr(scheduler.ask, "func", None), "name", "") or type(structure).__name__
    return f"{name}-{digest.hexdigest()[:12]}"


def _fold(
    scheduler: Scheduler, seed: Any, value: Any, told: Any, status: Any
) -> tuple[Any, Any, Any, Any]:
    """Tells the values of all trials level by level, overwrites what is known, and asks."""
    key = jax.random.fold_in(jax.random.key(seed), _STREAM)
    key_init, key_tell, key_ask = jax.random.split(key, 3)
    state = scheduler.init(key_init)
    rows = jnp.arange(value.shape[0], dtype=jnp.int32)
    levels = state.table.levels
    unit = jnp.full(state.table.unit.shape, jnp.nan, state.table.unit.dtype)

    def tell(state: Any, level: Any) -> tuple[Any, None]:
        trial = jnp.where(told[:, level], rows, jnp.int32(-1))
        job = Job(trial, unit, rows, jnp.full(rows.shape, levels[level]))
        outcome = Outcome(value[:, level])
        return scheduler.tell(jax.random.fold_in(key_tell, level), state, job, outcome)[0], None

    state, _ = jax.lax.scan(tell, state, jnp.arange(levels.shape[0], dtype=jnp.int32))
    table = state.table
    known = jnp.where(status >= 0, status, table.status)
    # Whoever runs was let go on from where it stands.
    is_running = known == int(Status.RUNNING)
    promoted = jnp.where(is_running, table.level, table.promoted)
    changed = dataclasses.replace(table, status=known, promoted=promoted)
    state, job = scheduler.ask(key_ask, dataclasses.replace(state, table=changed))
    return known, job.trial, job.parent, job.level


@functools.cache
def _decide() -> Any:
    """The program that decides, one for each structure and size."""
    return jax.jit(_fold)
