"""Patience: a trial ends where it has not improved for some levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from jaxhpo import _checks
from jaxhpo._base import Array, Record, setting, static_field
from jaxhpo._checks.suggest import named_arguments
from jaxhpo.schedulers._protocol import Job, Scheduler, make_scheduler
from jaxhpo.schedulers._table import Table, TableState, init_table, tell_records
from jaxhpo.schedulers.stopping._stop import check_stopping, go_on_unless, told_levels


class PatienceSettings(Record):
    """Settings of `patience`, which documents them; all but the batch size are traced."""

    unit: Array
    levels: Array
    num_levels: Array
    min_delta: Array
    batch_size: int = static_field()
    name: str = static_field()


@named_arguments
def patience(
    num_trials: int,
    num_steps: int,
    *,
    num_levels: int = 5,
    min_delta: float = 0.0,
    interval: int | None = None,
    levels: Sequence[int] | None = None,
    unit: Any = None,
    batch_size: int | None = None,
) -> Scheduler:
    """Ends a trial whose last levels were no better than its best before them.

    Trials are not compared: it saves the steps in which nothing happens any more, and stops a good
    trial like a bad one. A trial that is ended has no loss of its own in a sweep (it is PRUNED), so
    take it where the last steps of good trials still count.

    Args:
        num_trials: trials in all; static.
        num_steps: steps of a trial that is never stopped; static.
        num_levels: how many levels may pass without an improvement, at least 1. Where there are no
            more levels than that, nothing is stopped.
        min_delta: what is an improvement: a value lower than the best by more than that.
        interval: steps between two levels; None: 27 levels, if there are as many steps. Static.
        levels: the steps of all levels instead, increasing, the last one `num_steps`.
        unit: `[n, d]` points of the trials in the unit cube, for a caller that does not hold them.
        batch_size: jobs of one `ask`; all trials if None. Static.

    Returns:
        The scheduler.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: a number out of range, or levels that do not increase up to `num_steps`.

    Example:
        >>> import jax.numpy as jnp, jaxhpo as hpo
        >>> scheduler = hpo.schedulers.patience(2, 3, num_levels=1)
        >>> state = scheduler.init(0)
        >>> for values in ([1.0, 1.0], [0.9, 1.0]):
        ...     state, job = scheduler.ask(0, state)
        ...     state, _ = scheduler.tell(0, state, job, hpo.Outcome(jnp.array(values)))
        >>> scheduler.ask(0, state)[1].trial
        Array([ 0, -1], dtype=int32)

    References:
        Prechelt, "Early stopping, but when?", 1998 (the third criterion, on a held-out loss).
    """
    arguments = check_stopping(
        "patience", num_trials, num_steps, interval, levels, unit, batch_size
    )
    settings = PatienceSettings(
        arguments.unit,
        setting(arguments.levels, jnp.int32),
        setting(_checks.check_count("patience", "num_levels", num_levels, 1), jnp.int32),
        setting(
            _checks.check_not_negative("patience", "min_delta", min_delta), jnp.result_type(float)
        ),
        arguments.batch_size,
        "patience",
    )
    return make_scheduler(settings, init_table, _ask, tell_records, name="patience")


def _ask(settings: PatienceSettings, key: Any, state: TableState) -> tuple[TableState, Job]:
    del key
    return go_on_unless(state.table, _stops(settings, state.table), settings.batch_size)


def _stops(settings: PatienceSettings, table: Table) -> Array:
    """`[n]` bool, whose last levels were no better than the best before them."""
    value = jnp.where(told_levels(table), table.value, jnp.inf)
    at = jnp.arange(value.shape[1], dtype=jnp.int32)[None]
    split = (table.level - settings.num_levels)[:, None]
    before = jnp.min(jnp.where(at < split, value, jnp.inf), axis=1)
    since = jnp.min(jnp.where(at >= split, value, jnp.inf), axis=1)
    return (split[:, 0] > 0) & ~(since < before - settings.min_delta)
