"""The synchronous rule: once all of a rung have been told, the best share of them goes on."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._base import Array, Outcome, Record, setting, static_field
from jaxhpo._status import Status
from jaxhpo.schedulers._levels import Arguments
from jaxhpo.schedulers._protocol import Job, Scheduler, TellInfo, make_scheduler
from jaxhpo.schedulers._table import (
    Table,
    TableState,
    hand_out,
    init_table,
    is_new,
    is_paused,
    is_promoted,
    ranks,
    record,
    told,
)


class Settings(Record):
    """Settings of a synchronous rule.

    Attributes:
        unit: `[n, d]` points.
        levels: `[L]` int32 steps.
        eta: `[]` int32, one of how many goes on.
        bracket: `[n]` int32 bracket of each trial.
        first: `[b]` int32 first rung at which a bracket is cut.
        batch_size: rows of a job.
        in_turn: whether a bracket goes before the next one, rather than a lower level.
        name: for errors.
    """

    unit: Array
    levels: Array
    eta: Array
    bracket: Array
    first: Array
    batch_size: int = static_field()
    in_turn: bool = static_field()
    name: str = static_field()


def synchronous(
    name: str,
    arguments: Arguments,
    bracket: np.ndarray,
    first: np.ndarray,
    *,
    in_turn: bool = False,
) -> Scheduler:
    """Makes a scheduler of brackets that are cut at some of the levels.

    All brackets share the levels, and one that is not cut at a level passes it: so all trials of a
    population stand at one step, whatever their bracket, unless brackets take turns.

    Args:
        name: of the scheduler.
        arguments: checked.
        bracket: `[n]` bracket of each trial.
        first: `[b]` first rung at which each bracket is cut.
        in_turn: whether the trials of a bracket are handed out before those of the next one.

    Returns:
        The scheduler.
    """
    settings = Settings(
        arguments.unit,
        setting(arguments.levels, jnp.int32),
        setting(arguments.eta, jnp.int32),
        setting(bracket, jnp.int32),
        setting(first, jnp.int32),
        arguments.batch_size,
        in_turn,
        name,
    )
    return make_scheduler(settings, init_table, _ask, _tell, name=name)


def judges_rungs(scheduler: Scheduler) -> bool:
    """Whether a scheduler is one of these: the jobs of an `ask` hold until a rung is complete."""
    return isinstance(getattr(scheduler.ask, "args", (None,))[0], Settings)


def _ask(settings: Settings, key: Any, state: TableState) -> tuple[TableState, Job]:
    del key
    table = state.table
    ready = is_new(table) | is_promoted(table)
    order = (settings.bracket, table.level) if settings.in_turn else (table.level,)
    table, job = hand_out(table, ready, order, settings.batch_size)
    return TableState(table), job


def _tell(
    settings: Settings, key: Any, state: TableState, job: Job, outcome: Outcome
) -> tuple[TableState, TellInfo]:
    del key
    before = state.table
    after = _cut(settings, record(settings.name, before, job, outcome))
    return TableState(after), told(before, after)


def _cut(settings: Settings, table: Table) -> Table:
    """Lets the best of each complete rung go on, and stops the others.

    The rung at which a bracket stands is the largest number of levels that one of its trials was
    let go on from; those with that number are its entrants.
    """
    bracket, num_levels = settings.bracket, table.levels.shape[0]
    brackets = jnp.arange(settings.first.shape[0], dtype=jnp.int32)
    is_member = bracket[None] == brackets[:, None]
    rung = jnp.max(jnp.where(is_member, table.promoted[None], 0), axis=1)
    here = rung[bracket]
    is_entrant = table.promoted == here
    is_awaited = is_entrant & (table.level <= here)
    is_complete = ~jnp.any(is_member & is_awaited[None], axis=1)
    count = jnp.sum(is_member & is_entrant[None], axis=1, dtype=jnp.int32)
    keep = jnp.where(rung < settings.first, count, jnp.maximum(1, count // settings.eta))
    value = jnp.take_along_axis(table.value, here[:, None], axis=1)[:, 0]
    # Who has dropped out earlier ranks behind all, and NaN behind what is finite.
    value = jnp.where(is_entrant, value, jnp.asarray(jnp.nan, value.dtype))
    is_judged = is_complete[bracket] & is_entrant & is_paused(table) & (here < num_levels - 1)
    is_judged &= table.level == here + 1
    # Most tells complete no rung, and the sort is most of what one costs.
    place = jax.lax.cond(
        jnp.any(is_judged),
        lambda value: ranks(value, bracket, len(brackets)),
        lambda value: jnp.zeros(value.shape, jnp.int32),
        value,
    )
    goes_on = is_judged & (place < keep[bracket])
    pruned = jnp.where(is_judged & ~goes_on, jnp.int32(Status.PRUNED), table.status)
    promoted = jnp.where(goes_on, here + 1, table.promoted)
    return dataclasses.replace(table, status=pruned, promoted=promoted)
