"""One row of the schedulers' conformance suite, and the loop that its checks drive."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._base import Array, Outcome, PyTree
from jaxhpo.schedulers import Job, Scheduler
from jaxhpo.schedulers.internal import wants_gradient


@dataclasses.dataclass(frozen=True)
class SchedulerCase:
    """A scheduler's row: how it is made and what it promises.

    Attributes:
        name: its name, as in `schedulers.get`.
        factory: `factory(num_trials, num_steps, *, unit=None, batch_size=None, **settings)`.
        counts: how many of `num_trials` trials are told at each level if all are asked at once and
            none fails.
        settings: keyword arguments of the factory.
        variant: tells rows of one name apart.
        num_trials: trials of the checks.
        num_steps: steps of a whole trial.
        is_synchronous: decisions do not depend on how many jobs are asked at once.
        is_symmetric: apart from ties, a trial's number does not matter.
        breaks_ties: ties go to the lower number; else equal trials go on, or end, together.
        is_ordinal: decisions depend on the order of the values alone.
        proposes: new trials get other points than those that they had.
        may_copy: trials go on from copies of others, at new points, and failed ones among them.
    """

    name: str
    factory: Callable[..., Scheduler]
    counts: tuple[int, ...]
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    variant: str = ""
    num_trials: int = 30
    num_steps: int = 27
    is_synchronous: bool = True
    is_symmetric: bool = True
    breaks_ties: bool = True
    is_ordinal: bool = True
    proposes: bool = False
    may_copy: bool = False

    @property
    def id(self) -> str:
        """Name and variant."""
        return f"{self.name}-{self.variant}" if self.variant else self.name

    def make(self, **more: Any) -> Scheduler:
        """Makes the scheduler, of points in two dimensions; `more` settings go before the row's."""
        unit = np.random.default_rng(5).uniform(size=(self.num_trials, 2))
        settings = {"unit": unit, **self.settings, **more}
        return self.factory(self.num_trials, self.num_steps, **settings)

    def curves(self, scheduler: Scheduler, seed: int = 0) -> np.ndarray:
        """Values `[n, L]` that differ, and whose order changes from level to level."""
        levels = scheduler.init(study_key()).table.levels
        shape = (self.num_trials, len(levels))
        rng = np.random.default_rng(seed)
        good = rng.permutation(self.num_trials)[:, None]
        return np.asarray(good + rng.uniform(0.0, 5.0, shape), jnp.result_type(float))


# The scheduler is an argument, so that all checks share one program per structure.
init = jax.jit(lambda scheduler, key: scheduler.init(key))
ask = jax.jit(lambda scheduler, key, state: scheduler.ask(key, state))
tell = jax.jit(
    lambda scheduler, key, state, job, value: scheduler.tell(
        key, state, job, outcome_of(state, job, value)
    )
)


def study_key() -> Array:
    """A fixed key."""
    return jax.random.key(1000)


def outcome_of(state: PyTree, job: Job, value: Array) -> Outcome:
    """The outcome of jobs, with a gradient towards the middle of the cube if the rule wants one."""
    return Outcome(value, gradient=job.unit - 0.5 if wants_gradient(state) else None)


def value_of(job: Job, levels: Array, curves: Array) -> Array:
    """Values `[q]` of jobs, from values `[n, L]` of all trials; rows of no job give one too."""
    rung = jnp.sum(levels[None] < job.level[:, None], axis=1)
    return curves[jnp.maximum(job.trial, 0), rung]


def drive(
    scheduler: Scheduler, curves: Any, most: int = 400
) -> tuple[PyTree, list[tuple[int, int]]]:
    """Asks and tells on the host until nothing is left to do.

    Args:
        scheduler: the scheduler.
        curves: `[n, L]` values.
        most: rounds after which it has to be over.

    Returns:
        The state, and `(trial, level)` of all jobs in their order.
    """
    jobs: list[tuple[int, int]] = []
    state = init(scheduler, study_key())
    for number in range(most):
        key_ask, key_tell = jax.random.split(jax.random.fold_in(study_key(), number))
        state, job = ask(scheduler, key_ask, state)
        here = [(int(t), int(s)) for t, s in zip(job.trial, job.level, strict=True) if t >= 0]
        if not here:
            return state, jobs
        jobs += here
        value = value_of(job, state.table.levels, jnp.asarray(curves))
        state, _ = tell(scheduler, key_tell, state, job, value)
    raise AssertionError(f"the scheduler still has jobs after {most} rounds")
