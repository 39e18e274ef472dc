"""Points that a search for the best next point begins with."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from jaxhpo._base import Array
from jaxhpo.acquisition._problem import Box, Budget, Problem
from jaxhpo.space.internal import num_used

_NUM_MOVED = 20
"""Coordinates that a candidate in a box moves, on average at most."""


def candidate_points(
    problem: Problem, table: Array, incumbent: Array, shift: Array, budget: Budget
) -> Array:
    """Candidates for one search: a shifted low-discrepancy set, and some around the incumbent.

    In a box, the set fills the box; of more than 20 coordinates each candidate moves only some, the
    others stay at the centre (Eriksson et al., 2019, section 3), unless the box is the whole cube.

    Args:
        problem: where to search.
        table: `[c, d + 2]` low-discrepancy points of the unit cube; fixed.
        incumbent: `[d]` snapped point to search around.
        shift: `[d + 2]` uniform numbers, drawn for this search.
        budget: static sizes; `c = num_global + num_local`.

    Returns:
        `[c, d]` points, not snapped. A local one moves the continuous coordinates by up to a radius
        between 1e-4 and 0.3, and each discrete coordinate with a probability of 0.2 or `1 / d`.
    """
    shifted = table + shift[None, :]
    shifted = shifted - jnp.floor(shifted)
    points, extra = shifted[:, :-2], shifted[:, -2]
    local, d = points[budget.num_global :], num_used(problem.space)
    log_low, log_high = float(np.log(1e-4)), float(np.log(0.3))
    radius = jnp.exp(log_low + (log_high - log_low) * extra[budget.num_global :])[:, None]
    near = jnp.clip(incumbent[None, :] + radius * (2.0 * local - 1.0), 0.0, 1.0)
    rate = jnp.maximum(0.2, 1.0 / jnp.asarray(d, points.dtype))
    redrawn = jnp.where(local < rate, local / rate, incumbent[None, :])
    is_continuous = problem.embedding.is_continuous(problem.space)
    near = jnp.where(is_continuous[None, :], near, redrawn)
    spread = points[: budget.num_global]
    if problem.box is not None:
        spread = _into_box(spread, problem.box, d)
        near = jnp.clip(near, problem.box.lower[None, :], problem.box.upper[None, :])
    return jnp.concatenate([spread, near])


def _into_box(points: Array, box: Box, num_dims: int | Array) -> Array:
    """Points of the unit cube `[c, d]` moved into a box; `num_dims` of the coordinates are used."""
    inside = box.lower[None, :] + (box.upper - box.lower)[None, :] * points
    if points.shape[1] <= _NUM_MOVED:
        return inside
    is_whole = jnp.all((box.lower <= 0) & (box.upper >= 1))
    # Another point of the same set says which coordinates move; one always does.
    lot = jnp.roll(points, points.shape[0] // 2, axis=0)
    moves = (lot < _NUM_MOVED / num_dims) | (lot == jnp.min(lot, axis=1, keepdims=True)) | is_whole
    return jnp.where(moves, inside, box.centre[None, :])
