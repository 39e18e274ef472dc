"""Local float64, whatever the global switch says: casts, and what cannot be lowered there."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def cast(tree: Any, dtype: Any) -> Any:
    """Casts the real arrays of a pytree."""

    def one(leaf: Any) -> Any:
        if hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating):
            return jax.lax.convert_element_type(leaf, dtype)
        return leaf

    return jax.tree.map(one, tree)


def argmax(array: jax.Array) -> jax.Array:
    """Index of the first largest entry along the last axis, int32.

    `jnp.argmax` of float64 cannot be lowered from a program whose global switch is off, because
    its lowering traces once more, outside the local context.

    Args:
        array: `[..., c]`, without NaN.

    Returns:
        `[...]` int32.
    """
    place = jax.lax.broadcasted_iota(jnp.int32, array.shape, array.ndim - 1)
    is_largest = array == jnp.max(array, axis=-1, keepdims=True)
    last = jnp.asarray(array.shape[-1] - 1, jnp.int32)
    return jnp.min(jnp.where(is_largest, place, last), axis=-1)
