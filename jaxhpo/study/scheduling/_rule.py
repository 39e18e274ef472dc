"""A scheduler as a function of what trials have reported.

So every process that reads the storage decides the same, and a study that was killed decides as if
it had not been.
"""

from __future__ import annotations

import functools
import hashlib
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxhpo._checks import fail
from jaxhpo._status import Status
from jaxhpo.schedulers import Scheduler
from jaxhpo.schedulers.internal import (
    Standing,
    check_jobs,
    check_kind,
    check_levels,
    check_table,
    judges_rungs,
    makes_points,
    proposes,
    resolve,
)
from jaxhpo.study.scheduling._fold import Fold, Programs


class Decision(NamedTuple):
    """What a rule makes of a population.

    Attributes:
        status: `[n]` status of each trial after all that was reported, and the decision.
        trial: row of the trial to run next, or -1.
        level: the step up to which to run it.
        then: rows and levels of those that are next, whatever the trials before them report, unless
            they complete a rung; empty where the rule promises none.
    """

    status: np.ndarray
    trial: int
    level: int
    then: tuple[tuple[int, int], ...] = ()


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
        self._is_by_rungs = judges_rungs(self._scheduler)
        if isinstance(scheduler, str) and not self._is_by_rungs:
            # A decision is about one trial. The settings, and so the identity, are the same.
            settings = {"batch_size": 1}
            self._scheduler = resolve(where, "scheduler", scheduler, size, num_steps, **settings)
        _check_keeps_points(where, self._scheduler)
        table = check_table(where, self._scheduler)
        if table.unit.shape[1]:
            expected = "made without `unit`: the study's sampler proposes the points"
            raise fail(where, "scheduler", expected, f"points {table.unit.shape}")
        self.size = table.status.shape[0]
        self.levels = check_levels(where, _levels(self._scheduler), num_steps)
        self.text = _identity(self._scheduler)
        self._programs = Programs(self._scheduler, seed)

    def fold(self) -> Fold:
        """The state for a population of which nothing is known."""
        return Fold(self._programs)

    def decide(
        self, fold: Fold, value: np.ndarray, told: np.ndarray, status: np.ndarray
    ) -> Decision:
        """Tells all that was reported, and asks who goes on.

        Args:
            fold: the state for the population.
            value: `[n, L]` values to minimise, NaN where a trial has failed.
            told: `[n, L]` bool, which of them are there.
            status: `[n]` int32 statuses that are known otherwise, -1 where the rule is to find it.

        Returns:
            The decision.

        Raises:
            ValueError: the rule asks for what a study cannot run.
        """
        answer = fold.ask(value, told, status)
        decision = Decision(answer.status, int(answer.trial[0]), int(answer.level[0]))
        if decision.trial < 0:
            return decision
        steps = np.asarray((0, *self.levels))[told.sum(axis=1)]
        standing = Standing(self.levels, steps, (status >= 0) & (status != Status.RUNNING))
        first = (answer.trial[:1], answer.parent[:1], answer.level[:1])
        check_jobs(self._where, standing, *first)
        if self._is_by_rungs:
            jobs = zip(answer.trial.tolist(), answer.level.tolist(), strict=True)
            decision = decision._replace(then=tuple(job for job in jobs if job[0] >= 0)[1:])
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
        return self.decide(self.fold(), np.zeros(shape), told, status).trial != 0


def steps_of(where: str, scheduler: Any, num_steps: int | None) -> int:
    """Reports of a whole trial under a scheduler: a ready-made one knows them.

    Args:
        where: the function to name in errors.
        scheduler: its argument.
        num_steps: its argument, or None.

    Returns:
        The number.

    Raises:
        TypeError: no scheduler; or `num_steps` is None, and the scheduler is not ready-made.
        ValueError: no scheduler of that name, or one that changes hyperparameters.
    """
    check_kind(where, "scheduler", scheduler, keeps_points=True)
    _check_keeps_points(where, scheduler)
    if num_steps is not None:
        return num_steps
    if isinstance(scheduler, Scheduler):
        check_table(where, scheduler)
        return _levels(scheduler)[-1]
    expected = "the most reports of a trial where `scheduler` is not ready-made"
    raise TypeError(f"{where}: `num_steps` must be {expected}, got None.")


def _check_keeps_points(where: str, scheduler: Any) -> None:
    """Refuses population-based training, by its name before it is made, and other samplers."""
    if isinstance(scheduler, Scheduler) and proposes(scheduler):
        expected = "made without `sampler`: the study's own sampler proposes the points"
        raise fail(where, "scheduler", expected, "one with a sampler")
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
