"""PB2: population-based training whose new hyperparameters a Gaussian-process bandit chooses."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo._base import Array, Outcome, Record
from jaxhpo._checks.suggest import named_arguments
from jaxhpo.schedulers._protocol import Job, Scheduler, TellInfo, make_scheduler
from jaxhpo.schedulers._table import Table, record, told
from jaxhpo.schedulers.population_based._bandit import Rows, candidates, choose, no_rows, remember
from jaxhpo.schedulers.population_based._exploit import exploit
from jaxhpo.schedulers.population_based._explore import explore
from jaxhpo.schedulers.population_based._population import (
    PbtSettings,
    PbtState,
    ask,
    check_population,
    go_on,
    groups_of,
    init,
    round_of,
    values_at,
)
from jaxhpo.space import Space

# Candidates of a loser: drawn anew, and beside its parent's point.
_FAR, _NEAR = 48, 16


class Pb2State(Record):
    """State of `pb2`: that of `pbt`, the values that pieces began with, and what they brought."""

    table: Table
    parent: Array
    base: Array
    rows: Rows


@named_arguments
def pb2(
    num_trials: int,
    num_steps: int,
    *,
    space: Space,
    interval: int | None = None,
    levels: Sequence[int] | None = None,
    intervals: Sequence[int] | None = None,
    unit: Any = None,
    batch_size: int | None = None,
) -> Scheduler:
    """Population-based bandits: `pbt`, where a model says which hyperparameters pay next.

    Who copies whom is as in `pbt`. A loser's new point is the one, of candidates everywhere and
    beside its parent's, with the lowest confidence bound of the change that an interval brings: a
    Gaussian process learns it over points and time from the last rounds, with its noise. All kinds
    of dimensions are modelled on their own scale; static values are kept.

    Take it for few trials, which cannot try much by chance. It looks one interval ahead: where what
    lowers the loss at once is bad in the end, as with learning rates, `pbt` is better.

    Args:
        num_trials: trials, all of which train to the end; at least 4; static.
        num_steps: steps of each; static.
        space: of the points.
        interval: steps between two decisions; None: a 40th of `num_steps`. Static.
        levels: the steps of all decisions instead, increasing, the last one `num_steps`.
        intervals: sub-populations, as in `pbt`.
        unit: `[n, d]` points to begin with; None: drawn from the space.
        batch_size: jobs of one `ask`; all trials if None. Static.

    Returns:
        The scheduler.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: a number out of range, fewer than 4 trials, or fewer steps than an interval.

    Example:
        >>> import jaxhpo as hpo
        >>> space = hpo.Space({"lr": hpo.log_uniform(1e-4, 1.0), "kind": ["a", "b"]})
        >>> scheduler = hpo.schedulers.pb2(8, 100, space=space, interval=10)
        >>> scheduler.ask(0, scheduler.init(0))[1].unit.shape
        (8, 2)

    References:
        Parker-Holder et al., "Provably efficient online hyperparameter optimization with
        population-based bandits", 2020, https://arxiv.org/abs/2002.02518.
        Parker-Holder et al., "Tuning mixed input hyperparameters on the fly for efficient
        population based AutoRL", 2021, https://arxiv.org/abs/2106.15883.
    """
    settings = check_population(
        "pb2", num_trials, num_steps, space, interval, levels, intervals, unit, batch_size
    )
    return make_scheduler(settings, _init, _ask, _tell, name="pb2", space=settings.space)


def _init(settings: PbtSettings, key: Array) -> Pb2State:
    state = init(settings, key)
    rows = no_rows(settings.num_trials, len(settings.levels), settings.space.num_dims)
    base = jnp.full(settings.num_trials, jnp.nan, state.table.value.dtype)
    return Pb2State(state.table, state.parent, base, rows)


def _ask(settings: PbtSettings, key: Array, state: Pb2State) -> tuple[Pb2State, Job]:
    asked, job = ask(settings, key, PbtState(state.table, state.parent))
    return dataclasses.replace(state, table=asked.table, parent=asked.parent), job


def _tell(
    settings: PbtSettings, key: Array, state: Pb2State, job: Job, outcome: Outcome
) -> tuple[Pb2State, TellInfo]:
    before = state.table
    table = record("pb2", before, job, outcome)
    number, is_over = round_of(table)

    def decide() -> Pb2State:
        return _decide(settings, key, dataclasses.replace(state, table=table), number)

    changed = dataclasses.replace(state, table=table)
    after = jax.lax.cond(is_over, decide, lambda: changed)
    return after, told(before, after.table)


def _decide(settings: PbtSettings, key: Array, state: Pb2State, number: Array) -> Pb2State:
    table, space = state.table, settings.space
    value = values_at(table, number)
    rows = remember(state.rows, table.unit, value - state.base, number)
    copies = exploit(groups_of(settings, table.unit), value, number)
    parents = table.unit[copies.point]
    key_far, key_near = jax.random.split(key)
    far = candidates(space, key_far, parents, _FAR)
    near = jax.vmap(lambda one: explore(space, settings.steps, one, parents), out_axes=1)(
        jax.random.split(key_near, _NEAR)
    )
    unit = choose(space, rows, number, jnp.concatenate([near, far], axis=1))
    own = PbtState(table, state.parent)
    gone = go_on(own, table, copies, unit, number, jnp.ones((), bool))
    return Pb2State(gone.table, gone.parent, value[copies.state], rows)
