"""What population-based rules share: their settings, a round, and who goes on from whom."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxhpo import _checks
from jaxhpo._base import Array, Record, setting, static_field
from jaxhpo._status import Status
from jaxhpo.schedulers._levels import even_levels, points
from jaxhpo.schedulers._protocol import Job
from jaxhpo.schedulers._table import Table, empty_table, hand_out, is_new, is_paused, is_promoted
from jaxhpo.schedulers.population_based._exploit import Copies, Groups
from jaxhpo.schedulers.population_based._explore import Steps
from jaxhpo.space import Space
from jaxhpo.space.internal import Static, sample_unit

# Decisions after which steps of one factor suit; with fewer each is larger. Measured with
# `benchmarks/pbt.py`, as are the two constants below.
_ROUNDS = 40
# At this number of rounds, and before, a quarter of the coordinates are drawn anew.
_FEW_ROUNDS = 10
_MOST_RESAMPLED = 0.25
# Sub-populations that decide every so many rounds, while each decides `_ROUNDS` times and has
# `_TEAM` trials.
_INTERVALS = (1, 2, 5, 10)
_TEAM = 8


class PbtSettings(Record):
    """Settings of `pbt`; the levels, factors and probabilities are traced."""

    space: Space
    unit: Array | None
    levels: Array
    interval: Array
    steps: Steps
    num_trials: int = static_field()
    batch_size: int = static_field()


class PbtState(Record):
    """State of `pbt`: the table, whose points change, and `[n]` whom each trial goes on from."""

    table: Table
    parent: Array


def check_population(
    where: str,
    num_trials: Any,
    num_steps: Any,
    space: Any,
    interval: Any,
    levels: Any,
    intervals: Any,
    unit: Any,
    batch_size: Any,
) -> PbtSettings:
    """Checks the arguments of a factory, which documents them; steps are the defaults."""
    num_trials = _checks.check_count(where, "num_trials", num_trials, 4)
    num_steps = _checks.check_count(where, "num_steps", num_steps, 1)
    _checks.check_instance(where, "space", space, Space, "the Space of the trials' points")
    space.check_precision(where)
    size = num_trials
    if batch_size is not None:
        size = min(_checks.check_count(where, "batch_size", batch_size, 1), num_trials)
    steps = even_levels(where, num_steps, interval, levels, _ROUNDS)
    if unit is not None:
        unit = points(where, unit, num_trials, space.num_dims)
    return PbtSettings(
        space,
        unit,
        setting(steps, jnp.int32),
        setting(_intervals(where, intervals, num_trials, len(steps)), jnp.int32),
        make_steps(where, len(steps), (0.8, 1.25), None),
        num_trials,
        size,
    )


def _intervals(where: str, intervals: Any, num_trials: int, num_rounds: int) -> list[int]:
    if intervals is None:
        fitting = [
            every
            for count, every in enumerate(_INTERVALS, 1)
            if num_rounds >= every * _ROUNDS and num_trials >= count * _TEAM
        ]
        return fitting or [1]
    expected = f"increasing numbers of rounds, from 1, at most {num_trials // 4}"
    if not isinstance(intervals, Sequence | np.ndarray) or isinstance(intervals, str):
        raise TypeError(
            f"{where}: `intervals` must be {expected}, got {_checks.describe(intervals)}."
        )
    every = [
        _checks.check_count(where, f"intervals[{i}]", one, 1) for i, one in enumerate(intervals)
    ]
    if every != sorted(set(every)) or not 1 <= len(every) <= num_trials // 4:
        raise _checks.fail(where, "intervals", expected, intervals)
    return every


def make_steps(where: str, num_rounds: int, factors: Any, resample: Any) -> Steps:
    if not isinstance(factors, tuple | list) or len(factors) != 2:
        raise _checks.fail(where, "factors", "one below and one above 1", factors)
    down, up = (_checks.check_positive(where, f"factors[{i}]", f) for i, f in enumerate(factors))
    if not any(map(_checks.is_traced, (down, up))) and not down < 1 < up:
        raise _checks.fail(where, "factors", "one below and one above 1", factors)
    if resample is None:
        resample = _MOST_RESAMPLED * min(1.0, _FEW_ROUNDS / num_rounds) ** 2
    resample = _checks.check_not_negative(where, "resample", resample)
    if not _checks.is_traced(resample) and resample > 1:
        raise _checks.fail(where, "resample", "a probability", resample)
    dtype = jnp.result_type(float)
    # Few rounds have to cover the same ground; of many, the steps add up like a random walk.
    share = _ROUNDS / num_rounds
    scale = share if share > 1 else share**0.5
    return Steps(setting([down, up], dtype), setting(scale, dtype), setting(resample, dtype))


def init(settings: PbtSettings, key: Array) -> PbtState:
    """The population before it begins."""
    n, unit = settings.num_trials, settings.unit
    if unit is None:
        unit = jnp.asarray(sample_unit(settings.space, key, n))
    return PbtState(empty_table(unit, settings.levels), jnp.arange(n, dtype=jnp.int32))


def ask(settings: PbtSettings, key: Array, state: PbtState) -> tuple[PbtState, Job]:
    """Hands out who may go on; copies first, while their parents still stand where they stood."""
    del key
    table, own = state.table, jnp.arange(settings.num_trials, dtype=jnp.int32)
    is_own = state.parent == own
    ready = is_new(table) | is_promoted(table)
    table, job = hand_out(table, ready, (table.level, is_own), settings.batch_size)
    is_job = job.trial >= 0
    parent = jnp.where(is_job, state.parent[jnp.maximum(job.trial, 0)], job.trial)
    rows = jnp.where(is_job, job.trial, settings.num_trials)
    kept = state.parent.at[rows].set(job.trial, mode="drop")
    return PbtState(table, kept), job._replace(parent=parent)


def round_of(table: Table) -> tuple[Array, Array]:
    """The number of the round, and whether it is over and nothing has been decided yet."""
    number = jnp.max(table.level)
    has_failed = (table.status == int(Status.FAILED)) | (table.status == int(Status.INFEASIBLE))
    is_awaited = (table.level < number) & ~has_failed
    is_over = ~jnp.any(is_awaited) & (number > jnp.max(table.promoted))
    return number, is_over & (number < table.levels.shape[0])


def values_at(table: Table, number: Array) -> Array:
    """Values `[n]` of a round, from 1."""
    return jnp.take_along_axis(table.value, jnp.maximum(number - 1, 0)[None, None], axis=1)[:, 0]


def groups_of(settings: PbtSettings, unit: Array) -> Groups:
    """Sub-populations in turn, and the static values of points `[n, d]` as one number."""
    kind, num_kinds = jnp.zeros(len(unit), jnp.int32), 1
    level = settings.space.levels(unit)
    for leaf in settings.space.leaves:
        if isinstance(leaf.dimension, Static):
            kind = kind * leaf.dimension.num_levels + level[:, leaf.start]
            num_kinds *= leaf.dimension.num_levels
    team = jnp.arange(len(unit), dtype=jnp.int32) % len(settings.interval)
    return Groups(kind, team, settings.interval, jnp.zeros(num_kinds, jnp.int32))


def go_on(
    state: PbtState, table: Table, copies: Copies, unit: Array, number: Array, is_over: Array
) -> PbtState:
    """Lets all go on that have a state to go on from, once a round is over."""
    own = jnp.arange(len(copies.state), dtype=jnp.int32)
    is_copy = is_over & (copies.state != own)
    goes_on = is_over & (is_copy | is_paused(table))
    table = dataclasses.replace(
        table,
        unit=jnp.where(is_copy[:, None], unit, table.unit),
        level=jnp.where(goes_on, number, table.level),
        status=jnp.where(goes_on, jnp.int32(Status.WAITING), table.status),
        promoted=jnp.where(goes_on, number, table.promoted),
    )
    return PbtState(table, jnp.where(is_copy, copies.state, state.parent))
