"""Asking and telling, as `gp` and `turbo` share them."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo._base import Array, Outcome, PyTree, has_proposal
from jaxhpo.samplers._parts._bitset import Visited
from jaxhpo.samplers._parts._chunks import by_row
from jaxhpo.samplers._parts._observations import check_capacity
from jaxhpo.samplers._parts._validation import checked_trials
from jaxhpo.samplers.bayesian import _local_turns as local
from jaxhpo.samplers.bayesian import _search as search
from jaxhpo.samplers.bayesian._settings import GpSettings
from jaxhpo.samplers.bayesian._state import GpState
from jaxhpo.samplers.bayesian._trust_region import Region
from jaxhpo.space.internal import num_used


def propose(
    settings: GpSettings,
    rules: search.Rules,
    key: Array,
    state: GpState,
    region: Region | None = None,
) -> tuple[GpState, Array]:
    """The next points `[q, d]`, which become pending; model-based once enough has been told.

    In a `region` that is given, the model sees the points of the region alone; `state.region`
    bounds some proposals of a model that sees all.
    """
    seen = state.rows.is_observed
    if region is not None:
        seen &= region.holds_rows(seen.shape[0])
    has_model = jnp.sum(seen, dtype=jnp.int32) >= settings.num_startup
    fitted, num_fitted = search.refit(settings, rules, state.rows, state.fitted, state.num_fitted)
    state = dataclasses.replace(state, fitted=fitted, num_fitted=num_fitted)

    def row(state: GpState, key: Array) -> tuple[GpState, Array]:
        key_search, key_start = jax.random.split(key)
        nothing = jnp.full(settings.space.num_dims, jnp.nan, jnp.result_type(float))
        where = _turn(settings, state) if region is None else region
        unit = jax.lax.cond(
            has_model,
            lambda: search.search(settings, rules, key_search, state.rows, state.fitted, where),
            lambda: nothing,
        )
        start, unit = jax.lax.cond(
            has_proposal(unit),
            lambda: (_close(settings, state.start, unit), unit),
            lambda: _follow(settings, key_start, state.start),
        )
        unit = settings.space.snap(unit)
        return dataclasses.replace(state, start=start, rows=state.rows.ask(unit)), unit

    return by_row(row, state, key, settings.options.batch_size)


def absorb(
    where: str,
    settings: GpSettings,
    key: Array,
    state: GpState,
    unit: Any,
    outcome: Outcome,
    objectives: tuple[int, ...] = (),
) -> tuple[GpState, Array, Any]:
    """The state after a tell, the snapped points, and the report of the start-up sequence.

    `objectives` is the shape of one trial's value, as for `checked_trials`.
    """
    unit, outcome = checked_trials(where, settings.space, unit, outcome, objectives)
    check_capacity(where, state.rows, unit)
    start, info = settings.start.tell(key, state.start, unit, outcome)
    rows = state.rows.tell(unit, outcome)
    counts, region = state.counts.add(unit, outcome), state.region
    if region is not None:
        first, num_dims = state.counts.num_observed, num_used(settings.space)
        region = local.learn(region, first, unit, outcome, num_dims)
    state = dataclasses.replace(state, rows=rows, start=start, counts=counts, region=region)
    return state, unit, info


def resize(settings: GpSettings, state: GpState, capacity: int) -> GpState:
    """The same observations in buffers of another capacity (static)."""
    del settings  # the capacity is the shape of the buffers
    return dataclasses.replace(state, rows=state.rows.resize(capacity))


def _turn(settings: GpSettings, state: GpState) -> Region | None:
    """Where the next proposal of a model that sees all points may be."""
    if state.region is None:
        return None
    number = jnp.sum(state.rows.is_known, dtype=jnp.int32)
    return local.bounds(state.region, local.stays(state.region, number, num_used(settings.space)))


def _close(settings: GpSettings, start: PyTree, unit: Array) -> PyTree:
    """Closes a proposed configuration of a finite space."""
    if settings.lattice is None or not isinstance(start.known, Visited):
        return start
    known = start.known.add(*settings.lattice.number(settings.space, unit[None]))
    return dataclasses.replace(start, known=known)


def _follow(settings: GpSettings, key: Array, start: PyTree) -> tuple[PyTree, Array]:
    """The next point of the low-discrepancy sequence."""
    start, unit = settings.start.ask(key, start)
    return start, unit[0]
