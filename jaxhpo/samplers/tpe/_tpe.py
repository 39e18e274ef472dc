"""The tree-structured Parzen estimator: the factory and its three functions."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from jaxhpo import _checks
from jaxhpo._base import Array, Outcome, Sampler, has_proposal, make_sampler, setting, static_field
from jaxhpo.samplers._parts._chunks import by_row, summed_violation
from jaxhpo.samplers._parts._fallback import GuardedSettings, GuardedState, make_guard
from jaxhpo.samplers._parts._observations import (
    Observations,
    check_capacity,
    no_observations,
)
from jaxhpo.samplers._parts._pending import BufferInfo, check_space
from jaxhpo.samplers._parts._validation import checked_trials
from jaxhpo.samplers._traits import register
from jaxhpo.samplers.tpe import _parzen as parzen
from jaxhpo.samplers.tpe._neighbours import Neighbours, neighbours_of, no_neighbours
from jaxhpo.samplers.tpe._split import MAX_GOOD, SPLITS, good_rows
from jaxhpo.space import Space

_FEW_OBSERVED = 32
"""Points in one tell up to which members are moved one by one; beyond, all is sorted anew."""

_SPARE = 8
"""Where proposals may be refused (a finite space, constraints), so many times the candidates are
drawn."""


class TpeSettings(GuardedSettings):
    """Settings of `tpe`: space, kinds and prior weight are traced, the rest is static."""

    prior_weight: Array
    kinds: parzen.Kinds
    capacity: int = static_field()
    num_startup: int = static_field()
    num_candidates: int = static_field()
    multivariate: bool = static_field()
    split: str = static_field()


class TpeState(GuardedState):
    """State of `tpe`.

    Attributes:
        rows: what is known.
        good: `[25]` int32 rows of the good observations in their order; the rest is out of range.
        is_other: `[n]` bool, which rows are members of `others`.
        others: all other known rows with their neighbours: worse, failed and pending ones.
    """

    rows: Observations
    good: Array
    is_other: Array
    others: Neighbours


class TpeInfo(BufferInfo):
    """What `tpe` reports of a tell, besides `BufferInfo`.

    Attributes:
        num_good: `[]` int32, observations that the good density is made of.
    """

    num_good: Array


@register(has_cheap_rows=True, takes_columns=True, has_many_kernels=True)
def tpe(
    space: Space,
    *,
    batch_size: int = 1,
    capacity: int = 256,
    num_startup: int = 10,
    num_candidates: int = 24,
    multivariate: bool = True,
    split: str = "tenth",
    prior_weight: float = 1.0,
) -> Sampler:
    """Tree-structured Parzen estimator: where good trials are dense and others are not.

    Two densities are estimated: l(x) of the best observations and g(x) of the others. Candidates
    are drawn from l, and the one with the largest l(x)/g(x) is proposed. A density is a mixture of
    the prior and one kernel an observation: in each column a normal truncated to the unit interval,
    as wide as the larger gap to a neighbour; a discrete value counts with its cell's probability;
    an option is kept or drawn from the prior. Weights and widths are those of Optuna 5, but that
    equal values share their gaps (Optuna gives them to the two ends of a run, and the least width
    to the rest, which narrows discrete columns too early).

    Pending points count among the others, so that a batch spreads out. Failed trials do, too
    (Optuna ignores them). Infeasible trials rank after all feasible ones, by the sum of their
    violations. A kernel has the prior's shape in coordinates that its observation does not have, so
    conditional spaces need no groups.

    When to use it: hundreds to tens of thousands of trials, conditional and categorical spaces, or
    where `gp` is too slow. Hyperopt's variant is
    `tpe(space, multivariate=False, split="sqrt", num_startup=20)`.

    Args:
        space: the search space; its bounds may be traced.
        batch_size: static; rows of one `ask`.
        capacity: static; observations that the state holds. `minimize` and `Study` change it as
            needed; a sampler driven by hand drops points beyond it (and says so).
        num_startup: static; finite values observed before densities replace random search.
        num_candidates: static; candidates drawn for a proposal.
        multivariate: static; whether kernels are products over all columns. Otherwise each column
            is proposed by itself.
        split: static; how many of n observations are good: "tenth" (n/10) or "sqrt" (√n/4), rounded
            up, at most 25.
        prior_weight: weight of the prior against one observation; traced.

    Returns:
        The sampler. On a finite space nothing is proposed twice, and rows of NaN follow when it is
        used up. Each point asked or told costs time in proportion to the capacity.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: an argument out of range or an unknown name, or a space with nothing to search.

    Example:
        >>> import jaxhpo as hpo
        >>> space = hpo.Space({"x": hpo.uniform(-2.0, 3.0)})
        >>> def objective(key, params):
        ...     return (params["x"] - 1.0) ** 2
        >>> result = hpo.minimize(objective, space, "tpe", key=0, num_trials=60)
        >>> bool(result.best_value < 0.01)
        True

    References:
        Bergstra, Bardenet, Bengio and Kégl, "Algorithms for hyper-parameter optimization", 2011,
        https://papers.nips.cc/paper/4443. Watanabe, "Tree-structured Parzen estimator:
        understanding its algorithm components", 2023, https://arxiv.org/abs/2304.11127.
    """
    space = check_space("tpe", space)
    batch_size = _checks.check_count("tpe", "batch_size", batch_size, 1)
    capacity = _checks.check_count("tpe", "capacity", capacity, 1)
    num_startup = _checks.check_count("tpe", "num_startup", num_startup, 1)
    num_candidates = _checks.check_count("tpe", "num_candidates", num_candidates, 1)
    multivariate = _checks.check_bool("tpe", "multivariate", multivariate)
    split = _checks.check_choice("tpe", "split", split, SPLITS)
    prior_weight = _checks.check_positive("tpe", "prior_weight", prior_weight)
    settings = TpeSettings(
        space=space,
        guard=make_guard(space),
        prior_weight=setting(prior_weight, jnp.result_type(float)),
        kinds=parzen.kinds_of(space),
        batch_size=batch_size,
        capacity=capacity,
        num_startup=num_startup,
        num_candidates=num_candidates,
        multivariate=multivariate,
        split=split,
    )
    return make_sampler(settings, _init, _ask, _tell, _resize, name="tpe")


def _init(settings: TpeSettings, key: Array) -> TpeState:
    n, d = settings.capacity, settings.space.num_dims
    return TpeState(
        known=settings.guard.init(key),
        rows=no_observations(n, d),
        good=jnp.full(MAX_GOOD, n, jnp.int32),
        is_other=jnp.zeros(n, bool),
        others=no_neighbours(d, n, jnp.result_type(float)),
    )


def _resize(settings: TpeSettings, state: TpeState, capacity: int) -> TpeState:
    """The same observations in buffers of another capacity (static)."""
    rows, held = state.rows.resize(capacity), state.is_other.shape[0]
    if capacity >= held:  # nothing is dropped, so nobody's neighbours change
        return dataclasses.replace(
            state,
            rows=rows,
            good=jnp.where(state.good < held, state.good, capacity),
            is_other=jnp.pad(state.is_other, (0, capacity - held)),
            others=state.others.widen(capacity),
        )
    good, _ = good_rows(rows, settings.split)
    is_other = rows.is_known.at[good].set(False, mode="drop")
    others = neighbours_of(_places(settings.space, rows.unit, is_other))
    return dataclasses.replace(state, rows=rows, good=good, is_other=is_other, others=others)


def _ask(settings: TpeSettings, key: Array, state: TpeState) -> tuple[TpeState, Array]:
    num_values = jnp.sum(state.rows.is_observed & jnp.isfinite(state.rows.value), dtype=jnp.int32)
    has_model = num_values >= settings.num_startup

    def row(state: TpeState, key: Array) -> tuple[TpeState, Array]:
        key_search, key_start = jax.random.split(key)
        nothing = jnp.full(settings.space.num_dims, jnp.nan, jnp.result_type(float))
        unit = jax.lax.cond(
            has_model, lambda: propose(settings, key_search, state), lambda: nothing
        )
        known, unit = settings.guard.settle(state.known, key_start, unit)
        out_of_range = state.is_other.shape[0]
        slot = jnp.where(has_proposal(unit), state.rows.num_rows, out_of_range)
        return dataclasses.replace(
            state,
            known=known,
            rows=state.rows.ask(unit),
            is_other=state.is_other.at[slot].set(True, mode="drop"),
            others=state.others.insert(slot, _active_part(settings.space, unit)),
        ), unit

    return by_row(row, state, key, settings.batch_size)


def _tell(
    settings: TpeSettings, key: Array, state: TpeState, unit: Array, outcome: Outcome
) -> tuple[TpeState, TpeInfo]:
    unit, outcome = checked_trials("tpe.tell", settings.space, unit, outcome, ())
    check_capacity("tpe.tell", state.rows, unit)
    known, info = settings.guard.tell(state.known, key, unit, outcome)
    outcome = Outcome(outcome.value, violation=summed_violation(outcome.violation))
    rows = state.rows.tell(unit, outcome)
    good, num_good = good_rows(rows, settings.split)
    is_other = rows.is_known.at[good].set(False, mode="drop")
    if unit.shape[0] <= _FEW_OBSERVED:
        others = _move(settings.space, rows.unit, state.others, state.is_other, is_other)
    else:
        others = neighbours_of(_places(settings.space, rows.unit, is_other))
    report = TpeInfo(info.status, info.num_observed, info.num_failed, rows.num_dropped, num_good)
    return TpeState(known, rows, good, is_other, others), report


def propose(settings: TpeSettings, key: Array, state: TpeState) -> Array:
    """Finds the best candidate `[d]`; NaN if all were refused."""
    good, others = densities(settings, state)
    if settings.multivariate:
        return _propose_jointly(settings, key, state, good, others)
    return _propose_by_column(settings, key, state, good, others)


def densities(settings: TpeSettings, state: TpeState) -> tuple[parzen.Parzen, parzen.Parzen]:
    """The estimators of the good and of the other observations."""
    unit = state.rows.unit.at[state.good].get(mode="fill", fill_value=jnp.nan)
    good = neighbours_of(_places(settings.space, unit, has_proposal(unit)))
    pair = []
    for members, is_member in ((good, has_proposal(unit)), (state.others, state.is_other)):
        counted = is_member[None, :] if settings.multivariate else ~jnp.isnan(members.place)
        weight = parzen.ramp(counted)
        pair.append(parzen.estimator(members, weight, settings.prior_weight, settings.kinds))
    return pair[0], pair[1]


def _propose_jointly(
    settings: TpeSettings, key: Array, state: TpeState, good: parzen.Parzen, others: parzen.Parzen
) -> Array:
    space, kinds, count = settings.space, settings.kinds, settings.num_candidates
    draws = count * _SPARE if settings.guard.may_refuse else count
    unit = space.snap(parzen.draw(good, key, draws, kinds))
    is_allowed = settings.guard.allowed(state.known, unit)
    if draws > count:
        _, first = jax.lax.top_k(is_allowed.astype(jnp.int32), count)  # ties: in order
        unit, is_allowed = unit[first], is_allowed[first]
    points = parzen.points_of(space, unit)
    score = parzen.log_density(good, points, kinds) - parzen.log_density(others, points, kinds)
    score = jnp.where(is_allowed, score, -jnp.inf)
    best = jnp.argmax(score)
    return jnp.where(is_allowed[best], unit[best], jnp.nan)


def _propose_by_column(
    settings: TpeSettings, key: Array, state: TpeState, good: parzen.Parzen, others: parzen.Parzen
) -> Array:
    space, kinds, count = settings.space, settings.kinds, settings.num_candidates

    def attempt(key: Array) -> Array:
        unit = _snap_by_column(settings, parzen.draw(good, key, count, kinds))
        points = parzen.points_of(space, unit)
        score = parzen.log_marginals(good, points, kinds)
        score = score - parzen.log_marginals(others, points, kinds)
        best = jnp.argmax(score, axis=1)
        return jnp.take_along_axis(unit.T, best[:, None], axis=1)[:, 0]

    attempts = jax.vmap(attempt)(jax.random.split(key, _SPARE if settings.guard.may_refuse else 1))
    unit = space.snap(attempts)
    is_allowed = settings.guard.allowed(state.known, unit)
    first = jnp.argmax(is_allowed)
    return jnp.where(is_allowed[first], unit[first], jnp.nan)


def _snap_by_column(settings: TpeSettings, unit: Array) -> Array:
    """Discrete coordinates to the centre of their cell, whether active or not."""
    space = settings.space
    is_discrete = (settings.kinds.kind != parzen.CONTINUOUS)[None, :]
    return jnp.where(is_discrete, space.from_levels(space.levels(unit), unit.dtype), unit)


def _active_part(space: Space, unit: Array) -> Array:
    """Points `[..., d]` with NaN in inactive coordinates."""
    return jnp.where(space.active_columns(unit), unit, jnp.nan)


def _places(space: Space, unit: Array, is_member: Array) -> Array:
    """Columns `[d, n]` of the members among points `[n, d]`."""
    return jnp.where(is_member[:, None], _active_part(space, unit), jnp.nan).T


def _move(
    space: Space, unit: Array, others: Neighbours, is_other: Array, target: Array
) -> Neighbours:
    """Lets members enter and leave, one by one, until they are the target's."""

    def move(carry: tuple[Neighbours, Array]) -> tuple[Neighbours, Array]:
        others, is_other = carry
        row = jnp.argmax(is_other != target).astype(jnp.int32)
        others = jax.lax.cond(
            target[row],
            lambda: others.insert(row, _active_part(space, unit[row])),
            lambda: others.remove(row),
        )
        return others, is_other.at[row].set(target[row])

    return jax.lax.while_loop(lambda carry: jnp.any(carry[1] != target), move, (others, is_other))[
        0
    ]
