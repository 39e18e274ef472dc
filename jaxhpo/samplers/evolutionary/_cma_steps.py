"""The two halves of a generation of CMA-ES: drawing points, and learning from the observed ones."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from jaxhpo._base import Array, Outcome, static_field
from jaxhpo.samplers._parts._cond import once_if
from jaxhpo.samplers._parts._fallback import GuardedSettings, GuardedState
from jaxhpo.samplers.evolutionary import _cma_update as cma
from jaxhpo.samplers.evolutionary._cma_restart import Restarts
from jaxhpo.samplers.evolutionary._generation_buffer import Ranked, Rows
from jaxhpo.space import cell_ends

_Attempt = tuple[Array, tuple[Array, Array]]
_ATTEMPTS = 100
"""Draws before a point outside is moved to the bounds, as many as the `cmaes` library's."""


class CmaSettings(GuardedSettings):
    """Settings of `cma_es`; `first` is the first distribution, `margin` a probability."""

    first: cma.Gaussian
    margin: Array
    is_discrete: tuple[bool, ...] = static_field()
    population_size: int = static_field()
    most: int = static_field()
    separable: bool = static_field()
    restarts: str = static_field()


class CmaState(GuardedState):
    """State of `cma_es`.

    Attributes:
        gaussian: the search distribution.
        rows: points pending, or observed and not yet used.
        restarts: population size, and what decides on restarts.
    """

    gaussian: cma.Gaussian
    rows: Rows
    restarts: Restarts


def draw(settings: CmaSettings, key: Array, state: CmaState, count: int) -> tuple[Array, Array]:
    """Draws allowed points `[count, d]` inside the bounds, snapped and raw; NaN without one."""
    shape, dtype = (count, settings.space.num_dims), state.gaussian.mean.dtype

    def attempt(key: Array, is_done: Array, olds: tuple[Array, Array]) -> _Attempt:
        grade, *news = _graded(settings, state, jax.random.normal(key, shape, dtype))
        is_old = (is_done | (grade == 0))[:, None]
        unit, raw = (jnp.where(is_old, old, new) for old, new in zip(olds, news, strict=True))
        return is_done | (grade == 2), (unit, raw)

    nothing = jnp.full(shape, jnp.nan, dtype)
    first = attempt(key, jnp.zeros(count, bool), (nothing, nothing))
    _, (_, (unit, raw)) = jax.lax.while_loop(
        lambda carry: ~jnp.all(carry[1][0]) & (carry[0] < _ATTEMPTS),
        lambda carry: (carry[0] + 1, attempt(jax.random.fold_in(key, carry[0]), *carry[1])),
        (jnp.ones((), jnp.int32), first),
    )
    return unit, raw


def _graded(settings: CmaSettings, state: CmaState, normal: Array) -> tuple[Array, Array, Array]:
    """Points of standard normal draws `[c, d]`: grade `[c]`, snapped and raw.

    The grade is 2 inside the bounds and allowed; 1 allowed, after having been moved to the bounds.
    """
    gaussian = state.gaussian
    drawn = cma.sample(gaussian, normal)
    raw = unit = jnp.clip(drawn, 0, 1)
    is_inside = drawn == raw
    if any(settings.is_discrete):
        is_discrete, mean = jnp.asarray(settings.is_discrete)[None, :], gaussian.mean[None, :]
        stretched = mean + (drawn - mean) * gaussian.stretch[None, :]
        unit = jnp.where(is_discrete, jnp.clip(stretched, 0, 1), unit)
        raw, is_inside = jnp.where(is_discrete, drawn, raw), is_inside | is_discrete
    unit = settings.space.snap(unit)
    is_allowed = settings.guard.allowed(state.known, unit)
    grade = is_allowed.astype(jnp.int32) * (1 + jnp.all(is_inside, axis=1).astype(jnp.int32))
    return grade, unit, raw


def absorb(
    settings: CmaSettings, key: Array, state: CmaState, observed: tuple[Array, Outcome]
) -> CmaState:
    """Takes observed points, and updates the distribution as often as a population is complete."""
    unit, size = observed[0], settings.population_size
    if settings.batch_size != size or unit.shape[0] != size:
        return _absorb_any(settings, key, state, observed)
    # The generation just asked, told whole and in order, needs no buffer.
    is_whole = state.rows.are_just(unit) & (state.restarts.size == size)
    state = _absorb_whole(settings, key, state, observed[1], is_whole)
    return once_if(~is_whole, lambda old: _absorb_any(settings, key, old, observed), state)


def _absorb_any(
    settings: CmaSettings, key: Array, state: CmaState, observed: tuple[Array, Outcome]
) -> CmaState:
    state = dataclasses.replace(state, rows=state.rows.tell(*observed))

    def generation(state: CmaState) -> CmaState:
        found = state.rows.ranked(state.restarts.size)
        gaussian, restarts, is_over = _advance(settings, key, state.gaussian, state.restarts, found)
        rows = state.rows.forget(found.is_used, gaussian.generation, is_over)
        return CmaState(state.known, gaussian, rows, restarts)

    return jax.lax.while_loop(
        lambda state: state.rows.num_observed() >= state.restarts.size, generation, state
    )


def _absorb_whole(
    settings: CmaSettings, key: Array, state: CmaState, outcome: Outcome, is_whole: Array
) -> CmaState:
    """Learns from an outcome of all rows, if `is_whole`."""
    found = state.rows.ranked_at_once(outcome)

    def step(old: tuple[cma.Gaussian, Restarts]) -> tuple[cma.Gaussian, Restarts]:
        return _advance(settings, key, *old, found, is_first=True)[:2]

    gaussian, restarts = once_if(is_whole, step, (state.gaussian, state.restarts))
    return CmaState(state.known, gaussian, state.rows.emptied_if(is_whole), restarts)


def _advance(
    settings: CmaSettings,
    key: Array,
    old: cma.Gaussian,
    restarts: Restarts,
    found: Ranked,
    *,
    is_first: bool = False,
) -> tuple[cma.Gaussian, Restarts, Array]:
    """The next generation's distribution, or a new run's, and whether it is one.

    `is_first` is static: whether the population has the size of the settings.
    """
    d = settings.space.num_dims
    is_first = is_first or settings.restarts == "none"
    size = settings.population_size if is_first else restarts.size
    constants = cma.strategy(size, settings.most, d, separable=settings.separable)
    weights = constants.weights.at[found.rank].get(mode="fill", fill_value=0)
    weights = jnp.where(found.is_used, weights, 0)
    moved = cma.update(old, constants, found.points, weights)
    if any(settings.is_discrete):
        low, high = cell_ends(settings.space.leaves, jnp.clip(moved.mean, 0, 1)[None])
        is_discrete = jnp.asarray(settings.is_discrete)
        moved = cma.correct_margin(moved, low[0], high[0], is_discrete, settings.margin)
    # A population of failures teaches nothing, nor does one of points that are all the same.
    is_sound = cma.is_sound(moved)
    is_kept = found.has_value & is_sound
    gaussian = jax.tree.map(lambda new, old: jnp.where(is_kept, new, old), moved, old)
    if settings.restarts == "none":
        return gaussian, restarts, jnp.zeros((), bool)
    restarts = restarts.record(gaussian.generation, found.best, found.worst)
    is_over = restarts.is_flat(gaussian.generation)
    is_over |= cma.is_stuck(gaussian, settings.first.sigma) | ~is_sound
    restarts, gaussian = once_if(
        is_over, lambda old: _restarted(settings, key, *old), (restarts, gaussian)
    )
    return gaussian, restarts, is_over


def _restarted(
    settings: CmaSettings, key: Array, restarts: Restarts, gaussian: cma.Gaussian
) -> tuple[Restarts, cma.Gaussian]:
    """Starts anew elsewhere."""
    key_mean, key_regime = jax.random.split(jax.random.fold_in(key, restarts.num_restarts))
    after, factor = restarts.restarted(
        key_regime, settings.restarts, settings.population_size, settings.most
    )
    first = settings.first
    fresh = cma.new_gaussian(
        jax.random.uniform(key_mean, gaussian.mean.shape, gaussian.mean.dtype),
        first.sigma * factor,
        None,
        separable=settings.separable,
        adapts_rates=first.rates is not None,
    )
    return after, fresh
