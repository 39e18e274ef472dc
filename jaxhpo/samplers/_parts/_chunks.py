"""Long tells in pieces, and several constraints as one."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo._base import Array


def in_pieces(told: Any, size: int) -> Any:
    """Cuts the arrays `[q, …]` of a pytree into `[pieces, size, …]`, padded with NaN.

    Args:
        told: pytree of real arrays.
        size: static; rows of a piece.

    Returns:
        The pytree.
    """

    def cut(part: Array) -> Array:
        pieces = -(-part.shape[0] // size)
        padding = jnp.full((pieces * size - part.shape[0], *part.shape[1:]), jnp.nan, part.dtype)
        return jnp.concatenate([part, padding]).reshape(pieces, size, *part.shape[1:])

    return jax.tree.map(cut, told)


def summed_violation(violation: Array | None) -> Array | None:
    """Several constraints `[q, c]` as the sum of what is violated, `[q]`; NaN stays NaN."""
    if violation is None or violation.ndim == 1:
        return violation
    return jnp.sum(jnp.maximum(violation, 0), axis=1)
