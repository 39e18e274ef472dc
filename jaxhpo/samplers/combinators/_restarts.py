"""A sampler that restarts when it no longer improves."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxhpo import _checks
from jaxhpo._base import Array, Outcome, PyTree, Record, Sampler, has_proposal, make_sampler
from jaxhpo.samplers._parts._chunks import row_keys, summed_violation
from jaxhpo.samplers._parts._fallback import Guard, make_guard
from jaxhpo.samplers._parts._pending import check_space
from jaxhpo.samplers._parts._validation import checked_trials
from jaxhpo.samplers.space_filling._random import RandomState
from jaxhpo.space import Space


class RestartSettings(Record):
    """Settings of `with_restarts`; all traced."""

    sampler: Sampler
    space: Space
    guard: Guard
    patience: Array


class RestartState(NamedTuple):
    """State of `with_restarts`.

    Attributes:
        inner: the sampler's state in this run.
        best: `[]` best value of this run.
        num_since: `[]` int32, trials since it got better.
        num_restarts: `[]` int32.
        known: what was proposed in any run, on a finite space.
    """

    inner: PyTree
    best: Array
    num_since: Array
    num_restarts: Array
    known: RandomState


class RestartInfo(NamedTuple):
    """What `with_restarts` reports of a tell.

    Attributes:
        status: `[]` int32, `Status.EMPTY` if no further point is left, else `Status.COMPLETE`.
        num_observed: `[]` int32, points observed so far.
        num_restarts: `[]` int32.
        part: what the sampler reports.
    """

    status: Array
    num_observed: Array
    num_restarts: Array
    part: PyTree


def with_restarts(sampler: Sampler, space: Space, *, patience: int | Array) -> Sampler:
    """Restarts a sampler from nothing when it has not improved for some trials.

    For samplers that converge and then stay where they are, such as `cma_es` without restarts of
    its own or `de`, on objectives with many minima.

    Args:
        sampler: the sampler; made for `space`.
        space: the search space.
        patience: trials without a better value of this run after which it ends; traced.

    Returns:
        The sampler. On a finite space nothing is proposed twice, in whatever run.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: `patience` below 1, or a space with nothing to search.

    Example:
        >>> import jaxhpo as hpo
        >>> space = hpo.Space({"x": hpo.uniform(-2.0, 3.0)})
        >>> inner = hpo.samplers.pattern(space, num_startup=1, min_step=1e-2)
        >>> sampler = hpo.samplers.with_restarts(inner, space, patience=10)
        >>> objective = lambda key, params: (params["x"] ** 2 - 1.0) ** 2
        >>> result = hpo.minimize(objective, space, sampler, key=0, num_trials=64)
        >>> bool(result.best_value < 1e-2), int(result.info.num_restarts[-1]) > 0
        (True, True)
    """
    where = "with_restarts"
    if not isinstance(sampler, Sampler):
        raise TypeError(f"{where}: `sampler` must be a Sampler, got {_checks.describe(sampler)}.")
    space = check_space(where, space)
    if not _checks.is_traced(patience):
        patience = _checks.check_count(where, "patience", patience, 1)
    settings = RestartSettings(sampler, space, make_guard(space), jnp.asarray(patience, jnp.int32))
    resize = None if sampler.resize is None else _resize
    return make_sampler(settings, _init, _ask, _tell, resize, name="with_restarts")


def _init(settings: RestartSettings, key: Array) -> RestartState:
    key_inner, key_guard = jax.random.split(key)
    zero, again = (jnp.zeros((), jnp.int32) for _ in range(2))
    best = jnp.asarray(jnp.inf, jnp.result_type(float))
    inner = settings.sampler.init(key_inner)
    return RestartState(inner, best, zero, again, settings.guard.init(key_guard))


def _ask(settings: RestartSettings, key: Array, state: RestartState) -> tuple[RestartState, Array]:
    key_ask, key_guard = jax.random.split(key)
    inner, unit = settings.sampler.ask(key_ask, state.inner)
    if settings.guard.lattice is None:
        return state._replace(inner=inner), unit

    # A run knows nothing of the runs before: what they proposed is replaced by what is left.
    def row(known: RandomState, part: tuple[Array, Array]) -> tuple[RandomState, Array]:
        key, unit = part
        is_new = settings.guard.allowed(known, unit[None])[0]
        return settings.guard.settle(known, key, jnp.where(is_new, unit, jnp.nan))

    keys = row_keys(key_guard, unit.shape[0])
    known, unit = jax.lax.scan(row, state.known, (keys, unit))
    return state._replace(inner=inner, known=known), unit


def _tell(
    settings: RestartSettings, key: Array, state: RestartState, unit: Array, outcome: Outcome
) -> tuple[RestartState, RestartInfo]:
    unit, outcome = checked_trials("with_restarts.tell", settings.space, unit, outcome, ())
    key_tell, key_guard, key_fresh = jax.random.split(key, 3)
    inner, part = settings.sampler.tell(key_tell, state.inner, unit, outcome)
    known, info = settings.guard.tell(state.known, key_guard, unit, outcome)
    is_point = has_proposal(unit)
    violation = summed_violation(outcome.violation)
    is_fine = is_point & jnp.isfinite(outcome.value)
    if violation is not None:
        is_fine &= violation <= 0
    value = jnp.where(is_fine, outcome.value, jnp.inf).astype(state.best.dtype)
    value = jnp.min(value, initial=jnp.inf)
    num_since = state.num_since + jnp.sum(is_point, dtype=jnp.int32)
    num_since = jnp.where(value < state.best, 0, num_since)
    best = jnp.minimum(state.best, value)
    is_over = num_since >= settings.patience
    # Buffers have the size that they were changed to; a fresh state is brought to it.
    fresh = _fitted(settings.sampler, settings.sampler.init(key_fresh), inner)
    inner = jax.tree.map(lambda new, old: jnp.where(is_over, new, old), fresh, inner)
    state = RestartState(
        inner,
        jnp.where(is_over, jnp.inf, best),
        jnp.where(is_over, 0, num_since),
        state.num_restarts + is_over.astype(jnp.int32),
        known,
    )
    return state, RestartInfo(info.status, info.num_observed, state.num_restarts, part)


def _fitted(sampler: Sampler, fresh: PyTree, inner: PyTree) -> PyTree:
    """A fresh state in buffers of the size that `inner` has."""
    if sampler.resize is None:
        return fresh
    sizes = [
        (a.shape, b.shape)
        for a, b in zip(jax.tree.leaves(fresh), jax.tree.leaves(inner), strict=True)
        if a.shape != b.shape
    ]
    if not sizes:
        return fresh
    old, new = sizes[0]
    axis = next(i for i in range(len(old)) if old[i] != new[i])
    return sampler.resize(fresh, new[axis])


def _resize(settings: RestartSettings, state: RestartState, capacity: int) -> RestartState:
    assert settings.sampler.resize is not None
    return state._replace(inner=settings.sampler.resize(state.inner, capacity))
