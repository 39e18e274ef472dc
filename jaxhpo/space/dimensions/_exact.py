"""Numbers of a dimension that the device's floats cannot carry, and what that means for it.

Bounds are pytree leaves, so that spaces of equal structure share compiled code; on the way into a
program a leaf is rounded to the device's float. Where that would lose the interval (a timestamp
with hours of width, 1e-300, an integer past int32) the bounds are part of the structure instead,
and values are made on the host, in float64, or inside `jax.enable_x64`.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

FEWEST_FLOATS = 2**9
"""Floats that an interval must hold to be searched in their precision: fewer are a short list."""

LARGEST_INTEGER = 2**53
"""Up to here all integers are float64 numbers, which is how databases keep parameters."""

MOST_NUMBERED = 2**22
"""Grid points that float32 unit coordinates hit one by one: their cells are four floats wide."""


@jax.tree_util.register_static
class ExactFloat(float):
    """A float that is part of a pytree's structure."""


@jax.tree_util.register_static
class ExactInt(int):
    """An integer that is part of a pytree's structure."""


def exact(value: Any) -> Any:
    """A number that programs do not round."""
    return ExactInt(value) if isinstance(value, int) else ExactFloat(value)


def is_exact(value: Any) -> bool:
    """Whether a number is part of the structure."""
    return isinstance(value, ExactFloat | ExactInt)


def namespace(array: Any) -> Any:
    """`jax.numpy` for arrays of a device or a trace, NumPy for those of the host."""
    return jnp if isinstance(array, jax.Array) else np


def number(value: Any, xp: Any, dtype: Any) -> Any:
    """A bound as an array of `xp`."""
    return xp.asarray(np.asarray(value, dtype) if is_exact(value) else value, dtype)


def interval_fault(low: float, high: float, log: bool, dtype: Any) -> str | None:
    """Why floats of this dtype cannot tell the values of an interval apart; None if they can."""
    limits, largest = np.finfo(dtype), max(abs(low), abs(high))
    if largest > float(limits.max):
        return f"{dtype} ends at ±{float(limits.max):.2g}"
    if log and low < float(limits.tiny):
        return f"{dtype} begins at {float(limits.tiny):.2g}"
    width = math.log(high) - math.log(low) if log else high - low
    if 0 < width < FEWEST_FLOATS * float(limits.eps) * (1.0 if log else largest):
        return f"{dtype} has fewer than {FEWEST_FLOATS} numbers between {low} and {high}"
    return None


def grid_fault(low: float, high: float, step: float, dtype: Any) -> str | None:
    """Why floats of this dtype cannot tell neighbours on a grid apart; None if they can."""
    largest = max(abs(low), abs(high))
    if largest > float(jnp.finfo(dtype).max):
        return f"{dtype} ends at ±{float(jnp.finfo(dtype).max):.2g}"
    if high > low and step < 4 * float(jnp.finfo(dtype).eps) * largest:
        return f"{dtype} cannot tell neighbours between {low} and {high} apart"
    return None


def integer_fault(low: int, high: int, dtype: Any) -> str | None:
    """Why a program cannot hold these integers; with float64 it has int64 as well."""
    limits = np.iinfo(np.int64 if np.dtype(dtype) == np.float64 else np.int32)
    return None if limits.min <= low and high <= limits.max else f"{limits.dtype} cannot hold it"
