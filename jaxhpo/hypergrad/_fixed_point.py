"""Fixed-point numbers with an exact inverse of every operation, the decay of a velocity included.

The digits that the decay `v n / d` would lose go into a word of 32 bits, `log2(d / n)` of them a
step (Maclaurin et al. 2015, section 2.3).
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array
Ints = list[Array]

_RADIX = 40  # binary digits after the point; 23 remain before it
_WORD = 32  # binary digits of the buffer that one stored word holds

RESOLUTION = 2.0**-_RADIX


def steps_per_word(n: int, d: int) -> int:
    """Steps whose digits fit into a word: after k they are below `(d/n)^k (d-1)/(d-n)`."""
    room = _WORD - math.log2(max(1.0, (d - 1) / (d - n)))
    return max(1, math.floor(room / math.log2(d / n)))


def fix(x: Array) -> Array:
    """Rounds to fixed point."""
    return jnp.rint(x.astype(jnp.float64) * 2.0**_RADIX).astype(jnp.int64)


def to_real(ints: Ints, dtypes: list[Any]) -> list[Array]:
    """Fixed-point numbers as floating ones."""
    pairs = zip(ints, dtypes, strict=True)
    return [(i.astype(jnp.float64) * 2.0**-_RADIX).astype(dtype) for i, dtype in pairs]


def exchange(v: Array, digits: Array, out: int, back: int) -> tuple[Array, Array]:
    """`v back / out`, exactly: a digit in base `out` leaves v, one in base `back` returns.

    The inverse of `exchange(v, digits, d, n)` is `exchange(v, digits, n, d)`.
    """
    # Rounds down also below zero; the remainders come by multiplication, one division each.
    quotient = jax.lax.div(v - jnp.where(v < 0, jnp.int64(out - 1), jnp.int64(0)), jnp.int64(out))
    wide = digits.astype(jnp.int64) * out + (v - quotient * out)
    rest = jax.lax.div(wide, jnp.int64(back))
    return quotient * back + (wide - rest * back), rest.astype(digits.dtype)
