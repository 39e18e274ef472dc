"""Derivatives of maxima and minima that hold where the arguments are computed a second time.

JAX's rules compare an argument with the result, and divide by how many are equal to it. Where a
step is recomputed for its derivative, the compiler may round the argument otherwise than it did
for the result (a product and a sum in one instruction, or in two). Then none is equal: the
derivative of `max(axis)` is 0/0, that of `maximum(x, y)` is 0. Seen with `optax.sm3`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

PAIRWISE = ("max", "min")
REDUCTIONS = ("reduce_max", "reduce_min")


def pairwise(eqn: Any, bind: Callable[..., Any], x: Any, y: Any) -> Any:
    """The larger or the smaller of two; equal ones share the derivative, as in JAX."""
    first, second = (jnp.greater, jnp.less)[:: 1 if eqn.primitive.name == "max" else -1]
    apply = jax.custom_jvp(bind)

    @apply.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        x, y = primals
        half = jnp.where(x == y, jnp.ones_like(x) / 2, jnp.zeros_like(x))
        parts = (jnp.where(first(x, y), 1, half), jnp.where(second(x, y), 1, half))
        return apply(x, y), sum(p * along for p, along in zip(parts, tangents, strict=True))

    return apply(x, y)


def reduced(eqn: Any, bind: Callable[..., Any], x: Any) -> Any:
    """The extremum over some axes; equal ones share the derivative, as in JAX."""
    axes = tuple(eqn.params["axes"])
    find = jnp.argmax if eqn.primitive.name == "reduce_max" else jnp.argmin
    apply = jax.custom_jvp(bind)

    @apply.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        (x,), (along,) = primals, tangents
        out = apply(x)
        is_equal = x == jnp.expand_dims(out, axes)
        count = jnp.sum(is_equal, axes, dtype=x.dtype, keepdims=True)
        shares = is_equal.astype(x.dtype) / jnp.maximum(count, 1)
        shares = jnp.where(count > 0, shares, _one_hot(find, x, axes))
        return out, jnp.sum(shares * along, axes)

    return apply(x)


def _one_hot(find: Callable[..., Any], x: Any, axes: tuple[int, ...]) -> Any:
    """1 at the first extremum over the axes, 0 elsewhere; an index is not subject to rounding."""
    last = tuple(range(-len(axes), 0))
    moved = jnp.moveaxis(x, axes, last)
    flat = moved.reshape(*moved.shape[: x.ndim - len(axes)], -1)
    chosen = jax.nn.one_hot(find(flat, -1), flat.shape[-1], dtype=x.dtype)
    return jnp.moveaxis(chosen.reshape(moved.shape), last, axes)
