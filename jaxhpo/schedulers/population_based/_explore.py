"""New points beside old ones: a step in each dimension, in the terms of its own scale."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._base import Array, Record
from jaxhpo.space import Space
from jaxhpo.space.internal import Dimension, Leaf, Ordinal, Static

# Of a dimension that may be negative, a factor of 1.25 is a tenth of the unit interval.
_SHIFT = 0.1 / math.log(1.25)
# Points tried where constraints may refuse some.
_TRIES = 16


class Steps(Record):
    """How far new points lie from old ones.

    Attributes:
        factors: `[2]` of a value that falls and of one that rises.
        scale: `[]` deviation of the number of factors that a value is multiplied with.
        resample: `[]` probability that a coordinate is drawn anew.
    """

    factors: Array
    scale: Array
    resample: Array


def real_columns(space: Space) -> np.ndarray:
    """Which coordinates move continuously, and values with them: bool `[d]`."""
    return np.asarray(
        [
            not (leaf.dimension.is_discrete or isinstance(leaf.dimension, Static))
            for leaf in space.leaves
            for _ in range(leaf.stop - leaf.start)
        ],
        bool,
    )


def explore(space: Space, steps: Steps, key: Array, unit: Array) -> Array:
    """Moves points `[n, d]`; each stays in its space, and keeps its static values.

    Args:
        space: the space.
        steps: how far.
        key: a key; consumed.
        unit: `[n, d]` points.

    Returns:
        `[n, d]` new points. Where constraints refuse all that were tried, the old one.
    """
    if not space.has_constraints:
        return _move(space, steps, key, unit)
    tried = jax.vmap(lambda one: _move(space, steps, one, unit))(jax.random.split(key, _TRIES))
    is_allowed = space.allows(tried)
    first = jnp.argmax(is_allowed, axis=0)
    chosen = jnp.take_along_axis(tried, first[None, :, None], axis=0)[0]
    return jnp.where(jnp.any(is_allowed, axis=0)[:, None], chosen, unit)


def _move(space: Space, steps: Steps, key: Array, unit: Array) -> Array:
    key_step, key_draw, key_resample = jax.random.split(key, 3)
    down, up = jnp.log(steps.factors)
    number = steps.scale * jax.random.normal(key_step, unit.shape, unit.dtype)
    log_factor = jnp.where(number > 0, number * up, -number * down)
    draw = jax.random.uniform(key_draw, unit.shape, unit.dtype)
    is_anew = jax.random.uniform(key_resample, unit.shape, unit.dtype) < steps.resample
    parts = []
    for leaf in space.leaves:
        at = slice(leaf.start, leaf.stop)
        if leaf.stop == leaf.start:
            continue
        if isinstance(leaf.dimension, Static):
            parts.append(unit[:, at])
            continue
        moved = _step(leaf, unit[:, at], log_factor[:, at])
        parts.append(jnp.where(is_anew[:, at], draw[:, at], moved))
    moved = jnp.concatenate(parts, axis=1)
    # A parameter whose branch comes to be chosen has no value to be moved; branches may be nested.
    was_active = space.active_columns(unit)
    for _ in range(max(len(leaf.conditions) for leaf in space.leaves)):
        is_fresh = space.active_columns(moved) & ~was_active
        moved = jnp.where(is_fresh, draw, moved)
    return space.snap(moved)


def _step(leaf: Leaf, unit: Array, log_factor: Array) -> Array:
    """Multiplies the values of a leaf, `[n, size]` coordinates in and out."""
    dimension = leaf.dimension
    if dimension.is_categorical:
        return unit
    shape = (len(unit), *dimension.shape)
    flat, log_factor = unit.reshape(shape), log_factor.reshape(shape)
    moved = jnp.clip(flat + _SHIFT * log_factor, 0.0, 1.0)
    if not isinstance(dimension, Ordinal):
        product = _multiplied(dimension, flat, jnp.exp(log_factor))
        lowest = jnp.asarray(dimension.from_unit(jnp.zeros((), unit.dtype)), unit.dtype)
        moved = jnp.where(lowest >= 0, product, moved)
    if dimension.is_discrete:
        moved = _next_level(dimension, flat, moved, log_factor)
    return moved.reshape(unit.shape)


def _multiplied(dimension: Dimension, unit: Array, factor: Array) -> Array:
    """Coordinates of the values times a factor, within bounds."""
    ends = jnp.ones((), unit.dtype)
    value, largest = (jnp.asarray(dimension.from_unit(u), unit.dtype) for u in (unit, ends))
    product = jnp.minimum(value * factor, largest)
    return jnp.clip(dimension.to_unit(product).astype(unit.dtype), 0.0, 1.0)


def _next_level(dimension: Any, unit: Array, moved: Array, log_factor: Array) -> Array:
    """Moves by one level at least, so that rounding does not hold a value where it is."""
    now, then = dimension.level(unit), dimension.level(moved)
    last = dimension.level(jnp.ones((), unit.dtype))  # the bounds may be traced
    beside = jnp.clip(now + jnp.sign(log_factor).astype(now.dtype), 0, last)
    level = jnp.where(then == now, beside, then)
    return dimension.unit_of_level(level, unit.dtype)
