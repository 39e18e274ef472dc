"""Lanes of a search: points improved side by side, where continuous and where discrete."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._base import Array
from jaxhpo.acquisition._problem import Budget, Problem, ScoreFn
from jaxhpo.gp import argmax, minimize_box

_TOLERANCE = 1e-4
_MAX_STEP = 0.5

_GRID = 2.0**18
"""Continuous coordinates that a search has found are multiples of one over it: finer than the
search, and coarse enough that a resumed study proposes the same point to the bit."""


class Lanes(NamedTuple):
    """Points being improved: `[r, d]` unit, `[r, F]` features, `[r]` scores."""

    unit: Array
    features: Array
    value: Array


def climb(
    score: ScoreFn, problem: Problem, lanes: Lanes, lengthscale: Array, budget: Budget
) -> Lanes:
    """Improves the continuous coordinates of each lane, within the cube and the constraints."""
    embedding, space = problem.embedding, problem.space
    row_is_free = embedding.free_columns(space)
    row_width = jnp.where(row_is_free, lengthscale, 1.0)
    rows = (row_is_free, row_width, *problem.bounds(row_width))
    is_free, width, lower, upper = (jnp.broadcast_to(r, lanes.features.shape) for r in rows)
    with problem.outside():
        active = space.active_columns(lanes.unit)
    moves = is_free & active[:, np.asarray(embedding.groups)]

    def function(z: Array) -> tuple[Array, Array]:
        inner = jnp.where(moves, z * width, lanes.features)
        points = embedding.replace_free(space, lanes.unit, inner)
        value, gradient = score(inner, points)
        value = -value
        if problem.space.has_constraints:
            with problem.outside():
                ok = problem.is_allowed(problem.space.snap(points))
            value = jnp.where(ok, value, jnp.inf)
        return value, jnp.where(moves, -gradient * width, 0.0)

    here = lanes.features / width
    found = minimize_box(
        function,
        here,
        jnp.where(moves, lower, here),
        jnp.where(moves, upper, here),
        max_evals=budget.num_evals,
        tolerance=_TOLERANCE,
        inverse=jnp.ones_like(row_width),
        max_step=_MAX_STEP,
    )
    inner = jnp.where(moves, found.x * width, lanes.features)
    inner = jnp.where(is_free, jnp.round(inner * _GRID) / _GRID, inner)
    unit, features, allowed = problem.prepare(embedding.replace_free(space, lanes.unit, inner))
    value = jnp.where(allowed & jnp.isfinite(found.value), -found.value, -jnp.inf)
    return _better(lanes, Lanes(unit, features.astype(width.dtype), value))


def sweep(score: ScoreFn, problem: Problem, lanes: Lanes) -> Lanes:
    """Goes through the discrete coordinates (at least one) and takes the best value of each."""
    space = problem.space
    with problem.outside():
        trials = problem.embedding.trials(space)
    coordinates, levels, offsets, spread = (
        jnp.asarray(part) for part in trials if part is not trials.is_discrete
    )
    num_options = offsets.shape[1]
    num_lanes, d = lanes.unit.shape

    def one(i: Array, lanes: Lanes) -> Lanes:
        at = coordinates[i]
        with problem.outside():
            now = space.levels(lanes.unit)
            current = jnp.take_along_axis(now, jnp.full((num_lanes, 1), at), axis=1)
            shifted = jnp.where(offsets[i][None, :] == 0, 0, current + offsets[i][None, :])
            options = jnp.clip(spread[i][None, :] + shifted, 0, levels[i] - 1).astype(jnp.int32)
            is_here = jnp.arange(d, dtype=jnp.int32) == at
            tried = jnp.where(is_here[None, None, :], options[:, :, None], now[:, None, :])
            centres = space.from_levels(tried, problem.dtype)
            unit = jnp.where(is_here[None, None, :], centres, lanes.unit[:, None, :])
        unit, features, allowed = problem.prepare(unit.reshape(-1, d))
        features = features.astype(lanes.features.dtype)
        value = jnp.where(allowed, score(features, unit)[0], -jnp.inf)
        value = jnp.where(jnp.isnan(value), -jnp.inf, value).reshape(num_lanes, num_options)
        best = argmax(value)
        row = jnp.arange(num_lanes, dtype=jnp.int32) * num_options + best
        new = Lanes(unit[row], features[row], jnp.max(value, axis=1))
        return _better(lanes, new)

    def if_discrete(i: Array, lanes: Lanes) -> Lanes:
        assert trials.is_discrete is not None
        return jax.lax.cond(trials.is_discrete[i], lambda: one(i, lanes), lambda: lanes)

    step = one if trials.is_discrete is None else if_discrete
    return jax.lax.fori_loop(*loop_range(len(trials.coordinates)), step, lanes)


def _better(old: Lanes, new: Lanes) -> Lanes:
    is_better = new.value > old.value
    return Lanes(
        jnp.where(is_better[:, None], new.unit, old.unit),
        jnp.where(is_better[:, None], new.features, old.features),
        jnp.where(is_better, new.value, old.value),
    )


def loop_range(count: int | Array) -> tuple[Array, Array]:
    """Bounds of a loop whose index is int32 in either precision."""
    return jnp.zeros((), jnp.int32), jnp.asarray(count, jnp.int32)
