"""When two points are one, and which pending point an observed one is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._base import Array

SAME = 8.0 * float(np.finfo(np.float32).eps)
"""Points nearer than this in every coordinate are one: two programs may round the centre of a cell
apart, and so may the way through the space's values and back. `acquisition` proposes no point so
near to a known one."""


def are_same(left: Array, right: Array) -> Array:
    """Tells which points `[..., d]` of equal rank are one, `[...]`; NaN equals nothing."""
    return jnp.all(jnp.abs(left - right) < SAME, axis=-1)


def take_first(is_open: Array, observed: Any, matches: Callable[..., Array]) -> Array:
    """Pairs each observed row with the first open one that it matches, no two with one.

    Args:
        is_open: `[n]` bool, rows that wait for their like.
        observed: pytree of arrays `[q, ...]`.
        matches: from a row of `observed` to the rows that are like it, `[n]` bool.

    Returns:
        `[q]` int32 row of each; `n` where there is none.
    """
    n = jnp.asarray(is_open.shape[0], jnp.int32)

    def one(left: Array, row: Any) -> tuple[Array, Array]:
        match = left & matches(row)
        first = jnp.argmax(match).astype(jnp.int32)
        slot = jnp.where(match[first], first, n)
        return left.at[slot].set(False, mode="drop"), slot

    return jax.lax.scan(one, is_open, observed)[1]
