"""Writing rows into buffers: XLA's scatter is a loop over the rows on a CPU, so there is one."""

from __future__ import annotations

import jax.numpy as jnp

from jaxhpo._base import Array

_FEW = 2**13
"""Pairs of a new row and a buffer's row up to which comparing them all beats the loop."""


def place_rows(buffer: Array, slot: Array, rows: Array) -> Array:
    """Writes rows into a buffer.

    Args:
        buffer: `[n, …]`.
        slot: `[q]` int32, where each row goes, no two to one place; out of range goes nowhere.
        rows: `[q, …]`.

    Returns:
        The buffer with the rows in it.
    """
    q = slot.shape[0]
    if q == 1:
        return buffer.at[slot[0]].set(rows[0], mode="drop")
    source = _sources(slot, buffer.shape[0])
    has_row = (source < q).reshape(-1, *[1] * (buffer.ndim - 1))
    return jnp.where(has_row, rows[jnp.minimum(source, q - 1)], buffer)


def _sources(slot: Array, n: int) -> Array:
    """The row that goes to each place, `[n]` int32; `q` where none does."""
    q = slot.shape[0]
    number = jnp.arange(q, dtype=jnp.int32)
    if q * n > _FEW:
        return jnp.full(n, q, jnp.int32).at[slot].set(number, mode="drop")
    is_here = slot[:, None] == jnp.arange(n, dtype=slot.dtype)[None, :]
    return jnp.min(jnp.where(is_here, number[:, None], q), axis=0)
