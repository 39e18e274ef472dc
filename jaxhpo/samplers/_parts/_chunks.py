"""Batches: asked row after row, told in pieces; and several constraints as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

from jaxhpo._base import Array

State = TypeVar("State")
Observed = TypeVar("Observed")


def row_keys(key: Array, count: int) -> Array:
    """Keys `[count]` of the rows of a batch: a row has the same in a longer batch."""
    numbers = jnp.arange(count, dtype=jnp.uint32)
    return jax.vmap(lambda number: jax.random.fold_in(key, number))(numbers)


def by_row(
    row: Callable[[State, Array], tuple[State, Array]], state: State, key: Array, count: int
) -> tuple[State, Array]:
    """Proposes row after row, so that each knows of those before it.

    Args:
        row: from a state and a key to the next state and a point `[d]`.
        state: the state.
        key: a single row takes it as it is, several take `row_keys`.
        count: static; rows.

    Returns:
        The state, and the points `[count, d]`.
    """
    if count == 1:
        state, unit = row(state, key)
        return state, unit[None]
    return jax.lax.scan(row, state, row_keys(key, count))


def by_piece(
    absorb: Callable[[State, Observed, Array | None], State],
    state: State,
    observed: Observed,
    size: int,
) -> State:
    """Absorbs observed rows, in pieces where there are many, so that fixed buffers suffice.

    Args:
        absorb: from a state, observed rows and the uint32 number of their piece (None where there
            is one piece) to the next state.
        state: the state.
        observed: pytree of real arrays `[q, …]`; the last piece is filled up with NaN.
        size: static; rows of a piece.

    Returns:
        The state.
    """
    q = jax.tree.leaves(observed)[0].shape[0]
    if q <= size:
        return absorb(state, observed, None)
    pieces = -(-q // size)

    def cut(part: Array) -> Array:
        padding = jnp.full((pieces * size - q, *part.shape[1:]), jnp.nan, part.dtype)
        return jnp.concatenate([part, padding]).reshape(pieces, size, *part.shape[1:])

    def one(state: State, piece: tuple[Array, Observed]) -> tuple[State, None]:
        return absorb(state, piece[1], piece[0]), None

    numbers = jnp.arange(pieces, dtype=jnp.uint32)
    return jax.lax.scan(one, state, (numbers, jax.tree.map(cut, observed)))[0]


def summed_violation(violation: Array | None) -> Array | None:
    """Several constraints `[q, c]` as the sum of what is violated, `[q]`; NaN stays NaN."""
    if violation is None or violation.ndim == 1:
        return violation
    return jnp.sum(jnp.maximum(violation, 0), axis=1)
