"""ASHA: halving without waiting for a rung, by promotion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp

from jaxhpo._base import Array, Record, setting, static_field
from jaxhpo._checks.suggest import named_arguments
from jaxhpo._status import Status
from jaxhpo.schedulers._levels import LATE_SHARE, check_arguments
from jaxhpo.schedulers._proposals import expected_steps, proposing, rung_counts
from jaxhpo.schedulers._protocol import Job, Scheduler, make_scheduler
from jaxhpo.schedulers._table import (
    Table,
    TableState,
    hand_out,
    init_table,
    is_new,
    is_paused,
    ranks,
    tell_records,
)


class AshaSettings(Record):
    """Settings of ASHA; see `asha`."""

    unit: Array
    levels: Array
    eta: Array
    batch_size: int = static_field()
    name: str = static_field()


if TYPE_CHECKING:
    from jaxhpo.space import Space


@named_arguments
def asha(
    num_trials: int,
    num_steps: int,
    *,
    eta: int = 3,
    first_rung: int | None = None,
    levels: Sequence[int] | None = None,
    unit: Any = None,
    batch_size: int | None = None,
    sampler: Any = None,
    space: Space | None = None,
) -> Scheduler:
    """Asynchronous successive halving, promotion type: no worker waits for a rung to be complete.

    An `ask` lets the best trial go on that is among the best `m // eta` of the `m` told at its
    level, from the highest level that has one; if none has, a new trial starts. Once all trials
    have begun and none is running, the best `max(1, m // eta)` go on. What is paused in the end
    stays so. Ties go to the lower number; a failed or infeasible trial never goes on.

    Take it where jobs end one by one, on workers or machines; a population that trains side by side
    has nothing to wait for, and `halving` promotes fewer wrong trials.

    Args:
        num_trials: trials in all; static.
        num_steps: steps of a trial that is never stopped; static.
        eta: one of how many trials goes on; static.
        first_rung: step of the first rung; the next ones are at `eta` times the one before. None:
            a 27th of `num_steps`, or with a `sampler` a third.
        levels: the steps of all rungs instead, increasing, the last one `num_steps`.
        unit: `[n, d]` points of the trials in the unit cube, for a caller that does not hold them.
        batch_size: jobs of one `ask`; all trials if None, which leaves nothing asynchronous, or 8
            with a `sampler`. Static.
        sampler: proposes the points of new trials: a name, or a sampler of `batch_size` points. It
            learns from the highest level that has more than `d` finite values, and as many as its
            own start-up takes. Until then, for a third of the trials, and where all together cost
            fewer than 16 whole ones, points are those of `unit`, or random. None: all are.
        space: the `Space` of the points, needed with a `sampler`.

    Returns:
        The scheduler.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: a number out of range, levels that do not increase up to `num_steps`, or a
            sampler of another batch or that does not learn from values.

    Example:
        >>> import jax.numpy as jnp, jaxhpo as hpo
        >>> scheduler = hpo.schedulers.asha(9, 9, levels=[1, 3, 9], batch_size=1)
        >>> state, asked = scheduler.init(0), []
        >>> for value in (0.3, 0.1, 0.2, 0.05):
        ...     state, job = scheduler.ask(0, state)
        ...     state, _ = scheduler.tell(0, state, job, hpo.Outcome(jnp.array([value])))
        ...     asked.append((int(job.trial[0]), int(job.level[0])))
        >>> asked
        [(0, 1), (1, 1), (2, 1), (1, 3)]

    References:
        Li et al., "A system for massively parallel hyperparameter tuning", 2020,
        https://arxiv.org/abs/1810.05934, algorithm 2.
    """
    share = 27 if sampler is None else LATE_SHARE
    arguments = check_arguments(
        "asha", num_trials, num_steps, eta, first_rung, share, levels, unit, batch_size, sampler
    )
    settings = AshaSettings(
        arguments.unit,
        setting(arguments.levels, jnp.int32),
        setting(arguments.eta, jnp.int32),
        arguments.batch_size,
        "asha",
    )
    rule = make_scheduler(settings, init_table, _ask, tell_records, name="asha")
    if sampler is None:
        return rule
    steps = expected_steps(rung_counts(num_trials, len(arguments.levels), eta), arguments.levels)
    given = None if unit is None else arguments.unit
    how = (sampler, space, given, arguments.batch_size, steps, num_steps)
    return proposing("asha", rule, *how)


def _ask(settings: AshaSettings, key: Any, state: TableState) -> tuple[TableState, Job]:
    del key
    table = state.table
    may_go_on, place = _promotable(settings, table)
    # The highest level first, the best of it; a new trial stands at level 0 and comes last.
    order = (-table.level, jnp.where(may_go_on, place, 0))
    table, job = hand_out(table, may_go_on | is_new(table), order, settings.batch_size)
    return TableState(table), job


def _promotable(settings: AshaSettings, table: Table) -> tuple[Array, Array]:
    """Which trials may go on `[n]`, and their places `[n]` at their last level.

    Of one job only the best of each level is looked at, which takes no sort.
    """
    num_levels = table.levels.shape[0]
    level = jnp.arange(num_levels, dtype=jnp.int32)[None]
    reached = table.level[:, None] > level
    value = jnp.where(reached, table.value, jnp.asarray(jnp.nan, table.value.dtype))
    count = jnp.sum(reached, axis=0, dtype=jnp.int32)
    is_idle = ~jnp.any(is_new(table) | (table.status == int(Status.RUNNING)))
    keep = jnp.maximum(count // settings.eta, is_idle.astype(jnp.int32))
    last = jnp.maximum(table.level - 1, 0)
    stands = is_paused(table) & (table.level > 0)
    if settings.batch_size == 1:
        best, place = _best(value, stands[:, None] & (last[:, None] == level))
        stands &= best[last] == jnp.arange(len(last), dtype=jnp.int32)
        place = place[last]
    else:
        zeros = jnp.zeros(table.level.shape, jnp.int32)
        places = jnp.stack([ranks(value[:, k], zeros, 1) for k in range(num_levels)], axis=1)
        place = jnp.take_along_axis(places, last[:, None], axis=1)[:, 0]
    return stands & (place < keep[last]), place


def _best(value: Array, stands: Array) -> tuple[Array, Array]:
    """Of those that stand at each level `[n, L]` the best one `[L]`, and its place `[L]`."""
    best = jnp.argmin(jnp.where(stands, value, jnp.inf), axis=0).astype(jnp.int32)
    its_value = jnp.take_along_axis(value, best[None], axis=0)
    number = jnp.arange(value.shape[0], dtype=jnp.int32)[:, None]
    is_before = (value < its_value) | ((value == its_value) & (number < best[None]))
    return best, jnp.sum(is_before, axis=0, dtype=jnp.int32)
