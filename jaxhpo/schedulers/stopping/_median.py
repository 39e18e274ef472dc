"""Median stopping: a trial ends where most others were better on average at its step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo import _checks
from jaxhpo._base import Array, Record, setting, static_field
from jaxhpo._checks.suggest import named_arguments
from jaxhpo._status import Status
from jaxhpo.schedulers._protocol import Job, Scheduler, make_scheduler
from jaxhpo.schedulers._table import Table, TableState, init_table, tell_records
from jaxhpo.schedulers.stopping._stop import check_stopping, go_on_unless, told_levels


class MedianSettings(Record):
    """Settings of `median`, which documents them; all but the batch size are traced."""

    unit: Array
    levels: Array
    warmup: Array
    min_trials: Array
    batch_size: int = static_field()
    name: str = static_field()


@named_arguments
def median(
    num_trials: int,
    num_steps: int,
    *,
    interval: int | None = None,
    levels: Sequence[int] | None = None,
    warmup: int | None = None,
    min_trials: int = 5,
    unit: Any = None,
    batch_size: int | None = None,
) -> Scheduler:
    """Ends a trial whose best value so far is worse than the median of the others' averages.

    At a level the averages of the others are those of all their values up to it. A trial that has
    ended before counts as worse than any, so that a population is not halved at each level anew.
    Nothing has to be chosen, and curves need not be of one shape; it stops fewer trials than
    `halving`. Take it where trials come one by one and most are to be seen to their end.

    Args:
        num_trials: trials in all; static.
        num_steps: steps of a trial that is never stopped; static.
        interval: steps between two levels; None: 27 levels, if there are as many steps. Static.
        levels: the steps of all levels instead, increasing, the last one `num_steps`.
        warmup: no trial ends before this step; None: a tenth of `num_steps`.
        min_trials: others that must have come to a level, or ended before, at least 1.
        unit: `[n, d]` points of the trials in the unit cube, for a caller that does not hold them.
        batch_size: jobs of one `ask`; all trials if None. Static.

    Returns:
        The scheduler.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: a number out of range, or levels that do not increase up to `num_steps`.

    Example:
        >>> import jax.numpy as jnp, jaxhpo as hpo
        >>> scheduler = hpo.schedulers.median(5, 8, levels=[4, 8], min_trials=4)
        >>> state, job = scheduler.ask(0, scheduler.init(0))
        >>> outcome = hpo.Outcome(jnp.array([0.3, 0.1, jnp.nan, 0.2, 0.4]))
        >>> state, _ = scheduler.tell(0, state, job, outcome)
        >>> scheduler.ask(0, state)[1].trial
        Array([ 0,  1,  3, -1, -1], dtype=int32)

    References:
        Golovin et al., "Google Vizier: a service for black-box optimization", 2017, section 3.2.2.
    """
    arguments = check_stopping("median", num_trials, num_steps, interval, levels, unit, batch_size)
    if warmup is None:
        warmup = num_steps // 10
    warmup = _checks.check_count("median", "warmup", warmup, 0)
    settings = MedianSettings(
        arguments.unit,
        setting(arguments.levels, jnp.int32),
        setting(warmup, jnp.int32),
        setting(_checks.check_count("median", "min_trials", min_trials, 1), jnp.int32),
        arguments.batch_size,
        "median",
    )
    return make_scheduler(settings, init_table, _ask, tell_records, name="median")


def _ask(settings: MedianSettings, key: Any, state: TableState) -> tuple[TableState, Job]:
    del key
    return go_on_unless(state.table, _stops(settings, state.table), settings.batch_size)


def _stops(settings: MedianSettings, table: Table) -> Array:
    """`[n]` bool, of how many others the average is better than a trial's best."""
    reached = told_levels(table)
    value = jnp.where(reached, table.value, 0)
    number = jnp.arange(1, value.shape[1] + 1, dtype=value.dtype)
    mean = jnp.where(reached, jnp.cumsum(value, axis=1) / number[None], jnp.inf)
    best = jnp.min(jnp.where(reached, table.value, jnp.inf), axis=1)
    has_ended = table.status == int(Status.PRUNED)
    has_ended |= (table.status == int(Status.FAILED)) | (table.status == int(Status.INFEASIBLE))
    has_ended &= table.level > 0
    count = jnp.sum(reached | has_ended[:, None], axis=0, dtype=jnp.int32)
    # A trial's own average is never below its best, so that it does not count against itself.
    ordered = jnp.sort(mean, axis=0)
    below = jax.vmap(lambda column: jnp.searchsorted(column, best), in_axes=1, out_axes=1)(ordered)
    last = jnp.maximum(table.level - 1, 0)
    better = jnp.take_along_axis(below, last[:, None], axis=1)[:, 0]
    others = count[last] - 1
    is_warm = table.levels[last] >= settings.warmup
    return is_warm & (others >= settings.min_trials) & (2 * better > others)
