"""Points of new trials from a sampler, inside any rule: it learns from the highest level it can."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo import _checks, samplers
from jaxhpo._base import Array, Outcome, Record, Sampler, proposal_shape, setting, static_field
from jaxhpo._status import Status
from jaxhpo.samplers.internal import check_objectives, learns, startup_of, traits_of
from jaxhpo.schedulers._protocol import Job, Scheduler, make_scheduler
from jaxhpo.schedulers._table import Table, is_new
from jaxhpo.space import Space
from jaxhpo.space.internal import Static, sample_unit

# Up to as many whole training runs a model inside Hyperband brought nothing on a digits classifier
# (TPE 0.155, a Gaussian process 0.161, random points 0.159).
_LEAST_RUNS = 16.0
# BOHB's share of random points, without which no rule is ever surprised.
_RANDOM = 1 / 3


class ProposalSettings(Record):
    """Settings of a rule whose new trials a sampler proposes.

    Attributes:
        rule: decides who goes on.
        sampler: proposes; None: all points are drawn at random.
        space: of the points.
        unit: `[n, d]` points, or None.
        random: `[]` share of trials that keep the points which they have.
        least: `[]` int32 finite values of a level from which on the sampler learns from it.
        num_trials: trials in all.
    """

    rule: Scheduler
    sampler: Sampler | None
    space: Space
    unit: Array | None
    random: Array
    least: Array
    num_trials: int = static_field()


def proposing(
    where: str,
    rule: Scheduler,
    sampler: Any,
    space: Any,
    unit: Array | None,
    batch_size: int,
    steps: float,
    num_steps: int,
) -> Scheduler:
    """Lets a sampler propose the points of a rule's new trials.

    Args:
        where: the factory, for errors.
        rule: the rule.
        sampler: a name, or a sampler whose batch is `batch_size`.
        space: its space.
        unit: `[n, d]` points that the trials have, or None.
        batch_size: rows of a job.
        steps: what the rule is expected to take in all.
        num_steps: steps of a whole trial.

    Returns:
        The scheduler.

    Raises:
        TypeError: `sampler` is none, or `space` is missing.
        ValueError: a sampler of another batch, for several objectives, that needs gradients, or
            that learns nothing: its points may be given as `unit`.
    """
    _checks.check_instance(where, "space", space, Space, "the Space of the trials' points")
    space.check_precision(where)
    num_trials = rule_size(rule)
    if unit is not None and unit.shape[1] != space.num_dims:
        expected = f"of shape [{num_trials}, {space.num_dims}]"
        raise _checks.fail(where, "unit", expected, unit.shape)
    made = _made(where, sampler, space, batch_size)
    settings = ProposalSettings(
        rule,
        made if steps >= _LEAST_RUNS * num_steps else None,
        space,
        unit,
        setting(_RANDOM, jnp.result_type(float)),
        # With fewer the sampler would begin its start-up design anew for each trial.
        setting(max(space.num_dims + 1, startup_of(made)), jnp.int32),
        num_trials,
    )
    return make_scheduler(settings, _init, _ask, _tell, name=where, space=space)


def proposes(scheduler: Scheduler) -> bool:
    """Whether a sampler proposes the points of a scheduler's new trials."""
    return isinstance(getattr(scheduler.ask, "args", (None,))[0], ProposalSettings)


def rule_size(rule: Scheduler) -> int:
    """Trials of a rule."""
    table: Table = jax.eval_shape(rule.init, jax.random.key(0)).table
    return table.status.shape[0]


def _made(where: str, sampler: Any, space: Space, batch_size: int) -> Sampler:
    """The sampler, checked."""
    if isinstance(sampler, str):
        if sampler not in samplers.names():
            raise _checks.unknown_name(where, "sampler", samplers.names(), sampler)
        made = samplers.get(sampler, space, batch_size=batch_size)
    else:
        expected = "a name of a sampler, or a Sampler"
        made = _checks.check_instance(where, "sampler", sampler, Sampler, expected)
    name = sampler if isinstance(sampler, str) else "a Sampler"
    if not learns(made):
        expected = "one that learns: points that no value changes may be given as `unit`"
        raise _checks.fail(where, "sampler", expected, name)
    if traits_of(sampler).needs_gradients:
        raise _checks.fail(where, "sampler", "one that needs no gradients", name)
    check_objectives(where, made, 1)
    shape = proposal_shape(made).shape
    if shape != (batch_size, space.num_dims):
        expected = (
            f"one whose `ask` gives `batch_size` points, shape {(batch_size, space.num_dims)}"
        )
        raise _checks.fail(where, "sampler", expected, shape)
    return made


def expected_steps(counts: Sequence[float], levels: Sequence[int]) -> float:
    """Steps that a rule takes in all, of which `counts` trials reach each of the levels."""
    steps, before = 0.0, 0
    for count, level in zip(counts, levels, strict=True):
        steps, before = steps + count * (level - before), level
    return steps


def rung_counts(num_trials: int, num_levels: int, eta: int, first: int = 0) -> list[int]:
    """Trials that reach each level, of which from level `first` on one of `eta` goes on."""
    counts = [num_trials]
    for level in range(num_levels - 1):
        before = counts[-1]
        counts.append(max(min(before, 1), before // eta) if level >= first else before)
    return counts


def _init(settings: ProposalSettings, key: Array) -> Any:
    key_rule, key_unit = jax.random.split(key)
    state, unit = settings.rule.init(key_rule), settings.unit
    if unit is None:
        unit = jnp.asarray(sample_unit(settings.space, key_unit, settings.num_trials))
    return dataclasses.replace(state, table=dataclasses.replace(state.table, unit=unit))


def _tell(
    settings: ProposalSettings, key: Array, state: Any, job: Job, outcome: Outcome
) -> tuple[Any, Any]:
    told: tuple[Any, Any] = settings.rule.tell(key, state, job, outcome)
    return told


def _ask(settings: ProposalSettings, key: Array, state: Any) -> tuple[Any, Job]:
    """The rule's job, in which new trials have the points that the sampler proposes."""
    key_rule, key_who, key_sampler = jax.random.split(key, 3)
    before = state.table
    state, job = settings.rule.ask(key_rule, state)
    if settings.sampler is None:
        return state, job
    proposed, is_ready = _propose(settings, key_sampler, before)
    trial = jnp.maximum(job.trial, 0)
    moves = (job.trial >= 0) & is_new(before)[trial] & is_ready
    moves &= ~jnp.isnan(proposed).any(axis=1)
    moves &= jax.random.uniform(key_who, trial.shape) >= settings.random
    unit = jnp.where(moves[:, None], _with_static_of(settings.space, proposed, job.unit), job.unit)
    rows = jnp.where(moves, trial, settings.num_trials)
    table = state.table
    moved = dataclasses.replace(table, unit=table.unit.at[rows].set(unit, mode="drop"))
    return dataclasses.replace(state, table=moved), job._replace(unit=unit)


def _propose(settings: ProposalSettings, key: Array, table: Table) -> tuple[Array, Array]:
    """Points `[q, d]`, and whether a level has enough values to learn from.

    A state is made anew from the table each time, so that the level may change, and what is
    proposed is a function of what the rule was told. Trials that have begun and have not come so
    far count as the worst that have: only the best do come so far, and without the others a model
    would take where they lie for the place where nothing is known.
    """
    sampler = settings.sampler
    assert sampler is not None
    key_init, key_tell, key_ask = jax.random.split(key, 3)
    count = jnp.sum(jnp.isfinite(table.value), axis=0, dtype=jnp.int32)
    enough = count >= settings.least
    level = jnp.max(jnp.where(enough, jnp.arange(len(count), dtype=jnp.int32), 0))
    value = jnp.take(table.value, level, axis=1)
    finite = jnp.isfinite(value)
    worst = jnp.max(jnp.where(finite, value, -jnp.inf))
    has_failed = (table.status == int(Status.FAILED)) | (table.status == int(Status.INFEASIBLE))
    value = jnp.where(finite | has_failed, value, worst)
    state = sampler.init(key_init)
    if sampler.resize is not None:
        state = sampler.resize(state, settings.num_trials + proposal_shape(sampler).shape[0])
    unit = jnp.where(is_new(table)[:, None], jnp.nan, table.unit).astype(table.unit.dtype)
    state, _ = sampler.tell(key_tell, state, unit, Outcome(value))
    return sampler.ask(key_ask, state)[1].astype(table.unit.dtype), jnp.any(enough)


def _with_static_of(space: Space, unit: Array, near: Array) -> Array:
    """Points that keep the static coordinates of others: a trial's program is chosen before."""
    for leaf in space.leaves:
        if isinstance(leaf.dimension, Static):
            at = slice(leaf.start, leaf.stop)
            unit = unit.at[:, at].set(near[:, at])
    return unit
