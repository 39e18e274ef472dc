"""What NSGA-II and NSGA-III share: a population, children of its members, and survival.

Observed points join the population one by one, in the order in which they were asked, and whenever
`offspring_size` have joined, the best `population_size` survive. With an offspring of one this is
the steady-state form (Durillo et al. 2009), with one as large as the population the form of the
papers. Neither the batches in which points are told nor an interruption changes the result.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo import _checks
from jaxhpo._base import Array, Outcome, Record, has_proposal, setting, static_field
from jaxhpo.samplers._parts._chunks import by_row, summed_violation
from jaxhpo.samplers._parts._fallback import GuardedSettings, GuardedState, has_levels, make_guard
from jaxhpo.samplers._parts._pending import TellInfo, check_space, num_waiting
from jaxhpo.samplers._parts._same import are_same, take_first
from jaxhpo.samplers._parts._validation import checked_trials
from jaxhpo.samplers.evolutionary._nsga_variation import CROSSOVERS, SBX, crossed, mutated, swapped

_SPARE = 8
"""Where a child is refused (known, or breaks a constraint), so many are tried."""

_FEW_LEVELS = 20
"""Ordered coordinates of so few levels are drawn anew: a small step would not leave its cell."""


class NsgaSettings(GuardedSettings):
    """Settings; probabilities, indices and directions are traced.

    `is_category` `[d]` marks coordinates without an order, `is_redrawn` `[d]` those that mutation
    draws anew; `directions` `[k, m]` is None for crowding.
    """

    is_category: Array
    is_redrawn: Array
    crossover_probability: Array
    swapping_probability: Array
    mutation_probability: Array
    crossover_eta: Array
    mutation_eta: Array
    directions: Array | None
    population_size: int = static_field()
    offspring_size: int = static_field()
    num_objectives: int = static_field()
    crossover: str = static_field()


class Members(Record):
    """Evaluated points in rows of fixed number; used rows come first.

    Attributes:
        unit: `[c, d]` points.
        value: `[c, m]` values; infinite in unused rows.
        violation: `[c]` summed violation.
        fitness: `[c]` int32, by which parents compete: smaller is better.
        num_used: `[]` int32 rows in use.
    """

    unit: Array
    value: Array
    violation: Array
    fitness: Array
    num_used: Array


class NsgaState(GuardedState):
    """State.

    Attributes:
        first: `[p, d]` the first points, a Latin hypercube.
        members: the population, and behind it the children that wait for the next survival.
        num_asked: `[]` int32 points asked, and told without being asked.
        waiting: `[k, d]` pending points, a ring: observed ones move to `members`, so these rows
            need none of the values of `Observations`, and the oldest may be forgotten.
        number: `[k]` int32 place of each in the order of asks; -1 where there is none.
    """

    first: Array
    members: Members
    num_asked: Array
    waiting: Array
    number: Array


class NsgaInfo(TellInfo):
    """The info of a tell, besides `TellInfo`.

    Attributes:
        num_feasible: `[]` int32, members of the population that break no constraint.
    """

    num_feasible: Array


Survive = Callable[[NsgaSettings, Members], tuple[Array, Array]]
"""From members to the order in which they survive `[c]`, and their fitness `[c]`, both int32."""


def make_settings(
    where: str, space: Any, *, directions: Any, num_objectives: int, **settings: Any
) -> NsgaSettings:
    """Checks the arguments of a factory, which documents them."""
    space = check_space(where, space)
    dtype = jnp.result_type(float)
    sizes: dict[str, Any] = {
        name: _checks.check_count(where, name, settings.pop(name), minimum)
        for name, minimum in (("batch_size", 1), ("population_size", 4), ("offspring_size", 1))
    }
    crossover = _checks.check_choice(where, "crossover", settings.pop("crossover"), CROSSOVERS)
    if settings["mutation_probability"] is None:
        settings["mutation_probability"] = 1 / space.num_dims
    for name, value in settings.items():
        value = _checks.check_not_negative(where, name, value)
        if name.endswith("probability") and not _checks.is_traced(value) and value > 1:
            raise _checks.fail(where, name, "at most 1", value)
        settings[name] = setting(value, dtype)
    levels, is_category = space.num_levels, space.is_categorical
    return NsgaSettings(
        space=space,
        guard=make_guard(space, keeps_account=has_levels(space)),
        is_category=setting(is_category),
        is_redrawn=setting(is_category | ((levels > 0) & (levels <= _FEW_LEVELS))),
        directions=None if directions is None else setting(directions, dtype),
        num_objectives=num_objectives,
        crossover=crossover,
        **sizes,
        **settings,
    )


def init(settings: NsgaSettings, key: Array) -> NsgaState:
    """Starts with no member."""
    p, d, dtype = settings.population_size, settings.space.num_dims, jnp.result_type(float)
    key_place, key_guard = jax.random.split(key)
    order, place = jax.random.uniform(key_place, (2, p, d), dtype)
    cells = jnp.argsort(order, axis=0)
    c, k = p + settings.offspring_size, num_waiting(settings.batch_size)
    zero = jnp.zeros((), jnp.int32)
    members = Members(
        jnp.zeros((c, d), dtype),
        jnp.full((c, settings.num_objectives), jnp.inf, dtype),
        jnp.zeros(c, dtype),
        jnp.zeros(c, jnp.int32),
        zero,
    )
    return NsgaState(
        settings.guard.init(key_guard),
        (cells.astype(dtype) + place) * (1 / p),
        members,
        zero,
        jnp.zeros((k, d), dtype),
        jnp.full(k, -1, jnp.int32),
    )


def ask(settings: NsgaSettings, key: Array, state: NsgaState) -> tuple[NsgaState, Array]:
    """Proposes the first points, then children."""

    def row(state: NsgaState, key: Array) -> tuple[NsgaState, Array]:
        key_draw, key_start = jax.random.split(key)
        unit = _draw(settings, key_draw, state)
        known, unit = settings.guard.settle(state.known, key_start, unit)
        is_new = has_proposal(unit)
        k = state.number.shape[0]
        slot = jnp.where(is_new, state.num_asked % k, k)
        return dataclasses.replace(
            state,
            num_asked=state.num_asked + is_new.astype(jnp.int32),
            waiting=state.waiting.at[slot].set(unit, mode="drop"),
            number=state.number.at[slot].set(state.num_asked, mode="drop"),
            known=known,
        ), unit

    return by_row(row, state, key, settings.batch_size)


def _draw(settings: NsgaSettings, key: Array, state: NsgaState) -> Array:
    """A point of the first population, or a child that is neither known nor forbidden; or NaN."""
    members, p = state.members, settings.population_size
    is_first = state.num_asked < p
    noise = jax.random.uniform(key, (_SPARE, 6, members.unit.shape[1] + 1), members.unit.dtype)
    children = jax.vmap(lambda noise: _child(settings, noise, members))(noise)
    raw = jnp.where(is_first, state.first[jnp.minimum(state.num_asked, p - 1)][None, :], children)
    unit = settings.space.snap(raw)
    allowed = settings.guard.allowed(state.known, unit)
    is_member = jnp.arange(members.fitness.shape[0], dtype=jnp.int32) < members.num_used
    for points, counts in ((members.unit, is_member), (state.waiting, state.number >= 0)):
        is_same = are_same(unit[:, None], points[None]) & counts[None, :]
        allowed &= ~jnp.any(is_same, axis=1)
    allowed &= is_first | (members.num_used >= 2)
    best = jnp.argmax(allowed)
    return jnp.where(allowed[best], unit[best], jnp.nan)


def _child(settings: NsgaSettings, noise: Array, members: Members) -> Array:
    """One child `[d]` of two parents, each the better of two; from `[6, d + 1]` uniforms."""
    coin, noise = noise[:, 0], noise[:, 1:]
    count = jnp.clip(members.num_used, 1, settings.population_size)
    rivals = _below(count, coin[:4])
    # Equal members: the one drawn first.
    fitness = members.fitness[rivals]
    one = members.unit[jnp.where(fitness[1] < fitness[0], rivals[1], rivals[0])]
    other = members.unit[jnp.where(fitness[3] < fitness[2], rivals[3], rivals[2])]
    if settings.crossover == SBX:
        mixed = crossed(noise[:3], one, other, settings.is_category, settings.crossover_eta)
    else:
        mixed = swapped(noise[0], one, other, settings.swapping_probability)
    child = jnp.where(coin[4] < settings.crossover_probability, mixed, one)
    forced = _below(jnp.asarray(one.shape[0], jnp.int32), coin[5])
    eta, probability = settings.mutation_eta, settings.mutation_probability
    return mutated(noise[3:], forced, child, settings.is_redrawn, eta, probability)


def _below(count: Array, uniform: Array) -> Array:
    """Uniform integers from 0 up to `count`, int32."""
    return jnp.minimum((uniform * count.astype(uniform.dtype)).astype(jnp.int32), count - 1)


def tell(
    settings: NsgaSettings,
    survive: Survive,
    where: str,
    key: Array,
    state: NsgaState,
    unit: Array,
    outcome: Outcome,
) -> tuple[NsgaState, NsgaInfo]:
    """Lets observed points join, in the order in which they were asked."""
    objectives = (settings.num_objectives,)
    unit, outcome = checked_trials(where, settings.space, unit, outcome, objectives)
    known, info = settings.guard.tell(state.known, key, unit, outcome)
    violation = summed_violation(outcome.violation)
    dtype = unit.dtype
    violation = jnp.zeros(unit.shape[0], dtype) if violation is None else violation.astype(dtype)
    violation = jnp.nan_to_num(jnp.maximum(violation, 0), nan=jnp.inf, posinf=jnp.inf)
    state, number = _resolved(dataclasses.replace(state, known=known), unit)
    order = jnp.argsort(number, stable=True)
    observed = (unit, outcome.value.astype(dtype), violation)
    members, _ = jax.lax.scan(
        lambda members, row: (_joined(settings, survive, members, *row), None),
        state.members,
        tuple(part[order] for part in observed),
    )
    used = jnp.arange(members.fitness.shape[0], dtype=jnp.int32) < members.num_used
    num_feasible = jnp.sum(used & (members.violation <= 0), dtype=jnp.int32)
    state = dataclasses.replace(state, members=members)
    return state, NsgaInfo(info.status, info.num_observed, info.num_failed, num_feasible)


def _resolved(state: NsgaState, unit: Array) -> tuple[NsgaState, Array]:
    """Removes observed points from those that wait; others get the numbers that follow."""
    slot = take_first(state.number >= 0, unit, lambda point: are_same(state.waiting, point[None]))
    own = state.number.at[slot].get(mode="fill", fill_value=-1)
    is_stranger = has_proposal(unit) & (own < 0)
    count = state.num_asked + jnp.cumsum(is_stranger, dtype=jnp.int32)
    own = jnp.where(is_stranger, count - 1, own)
    own = jnp.where(has_proposal(unit), own, jnp.iinfo(jnp.int32).max)
    number = state.number.at[slot].set(-1, mode="drop")
    return dataclasses.replace(state, number=number, num_asked=count[-1]), own


def _joined(
    settings: NsgaSettings,
    survive: Survive,
    members: Members,
    unit: Array,
    value: Array,
    violation: Array,
) -> Members:
    """Adds one point unless it failed, and lets the best survive when it is time."""
    p, c = settings.population_size, members.fitness.shape[0]
    is_point = has_proposal(unit) & jnp.all(jnp.isfinite(value))
    slot = jnp.where(is_point, members.num_used, c)
    grown = dataclasses.replace(
        members,
        unit=members.unit.at[slot].set(unit, mode="drop"),
        value=members.value.at[slot].set(value, mode="drop"),
        violation=members.violation.at[slot].set(violation, mode="drop"),
        num_used=members.num_used + is_point.astype(jnp.int32),
    )
    is_time = is_point & ((grown.num_used == p) | (grown.num_used == c))
    return jax.lax.cond(
        is_time, lambda rows: _survivors(settings, survive, rows), lambda rows: rows, grown
    )


def _survivors(settings: NsgaSettings, survive: Survive, members: Members) -> Members:
    """The best `p` rows, in order; the others become unused."""
    order, fitness = survive(settings, members)
    p = settings.population_size
    is_kept = jnp.arange(order.shape[0]) < p
    return Members(
        members.unit[order],
        jnp.where(is_kept[:, None], members.value[order], jnp.inf),
        members.violation[order],
        fitness[order],
        jnp.minimum(members.num_used, p),
    )
