"""Differential evolution: the factory and its three functions."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from jaxhpo import _checks
from jaxhpo._base import Array, Outcome, Sampler, has_proposal, make_sampler, setting, static_field
from jaxhpo.samplers._parts._chunks import by_piece, by_row, summed_violation
from jaxhpo.samplers._parts._fallback import GuardedSettings, GuardedState, has_levels, make_guard
from jaxhpo.samplers._parts._pending import TellInfo, check_space, num_waiting
from jaxhpo.samplers._parts._validation import checked_trials
from jaxhpo.samplers._traits import register
from jaxhpo.samplers.evolutionary._de_trial import NUM_SAMPLES, STRATEGIES, crossover_mask, mutant
from jaxhpo.samplers.evolutionary._generation_buffer import Rows, no_rows
from jaxhpo.space import Space

_SPARE = 8
"""Where proposals may be refused (a finite space, constraints), so many trial vectors are tried."""


class DeSettings(GuardedSettings):
    """Settings of `de`; space, mutation and recombination are traced."""

    mutation: Array
    recombination: Array
    population_size: int = static_field()
    strategy: str = static_field()


class DeState(GuardedState):
    """State of `de`.

    Attributes:
        population: `[p, d]` members, before rounding; first the points of a Latin hypercube.
        value: `[p]` their values; infinite where not yet evaluated.
        violation: `[p]` their violations; infinite where not yet evaluated.
        num_asked: `[]` int32, proposals so far, the first points of strangers included.
        rows: pending points; `age` holds the member that each competes with.
    """

    population: Array
    value: Array
    violation: Array
    num_asked: Array
    rows: Rows


class DeInfo(TellInfo):
    """What `de` reports of a tell, besides `TellInfo`.

    Attributes:
        spread: `[]` mean deviation of the population, in units of the cube's edge.
    """

    spread: Array


@register(resumes_exactly=False)
def de(
    space: Space,
    *,
    batch_size: int = 1,
    population_size: int | None = None,
    strategy: str = "best1bin",
    mutation: float | tuple[float, float] = (0.5, 1.0),
    recombination: float = 0.7,
) -> Sampler:
    """Differential evolution: members of a population move by differences of other members.

    Each proposal competes with one member, in turn, and replaces it if it is no worse. Trial
    vectors are SciPy's, by name: "best1" is the best member plus F times the difference of two
    others; "bin" and "exp" say how its coordinates are mixed with the member's. The population
    changes with each tell (SciPy's immediate updating), so proposals may be asked and told one by
    one or in batches, in any order. Coordinates outside the bounds are drawn anew.

    When to use it: thousands of cheap trials of a rugged, moderately high-dimensional objective.
    Categories are treated as if their order meant something; prefer `tpe` for them.

    Args:
        space: the search space; its bounds may be traced.
        batch_size: static; rows of one `ask`.
        population_size: static; members, at least 6; None means 5 per dimension, from 8 to 100.
        strategy: static; SciPy's name, such as "best1bin", "rand1exp" or "currenttobest1bin".
        mutation: F, or the ends of the interval it is drawn from for each proposal; traced.
        recombination: probability that a coordinate comes from the mutant; traced.

    Returns:
        The sampler. Where a coordinate is discrete nothing is proposed twice, and on a finite space
        rows of NaN follow when it is used up.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: an argument out of range or an unknown name, or a space with nothing to search.

    Example:
        >>> import jaxhpo as hpo
        >>> space = hpo.Space({"x": hpo.uniform(-2.0, 3.0), "y": hpo.uniform(-2.0, 3.0)})
        >>> def objective(key, params):
        ...     return (params["x"] - 1.0) ** 2 + (params["y"] + 1.0) ** 2
        >>> result = hpo.minimize(objective, space, "de", key=0, num_trials=400)
        >>> bool(result.best_value < 1e-2)
        True

    References:
        Storn and Price, "Differential evolution", 1997, https://doi.org/10.1023/A:1008202821328.
        Lampinen, "A constraint handling approach for the differential evolution algorithm", 2002,
        https://doi.org/10.1109/CEC.2002.1004459.
    """
    space = check_space("de", space)
    batch_size = _checks.check_count("de", "batch_size", batch_size, 1)
    if population_size is None:
        population_size = max(8, min(5 * space.num_dims, 100))
    population_size = _checks.check_count("de", "population_size", population_size, NUM_SAMPLES + 1)
    strategy = _checks.check_choice("de", "strategy", strategy, STRATEGIES)
    ends = mutation if isinstance(mutation, tuple | list) else (mutation, mutation)
    if len(ends) != 2:
        raise _checks.fail("de", "mutation", "a number or two of them", mutation)
    ends = tuple(_checks.check_positive("de", "mutation", end) for end in ends)
    if not any(map(_checks.is_traced, ends)) and ends[0] > ends[1]:
        raise _checks.fail("de", "mutation", "an interval with its lower end first", mutation)
    recombination = _checks.check_not_negative("de", "recombination", recombination)
    if not _checks.is_traced(recombination) and recombination > 1:
        raise _checks.fail("de", "recombination", "at most 1", recombination)
    dtype = jnp.result_type(float)
    settings = DeSettings(
        space=space,
        guard=make_guard(space, keeps_account=has_levels(space)),
        mutation=setting(ends, dtype),
        recombination=setting(recombination, dtype),
        batch_size=batch_size,
        population_size=population_size,
        strategy=strategy,
    )
    return make_sampler(settings, _init, _ask, _tell, name="de")


def _init(settings: DeSettings, key: Array) -> DeState:
    p, d, dtype = settings.population_size, settings.space.num_dims, jnp.result_type(float)
    key_cells, key_place, key_guard = jax.random.split(key, 3)
    cells = jax.vmap(lambda key: jax.random.permutation(key, p))(jax.random.split(key_cells, d))
    place = jax.random.uniform(key_place, (p, d), dtype)
    nothing = jnp.full(p, jnp.inf, dtype)
    return DeState(
        settings.guard.init(key_guard),
        (cells.T.astype(dtype) + place) * (1 / p),
        nothing,
        nothing,
        jnp.zeros((), jnp.int32),
        no_rows(p + num_waiting(settings.batch_size), d),
    )


def _ask(settings: DeSettings, key: Array, state: DeState) -> tuple[DeState, Array]:
    def row(state: DeState, key: Array) -> tuple[DeState, Array]:
        key_draw, key_start = jax.random.split(key)
        target = state.num_asked % settings.population_size
        unit, raw = _draw(settings, key_draw, state, target)
        known, unit = settings.guard.settle(state.known, key_start, unit)
        raw = jnp.where(jnp.isnan(raw), unit, raw)
        is_new = has_proposal(unit).astype(jnp.int32)
        return dataclasses.replace(
            state,
            num_asked=state.num_asked + is_new,
            rows=state.rows.ask(unit, raw, target),
            known=known,
        ), unit

    return by_row(row, state, key, settings.batch_size)


def _draw(settings: DeSettings, key: Array, state: DeState, target: Array) -> tuple[Array, Array]:
    """A member of the first population, or a trial vector: snapped and raw; NaN if refused."""
    is_first = state.num_asked < settings.population_size
    tries = _SPARE if settings.guard.may_refuse else 1
    keys = jax.random.split(key, tries)
    raw = jax.vmap(lambda key: _trial(settings, key, state, target))(keys)
    raw = jnp.where(is_first, state.population[target][None, :], raw)
    unit = settings.space.snap(raw)
    is_allowed = settings.guard.allowed(state.known, unit)
    first = jnp.argmax(is_allowed)
    return jax.tree.map(
        lambda part: jnp.where(is_allowed[first], part[first], jnp.nan), (unit, raw)
    )


def _trial(settings: DeSettings, key: Array, state: DeState, target: Array) -> Array:
    """One trial vector `[d]` inside the cube."""
    p, d = state.population.shape
    dtype = state.population.dtype
    keys = jax.random.split(key, 5)
    # Distinct members other than the target: the smallest of random numbers.
    score = jax.random.uniform(keys[0], (p,), dtype).at[target].set(2)
    _, others = jax.lax.top_k(-score, NUM_SAMPLES)
    low, high = settings.mutation[0], settings.mutation[1]
    scale = low + (high - low) * jax.random.uniform(keys[1], (), dtype)
    name, crossover = settings.strategy[:-3], settings.strategy[-3:]
    moved = mutant(name, state.population, _best(state), target, others, scale)
    start = jax.random.randint(keys[2], (), 0, d, jnp.int32)
    uniform = jax.random.uniform(keys[3], (d,), dtype)
    mask = crossover_mask(crossover, uniform, start, settings.recombination)
    trial = jnp.where(mask, moved, state.population[target])
    is_outside = (trial < 0) | (trial > 1)
    return jnp.where(is_outside, jax.random.uniform(keys[4], (d,), dtype), trial)


def _best(state: DeState) -> Array:
    """Row of the best member: feasible before infeasible."""
    is_feasible = state.violation <= 0
    value = jnp.where(is_feasible, state.value, jnp.inf)
    return jnp.where(jnp.any(is_feasible), jnp.argmin(value), jnp.argmin(state.violation)).astype(
        jnp.int32
    )


def _tell(
    settings: DeSettings, key: Array, state: DeState, unit: Array, outcome: Outcome
) -> tuple[DeState, DeInfo]:
    unit, outcome = checked_trials("de.tell", settings.space, unit, outcome, ())
    known, info = settings.guard.tell(state.known, key, unit, outcome)
    state = dataclasses.replace(state, known=known)
    observed = (unit, Outcome(outcome.value, violation=summed_violation(outcome.violation)))
    state = by_piece(_absorb, state, observed, settings.population_size)
    spread = jnp.mean(jnp.std(state.population, axis=0))
    return state, DeInfo(info.status, info.num_observed, info.num_failed, spread)


def _absorb(state: DeState, observed: tuple[Array, Outcome], number: Array | None) -> DeState:
    """Lets observed points compete, in the order in which they were asked."""
    del number  # no randomness
    rows = state.rows.tell(*observed)
    state = dataclasses.replace(state, rows=rows)

    def compete(carry: tuple[DeState, Array]) -> tuple[DeState, Array]:
        state, is_open = carry
        row = jnp.argmax(is_open)
        return _replaced(state, row), is_open.at[row].set(False)

    state, _ = jax.lax.while_loop(
        lambda carry: jnp.any(carry[1]), compete, (state, rows.seen.is_observed)
    )
    never = jnp.zeros((), bool)
    rows = state.rows.forget(rows.seen.is_observed, jnp.zeros((), jnp.int32), never)
    return dataclasses.replace(state, rows=rows)


def _replaced(state: DeState, row: Array) -> DeState:
    """One observed row against the member it competes with; one never asked against the worst."""
    seen, raw = state.rows.seen, state.rows.raw[row]
    is_stranger = ~state.rows.is_own[row]
    violation, value = seen.violation[row], seen.value[row]
    worst = jnp.argmax(jnp.where(state.violation > 0, jnp.inf, state.value))
    worst = jnp.where(jnp.any(state.violation > 0), jnp.argmax(state.violation), worst)
    target = jnp.where(is_stranger, worst.astype(jnp.int32), state.rows.age[row])
    own_value, own_violation = state.value[target], state.violation[target]
    is_better = jnp.where(
        violation <= 0, (own_violation > 0) | (value <= own_value), violation <= own_violation
    )
    is_better &= jnp.isfinite(value)
    slot = jnp.where(is_better, target, state.value.shape[0])
    point = jnp.where(is_stranger, seen.unit[row], raw)
    return dataclasses.replace(
        state,
        population=state.population.at[slot].set(point, mode="drop"),
        value=state.value.at[slot].set(value, mode="drop"),
        violation=state.violation.at[slot].set(jnp.maximum(violation, 0), mode="drop"),
        num_asked=state.num_asked + is_stranger.astype(jnp.int32),
    )
