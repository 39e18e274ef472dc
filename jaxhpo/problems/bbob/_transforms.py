"""The pieces that BBOB functions are composed of (Hansen, Finck, Ros and Auger, 2009)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array


def powers(base: float, d: int, dtype: jnp.dtype) -> Array:
    """`base^(i/(d-1))` for i from 0 to d-1."""
    return jnp.asarray(base, dtype) ** (jnp.arange(d, dtype=dtype) / (d - 1))


def conditioning(alpha: float, d: int, dtype: jnp.dtype) -> Array:
    """The diagonal of Λ^α: `α^(i/(2(d-1)))`."""
    return powers(alpha**0.5, d, dtype)


def oscillate(x: Array) -> Array:
    """T_osz: smooth irregularities, of no period."""
    is_zero = x == 0
    log = 10 * jnp.log(jnp.abs(jnp.where(is_zero, 1, x)))
    first, second = jnp.where(x > 0, 1.0, 0.55), jnp.where(x > 0, 0.79, 0.31)
    first, second = first.astype(x.dtype), second.astype(x.dtype)
    waves = jnp.sin(first * log) + jnp.sin(second * log)
    bent = jnp.sign(x) * jnp.exp((log + 0.49 * waves) / 10)
    return jnp.where(is_zero, 0, bent)


def skew(beta: float, x: Array) -> Array:
    """T_asy: no symmetry about 0."""
    d = x.shape[0]
    positive = jnp.where(x > 0, x, 1)
    exponent = 1 + beta * jnp.arange(d, dtype=x.dtype) / (d - 1) * jnp.sqrt(positive)
    return jnp.where(x > 0, positive**exponent, x)


def penalty(x: Array) -> Array:
    """Sum of squared distances to the box [-5, 5]."""
    return jnp.sum(jnp.maximum(0, jnp.abs(x) - 5) ** 2)


def around(rotation: Array, diagonal: Array, other: Array, x: Array) -> Array:
    """Rotates by `other`, stretches, rotates by `rotation`."""
    return rotation @ (diagonal * (other @ x))
