"""The state that all rules share: one row a trial, one column a level."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo._base import Array, Outcome, Record
from jaxhpo._checks import describe, fail
from jaxhpo._status import Status
from jaxhpo.schedulers._protocol import Job, Scheduler, TellInfo


class Table(Record):
    """What is known of `n` trials at `L` levels.

    Attributes:
        value: `[n, L]` values, NaN where a level was not reached and where the trial failed.
        unit: `[n, d]` points in the unit cube; zero columns where the caller holds the points.
        level: `[n]` int32 number of levels told, the level of a failure included.
        status: `[n]` int32 `Status`: EMPTY (not begun), RUNNING (handed out), WAITING (paused),
            PRUNED (stopped early), COMPLETE, FAILED or INFEASIBLE.
        promoted: `[n]` int32 number of levels that the trial was let go on from.
        levels: `[L]` int32 steps of the levels, increasing; the last one completes a trial.
    """

    value: Array
    unit: Array
    level: Array
    status: Array
    promoted: Array
    levels: Array


class TableState(Record):
    """The state of a rule: the table tells all."""

    table: Table


def empty_table(unit: Array, levels: Array) -> Table:
    """The table before any trial has begun.

    Args:
        unit: `[n, d]` points.
        levels: `[L]` int32 steps.

    Returns:
        The table.
    """
    n = unit.shape[0]
    none = jnp.zeros(n, jnp.int32)
    value = jnp.full((n, levels.shape[0]), jnp.nan, jnp.result_type(float))
    return Table(value, unit, none, jnp.full(n, int(Status.EMPTY), jnp.int32), none, levels)


def init_table(settings: Any, key: Any) -> TableState:
    """The `init` of a rule whose settings have `unit` and `levels`, and which draws nothing."""
    del key
    return TableState(empty_table(settings.unit, settings.levels))


def is_new(table: Table) -> Array:
    """`[n]` bool, trials that have not begun."""
    return table.status == int(Status.EMPTY)


def is_paused(table: Table) -> Array:
    """`[n]` bool, trials that have reached a level and neither run nor have ended."""
    return table.status == int(Status.WAITING)


def is_promoted(table: Table) -> Array:
    """`[n]` bool, paused trials that were let go on and have not been handed out since."""
    return is_paused(table) & (table.promoted == table.level)


def hand_out(table: Table, ready: Array, order: tuple[Array, ...], count: int) -> tuple[Table, Job]:
    """Makes a job of trials that are ready, and marks them as running.

    Args:
        table: the table.
        ready: `[n]` bool, trials that may be handed out.
        order: arrays `[n]` to sort by, the first one counts most; ties go to the lower number.
        count: rows of the job; static.

    Returns:
        The table and the job.
    """
    n = ready.shape[0]
    first = _first(ready, order, count)
    is_job = ready[first]
    level = table.levels[jnp.minimum(table.level[first], table.levels.shape[0] - 1)]
    trial = jnp.where(is_job, first, jnp.int32(-1))
    unit = jnp.where(is_job[:, None], table.unit[first], jnp.asarray(jnp.nan, table.unit.dtype))
    job = Job(trial, unit, trial, jnp.where(is_job, level, jnp.int32(0)))
    rows = jnp.where(is_job, first, n)
    changed = dataclasses.replace(
        table,
        status=table.status.at[rows].set(int(Status.RUNNING), mode="drop"),
        promoted=table.promoted.at[rows].set(table.level[first], mode="drop"),
    )
    return changed, job


def _first(ready: Array, order: tuple[Array, ...], count: int) -> Array:
    """Rows `[count]` of those that are ready, in their order, before the others."""
    if count > 1:
        columns = (~ready, *order, jnp.arange(ready.shape[0], dtype=jnp.int32))
        return jax.lax.sort(columns, num_keys=len(columns))[-1][:count]
    # One alone is found without a sort, which is what an `ask` takes most of its time for.
    for column in order:
        column = column.astype(jnp.int32)
        least = jnp.min(jnp.where(ready, column, jnp.iinfo(jnp.int32).max))
        ready &= column == least
    return jnp.argmax(ready).astype(jnp.int32)[None]


def record(where: str, table: Table, job: Job, outcome: Outcome) -> Table:
    """Writes down the values that trials have reached; nothing is decided.

    Args:
        where: the scheduler, for errors.
        table: the table.
        job: `[q]` jobs, in any order; those that do not fit the table are ignored.
        outcome: values `[q]`, minimised. Not finite: the trial has failed. Violated: infeasible.

    Returns:
        The table, in which the trials wait or have ended.

    Raises:
        ValueError: values that are not one per job.
    """
    value = jnp.asarray(outcome.value)
    if value.shape != job.trial.shape:
        expected = f"one per job, shape {job.trial.shape}"
        raise fail(f"{where}.tell", "outcome.value", expected, value.shape)
    n, num_levels = table.value.shape
    value = value.astype(table.value.dtype)
    rung = jnp.sum(table.levels[None] < job.level[:, None], axis=1, dtype=jnp.int32)
    trial = jnp.clip(job.trial, 0, n - 1)
    is_known = (job.trial == trial) & (table.levels[jnp.minimum(rung, num_levels - 1)] == job.level)
    may_change = (table.status == int(Status.RUNNING)) | is_new(table) | is_paused(table)
    is_known &= may_change[trial] & (rung >= table.level[trial])
    is_finite, is_met = jnp.isfinite(value), _is_met(outcome.violation, value)
    paused = jnp.where(rung == num_levels - 1, int(Status.COMPLETE), int(Status.WAITING))
    met = jnp.where(is_met, paused, int(Status.INFEASIBLE))
    status = jnp.where(is_finite, met, int(Status.FAILED)).astype(jnp.int32)
    rows = jnp.where(is_known, trial, n)
    kept = jnp.where(is_finite & is_met, value, jnp.asarray(jnp.nan, value.dtype))
    return dataclasses.replace(
        table,
        value=table.value.at[rows, rung].set(kept, mode="drop"),
        level=table.level.at[rows].set(rung + 1, mode="drop"),
        status=table.status.at[rows].set(status, mode="drop"),
    )


def _is_met(violation: Any, value: Array) -> Array:
    if violation is None:
        return jnp.ones(value.shape, bool)
    return (jnp.asarray(violation).reshape(value.shape[0], -1) <= 0).all(axis=1)


def ranks(value: Array, group: Array, num_groups: int) -> Array:
    """Places `[n]` int32 from 0 within each group: ascending, NaN last, ties by number.

    Args:
        value: `[n]` values.
        group: `[n]` int32 groups.
        num_groups: how many groups there are; static.

    Returns:
        The places.
    """
    n = value.shape[0]
    number = jnp.arange(n, dtype=jnp.int32)
    ordered, _, rows = jax.lax.sort((group, value, number), num_keys=3)
    # A group begins where those before it end; comparing compiles faster than a search.
    groups = jnp.arange(num_groups, dtype=jnp.int32)
    start = jnp.sum(group[None] < groups[:, None], axis=1, dtype=jnp.int32)
    return jnp.zeros(n, jnp.int32).at[rows].set(number - start[ordered])


def told(before: Table, after: Table) -> TellInfo:
    """Says what a tell has changed."""

    def more(count: Any) -> Array:
        return jnp.sum(count(after), dtype=jnp.int32) - jnp.sum(count(before), dtype=jnp.int32)

    running = (after.status == int(Status.RUNNING)) | is_new(after) | is_paused(after)
    status = jnp.where(jnp.any(running), int(Status.RUNNING), int(Status.EMPTY))
    return TellInfo(
        status.astype(jnp.int32),
        more(is_promoted),
        more(lambda table: table.status == int(Status.PRUNED)),
    )


def wants_gradient(state: Any) -> bool:
    """Whether a rule is told how the values change with the points: its state has a `gradient`."""
    return getattr(state, "gradient", None) is not None


def tell_records(
    settings: Any, key: Any, state: TableState, job: Job, outcome: Outcome
) -> tuple[TableState, TellInfo]:
    """The `tell` of a rule that decides in `ask` alone; `settings.name` is for errors."""
    del key
    before = state.table
    after = record(settings.name, before, job, outcome)
    return TableState(after), told(before, after)


def decides_in_ask(scheduler: Scheduler) -> bool:
    """Whether `tell_records` is a scheduler's, so that the order of all tells is nothing to it."""
    function = getattr(scheduler.tell, "func", None)
    return getattr(function, "function", None) is tell_records


def check_table(where: str, scheduler: Scheduler) -> Table:
    """The shapes of a scheduler's table; nothing is computed.

    Args:
        where: the function that takes the scheduler, for errors.
        scheduler: its argument.

    Raises:
        TypeError: a state without a table.
        ValueError: a table without levels.
    """
    table = getattr(jax.eval_shape(scheduler.init, jax.random.key(0)), "table", None)
    if not isinstance(table, Table):
        expected = "a Scheduler whose state has a field `table`, a Table"
        raise TypeError(f"{where}: `scheduler` must be {expected}, got {describe(table)}.")
    if not table.levels.size:
        raise fail(where, "scheduler", "one with at least one level", "a table without")
    return table


def check_levels(where: str, levels: list[int], num_steps: int) -> tuple[int, ...]:
    """The levels of a table; `where` as in `check_table`.

    Args:
        where: the function that takes the scheduler.
        levels: steps of the levels.
        num_steps: steps of a whole trial.

    Raises:
        ValueError: they do not increase from at least 1 up to `num_steps`.
    """
    if levels[-1] != num_steps:
        raise fail(where, "scheduler", f"made for {num_steps} steps", f"one for {levels[-1]}")
    if levels != sorted({max(level, 1) for level in levels}):
        raise fail(where, "scheduler", "one whose levels increase from at least 1", levels)
    return tuple(levels)
