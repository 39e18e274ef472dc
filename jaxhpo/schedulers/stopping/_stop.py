"""What the rules that stop trials share: their settings, and who goes on."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from jaxhpo import _checks
from jaxhpo._base import Array
from jaxhpo._status import Status
from jaxhpo.schedulers._levels import Arguments, even_levels, points
from jaxhpo.schedulers._protocol import Job
from jaxhpo.schedulers._table import Table, TableState, hand_out, is_new, is_paused

# Judgements of a trial where nobody says how many.
_LEVELS = 27


def check_stopping(
    where: str,
    num_trials: Any,
    num_steps: Any,
    interval: Any,
    levels: Any,
    unit: Any,
    batch_size: Any,
) -> Arguments:
    """Checks the arguments of a factory, which documents them; `eta` is of no use."""
    num_trials = _checks.check_count(where, "num_trials", num_trials, 1)
    num_steps = _checks.check_count(where, "num_steps", num_steps, 1)
    size = num_trials
    if batch_size is not None:
        size = min(_checks.check_count(where, "batch_size", batch_size, 1), num_trials)
    steps = even_levels(where, num_steps, interval, levels, _LEVELS)
    return Arguments(points(where, unit, num_trials), steps, 1, size)


def go_on_unless(table: Table, stops: Array, count: int) -> tuple[TableState, Job]:
    """Ends the paused trials that stop, and hands out others: the furthest first, new ones last.

    Args:
        table: the table.
        stops: `[n]` bool.
        count: rows of the job; static.

    Returns:
        The state and the job.
    """
    status = jnp.where(is_paused(table) & stops, jnp.int32(Status.PRUNED), table.status)
    table = dataclasses.replace(table, status=status)
    table, job = hand_out(table, is_new(table) | is_paused(table), (-table.level,), count)
    return TableState(table), job


def told_levels(table: Table) -> Array:
    """`[n, L]` bool, the levels that each trial was told at with a finite value."""
    at = jnp.arange(table.levels.shape[0], dtype=jnp.int32)
    return (at[None] < table.level[:, None]) & jnp.isfinite(table.value)
