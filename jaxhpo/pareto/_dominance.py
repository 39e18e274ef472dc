"""Dominance between points of several objectives: ranks, the front, and how crowded it is."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import _checks
from jaxhpo._base import Array

_CHUNK = 256
"""Rows compared with all others at a time, so that a long study needs no square matrix."""


def ranks(value: Array, violation: Array | None = None) -> Array:
    """Sorts points into fronts: 0 what nothing dominates, 1 what only those dominate, and so on.

    Constraints come first: feasible before infeasible, less violation before more (Deb 2002,
    definition 1).

    When to use it: for populations, up to a few thousand points; it compares all pairs.

    Args:
        value: `[n, m]` objective values, minimised.
        violation: `[n]` constraint violation, infeasible where above 0, or None.

    Returns:
        `[n]` int32; `n` for a point that failed.

    Raises:
        ValueError: arrays of another shape.

    Example:
        >>> import jax.numpy as jnp
        >>> ranks(jnp.array([[1.0, 2.0], [2.0, 1.0], [2.0, 2.0], [3.0, 3.0]])).tolist()
        [0, 0, 1, 2]

    References:
        Deb, Pratap, Agarwal and Meyarivan, "A fast and elitist multiobjective genetic algorithm:
        NSGA-II", 2002, https://doi.org/10.1109/4235.996017.
    """
    value, violation, is_valid = _checked("ranks", value, violation)
    n = value.shape[0]
    beats = _beats(value, violation, value, violation)
    beats &= is_valid[:, None] & is_valid[None, :]

    def peel(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        rank, is_left, number = carry
        is_beaten = jnp.any(beats & is_left[:, None], axis=0)
        is_front = is_left & ~is_beaten
        return jnp.where(is_front, number, rank), is_left & is_beaten, number + 1

    start = (jnp.full(n, n, jnp.int32), is_valid, jnp.zeros((), jnp.int32))
    rank, _, _ = jax.lax.while_loop(lambda carry: jnp.any(carry[1]), peel, start)
    return rank


def front_mask(value: Array, violation: Array | None = None) -> Array:
    """Tells which points no other one dominates; of equal points all or none.

    Args:
        value: `[n, m]` objective values, minimised.
        violation: `[n]` constraint violation, infeasible where above 0, or None. With it, only
            feasible points are on the front.

    Returns:
        `[n]` bool.

    Raises:
        ValueError: arrays of another shape.

    Example:
        >>> import jax.numpy as jnp
        >>> front_mask(jnp.array([[1.0, 2.0], [2.0, 1.0], [2.0, 2.0]])).tolist()
        [True, True, False]
    """
    value, violation, is_valid = _checked("front_mask", value, violation)
    is_valid &= violation <= 0
    value = jnp.where(is_valid[:, None], value, jnp.inf)
    if value.shape[1] == 1:
        return is_valid & (value[:, 0] <= jnp.min(value[:, 0], initial=jnp.inf))
    if value.shape[1] == 2:
        return is_valid & _staircase(value)

    def is_beaten(row: Array) -> Array:
        no_worse = jnp.all(value <= row[None, :], axis=1)
        return jnp.any(no_worse & jnp.any(value < row[None, :], axis=1))

    return is_valid & ~jax.lax.map(is_beaten, value, batch_size=min(_CHUNK, value.shape[0]))


def crowding_distance(value: Array, rank: Array) -> Array:
    """Measures how far the neighbours of a point within its front are: larger is less crowded.

    Model: the sum over objectives of the gap between the two neighbours, each gap divided by the
    front's range. The ends of a front are infinitely far.

    Args:
        value: `[n, m]` objective values.
        rank: `[n]` int32 front of each point, as `ranks` gives it.

    Returns:
        `[n]` distances; those of failed points mean nothing.

    Raises:
        ValueError: arrays of another shape.

    Example:
        >>> import jax.numpy as jnp
        >>> value = jnp.array([[0.0, 4.0], [1.0, 1.0], [4.0, 0.0]])
        >>> crowding_distance(value, jnp.zeros(3, jnp.int32)).tolist()
        [inf, 2.0, inf]
    """
    value, _, is_valid = _checked("crowding_distance", value, None)
    given: Any = rank
    if not isinstance(given, jax.Array):
        found = _checks.real_numbers("crowding_distance", "rank", given)
        if not np.isin(found, np.arange(-1, found.size + 1)).all():
            raise _checks.fail("crowding_distance", "rank", "as `ranks` gives it", rank)
        rank = jnp.asarray(found, jnp.int32)
    n = value.shape[0]
    if rank.shape != (n,):
        raise _checks.fail("crowding_distance", "rank", f"of shape [{n}]", rank.shape)
    value = jnp.where(is_valid[:, None], value, 0)

    def one(column: Array) -> Array:
        order = jnp.lexsort((column, rank))
        at, front = column[order], rank[order]
        is_change = front[1:] != front[:-1]
        edge = jnp.ones(1, bool)
        is_first, is_last = jnp.concatenate([edge, is_change]), jnp.concatenate([is_change, edge])
        places = jnp.arange(n, dtype=jnp.int32)
        first = jax.lax.cummax(jnp.where(is_first, places, 0))
        last = jnp.flip(jax.lax.cummin(jnp.flip(jnp.where(is_last, places, n - 1))))
        span = at[last] - at[first]
        # A front without extent in this objective says nothing, and 0 / 0 would be NaN.
        scale = jnp.where(span > 0, 1 / jnp.where(span > 0, span, 1), 0)
        gap = (jnp.roll(at, -1) - jnp.roll(at, 1)) * scale
        return jnp.zeros_like(column).at[order].set(jnp.where(is_first | is_last, jnp.inf, gap))

    return jnp.sum(jax.vmap(one, in_axes=1)(value), axis=0)


def _beats(value: Array, violation: Array, other_value: Array, other_violation: Array) -> Array:
    """Constrained domination of each of `[n]` points over each of `[k]`: `[n, k]` bool."""
    no_worse, better = jnp.ones((), bool), jnp.zeros((), bool)
    for j in range(value.shape[1]):
        one, other = value[:, None, j], other_value[None, :, j]
        no_worse, better = no_worse & (one <= other), better | (one < other)
    mine, theirs = violation[:, None], other_violation[None, :]
    return (mine < theirs) | ((mine == theirs) & no_worse & better & (mine <= 0))


def _staircase(value: Array) -> Array:
    """The front of two objectives by one sort; infinite rows may pass."""
    order = jnp.lexsort((value[:, 1], value[:, 0]))
    first, second = value[order, 0], value[order, 1]
    lowest = jax.lax.cummin(second)
    before = jnp.concatenate([jnp.full(1, jnp.inf, value.dtype), lowest[:-1]])
    # Equal points stand together: a copy of one that is on the front is on it.
    is_new = second < before
    start = jax.lax.cummax(jnp.where(is_new, jnp.arange(value.shape[0], dtype=jnp.int32), 0))
    is_copy = (first == first[start]) & (second == second[start])
    return jnp.zeros(value.shape[0], bool).at[order].set(is_new | is_copy)


def _real(where: str, argument: str, array: Any) -> Array:
    """An array of real numbers, on the device."""
    if not isinstance(array, jax.Array):
        array = jnp.asarray(_checks.real_numbers(where, argument, array), jnp.result_type(float))
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        expected = "an array of real numbers"
        raise TypeError(f"{where}: `{argument}` must be {expected}, got dtype {array.dtype}.")
    return array


def _checked(where: str, value: Array, violation: Array | None) -> tuple[Array, Array, Array]:
    """Shapes, a violation of at least zero for every row, and which rows count."""
    value = _real(where, "value", value)
    if value.ndim != 2 or value.shape[1] == 0:
        raise _checks.fail(where, "value", "of shape [n, m]", value.shape)
    is_valid = jnp.all(jnp.isfinite(value), axis=1)
    if violation is None:
        return value, jnp.zeros(value.shape[0], value.dtype), is_valid
    violation = _real(where, "violation", violation)
    if violation.shape != value.shape[:1]:
        raise _checks.fail(where, "violation", f"of shape [{value.shape[0]}]", violation.shape)
    return value, jnp.nan_to_num(jnp.maximum(violation, 0), nan=jnp.inf), is_valid
