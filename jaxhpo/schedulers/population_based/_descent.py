"""Population-based training whose hyperparameters follow their hypergradients."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from jaxhpo._base import Array, Outcome, Record, setting
from jaxhpo._checks import describe, fail
from jaxhpo.schedulers._protocol import Job, Scheduler, TellInfo, make_scheduler
from jaxhpo.schedulers._table import Table, is_paused, record, told
from jaxhpo.schedulers.population_based._exploit import exploit
from jaxhpo.schedulers.population_based._explore import explore, real_columns
from jaxhpo.schedulers.population_based._population import (
    PbtSettings,
    PbtState,
    ask,
    go_on,
    groups_of,
    init,
    round_of,
    values_at,
)

# What a coordinate moves by in a whole run at most. Measured with `benchmarks/pbt.py`.
_TRAVEL = 0.7
# The slope of the next loss is no slope of the last one, and neither is its rank: where every
# trial improves by itself, few copies suffice.
_COPIES = 4


class DescentSettings(Record):
    """Settings: those of `pbt`, and how far a coordinate moves in a round; traced."""

    pbt: PbtSettings
    size: Array


class DescentState(Record):
    """State: that of `pbt`, and `[n, d]` gradients of the last values."""

    table: Table
    parent: Array
    gradient: Array


def default_intervals(num_rounds: int) -> list[int]:
    """How many rounds apart copies are made."""
    return [max(1, num_rounds // _COPIES)]


def descent(settings: PbtSettings) -> Scheduler:
    """Makes the scheduler of checked settings."""
    size = setting(_TRAVEL / len(settings.levels), jnp.result_type(float))
    whole = DescentSettings(settings, size)
    return make_scheduler(whole, _init, _ask, _tell, name="pbt", space=settings.space)


def _init(settings: DescentSettings, key: Array) -> DescentState:
    state = init(settings.pbt, key)
    return DescentState(state.table, state.parent, jnp.zeros_like(state.table.unit))


def _ask(settings: DescentSettings, key: Array, state: DescentState) -> tuple[DescentState, Job]:
    asked, job = ask(settings.pbt, key, PbtState(state.table, state.parent))
    return DescentState(asked.table, asked.parent, state.gradient), job


def _tell(
    settings: DescentSettings, key: Array, state: DescentState, job: Job, outcome: Outcome
) -> tuple[DescentState, TellInfo]:
    before = state.table
    _check_gradient(job, outcome.gradient)
    table = record("pbt", before, job, outcome)
    gradient = _remember(state.gradient, before, table, job, outcome.gradient)
    number, is_over = round_of(table)
    groups = groups_of(settings.pbt, table.unit)
    copies = exploit(groups, values_at(table, number), number)
    unit = _descend(settings, key, table.unit, gradient, copies.point)
    moves = is_over & is_paused(table)
    moved = dataclasses.replace(table, unit=jnp.where(moves[:, None], unit, table.unit))
    gone = go_on(PbtState(table, state.parent), moved, copies, unit, number, is_over)
    return DescentState(gone.table, gone.parent, gradient), told(before, gone.table)


def _check_gradient(job: Job, gradient: Any) -> None:
    expected = f"the gradient of each value by the unit cube, shape {job.unit.shape}"
    if gradient is None:
        raise TypeError(f"pbt.tell: `outcome.gradient` must be {expected}, got {describe(None)}.")
    if jnp.shape(gradient) != job.unit.shape:
        raise fail("pbt.tell", "outcome.gradient", expected, jnp.shape(gradient))


def _remember(known: Array, before: Table, after: Table, job: Job, gradient: Any) -> Array:
    """The gradients, those of the values that were recorded just now among them."""
    n = len(known)
    given = known.at[jnp.where(job.trial >= 0, job.trial, n)].set(
        jnp.asarray(gradient, known.dtype), mode="drop"
    )
    return jnp.where((after.level != before.level)[:, None], given, known)


def _descend(
    settings: DescentSettings, key: Array, unit: Array, gradient: Array, source: Array
) -> Array:
    """New points: each real coordinate steps down its slope, the others move as in `pbt`.

    Only the sign of a slope counts: scales differ between losses, times and coordinates. Other
    coordinates are drawn anew or step aside only in a trial that copies another.
    """
    space, own = settings.pbt.space, jnp.arange(len(unit), dtype=jnp.int32)
    is_real = jnp.broadcast_to(jnp.asarray(real_columns(space)), unit.shape)
    start, slope = unit[source], gradient[source]
    is_moved = is_real | (source == own)[:, None]
    start = jnp.where(is_moved, start, explore(space, settings.pbt.steps, key, start))
    step = settings.size.astype(unit.dtype) * jnp.sign(
        jnp.where(jnp.isfinite(slope), slope, jnp.zeros_like(slope))
    )
    is_free = is_real & space.active_columns(start)
    moved = jnp.where(is_free, jnp.clip(start - step, 0.0, 1.0), start)
    if not space.has_constraints:
        return moved
    return jnp.where(space.allows(moved)[:, None], moved, unit[source])
