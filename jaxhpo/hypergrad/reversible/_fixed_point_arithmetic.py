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

_WORD = 32  # binary digits of the buffer that one stored word holds
_LARGEST = 61  # binary digits that a number may fill: the sum of two still fits into an int64


def binary_digits(dtype: Any) -> int:
    """Digits after the point.

    Finer ones agree better with floating point, but notice more often that a gradient computed
    again differs in its last bit, which rounding hides: the reversal is then refused.
    """
    return 44 if jnp.finfo(dtype).eps < 1e-10 else 40


def largest(digits: int) -> float:
    """Numbers that reach this size are refused: 131,072 in float64, two millions in float32."""
    return 2.0 ** (_LARGEST - digits)


def steps_per_word(n: int, d: int) -> int:
    """Steps whose digits fit into a word: after k they are below `(d/n)^k (d-1)/(d-n)`."""
    free_bits = _WORD - math.log2(max(1.0, (d - 1) / (d - n)))
    return max(1, math.floor(free_bits / math.log2(d / n)))


def fix(x: Array, digits: int) -> Array:
    """Rounds to fixed point."""
    return jnp.rint(x.astype(jnp.float64) * 2.0**digits).astype(jnp.int64)


def to_real(ints: Ints, dtypes: list[Any], digits: int) -> list[Array]:
    """Fixed-point numbers as floating ones."""
    pairs = zip(ints, dtypes, strict=True)
    return [(i.astype(jnp.float64) * 2.0**-digits).astype(dtype) for i, dtype in pairs]


def are_below(parts: list[Array], bound: float) -> Array:
    """`[]` whether all entries are smaller than a bound in size; NaN is not."""
    checks = [jnp.all((part < bound) & (part > -bound)) for part in parts if part.size]
    return jnp.all(jnp.stack(checks)) if checks else jnp.ones((), bool)


def exchange(v: Array, digits: Array, out: int, back: int) -> tuple[Array, Array]:
    """`v back / out`, exactly: a digit in base `out` leaves v, one in base `back` returns.

    The inverse of `exchange(v, digits, d, n)` is `exchange(v, digits, n, d)`.
    """
    # Rounds down also below zero; the remainders come by multiplication, one division each.
    quotient = jax.lax.div(v - jnp.where(v < 0, jnp.int64(out - 1), jnp.int64(0)), jnp.int64(out))
    wide = digits.astype(jnp.int64) * out + (v - quotient * out)
    rest = jax.lax.div(wide, jnp.int64(back))
    return quotient * back + (wide - rest * back), rest.astype(digits.dtype)
