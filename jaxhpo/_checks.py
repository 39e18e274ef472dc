"""Checks of arguments before anything is traced: which argument, what was expected, what came.

Range checks run on concrete values only, so that a traced setting may pass through `vmap`.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def real_numbers(where: str, argument: str, array: Any) -> np.ndarray:
    """An array of real numbers as float64, on the host.

    Raises:
        TypeError: anything else.
    """
    try:
        found = np.asarray(array)
        if found.dtype.kind not in "cSU":
            return found.astype(np.float64)
    except (TypeError, ValueError):
        pass
    expected = "an array of real numbers"
    raise TypeError(f"{where}: `{argument}` must be {expected}, got {describe(array)}.")


def check_instance(where: str, argument: str, value: Any, kind: type, expected: str) -> Any:
    """Requires an object of a class and returns it."""
    if not isinstance(value, kind):
        raise TypeError(f"{where}: `{argument}` must be {expected}, got {describe(value)}.")
    return value


def is_traced(value: Any) -> bool:
    """Tells whether `value` is known only inside a trace."""
    return isinstance(value, jax.core.Tracer)


def describe(value: Any, limit: int = 80) -> str:
    """Shows what came, on one line, cut to `limit` characters."""
    text = " ".join(line.strip() for line in repr(value).splitlines())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def fail(where: str, argument: str, expected: str, got: Any) -> ValueError:
    """Builds the house's one error sentence."""
    return ValueError(f"{where}: `{argument}` must be {expected}, got {describe(got)}.")


def check_number(where: str, argument: str, value: Any) -> Any:
    """Requires a finite real number (or a traced scalar) and returns it."""
    if is_traced(value):
        return value
    if hasattr(value, "shape") and value.shape == () and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{where}: `{argument}` must be a real number, got {describe(value)}.")
    if not math.isfinite(value):
        raise fail(where, argument, "finite", value)
    return value


def is_in_cube(unit: Any) -> bool:
    """Tells whether all coordinates are in [0, 1] or NaN; True of what is traced.

    NumPy looks at them: JAX traces what it does with known arrays inside a trace.
    """
    if is_traced(unit):
        return True
    unit = np.asarray(unit)
    return not bool(np.any((unit < 0) | (unit > 1)))


def check_positive(where: str, argument: str, value: Any) -> Any:
    """Requires a finite number above zero and returns it."""
    value = check_number(where, argument, value)
    if not is_traced(value) and value <= 0:
        raise fail(where, argument, "greater than 0", value)
    return value


def check_not_negative(where: str, argument: str, value: Any) -> Any:
    """Requires a finite number of at least zero and returns it."""
    value = check_number(where, argument, value)
    if not is_traced(value) and value < 0:
        raise fail(where, argument, "at least 0", value)
    return value


def check_int(where: str, argument: str, value: Any, minimum: int) -> int:
    """Requires a Python integer (a static setting) of at least `minimum` and returns it."""
    if hasattr(value, "shape") and hasattr(value, "item") and not is_traced(value):
        value = value.item() if value.shape == () else value
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(
            f"{where}: `{argument}` must be an integer of at least {minimum}, "
            f"got {describe(value)}."
        )
    if value < minimum:
        raise fail(where, argument, f"at least {minimum}", value)
    return int(value)


def check_bool(where: str, argument: str, value: Any) -> bool:
    """Requires True or False and returns it."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{where}: `{argument}` must be True or False, got {describe(value)}.")
    return bool(value)


def check_seed(where: str, argument: str, value: Any) -> int:
    """Requires an integer that a key can be made of and returns it."""
    seed = check_int(where, argument, value, 0)
    if seed >= 2**63:
        raise fail(where, argument, "below 2**63", value)
    return seed


def check_callable(where: str, argument: str, value: Any) -> Callable[..., Any]:
    """Requires something that can be called and returns it."""
    if not callable(value):
        raise TypeError(f"{where}: `{argument}` must be callable, got {describe(value)}.")
    return value


def check_key(where: str, key: Any) -> jax.Array:
    """Accepts a typed key, an integer seed or an old-style raw key, and returns a typed key."""
    if isinstance(key, int | np.integer) and not isinstance(key, bool):
        return jax.random.key(int(key))
    if isinstance(key, jax.Array) and jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key):
        if key.ndim:
            raise fail(where, "key", "one key (vmap over several, or minimize_many)", key.shape)
        return key
    if isinstance(key, jax.Array) and key.dtype == "uint32" and key.shape[-1:] == (2,):
        return jax.random.wrap_key_data(key)
    raise TypeError(
        f"{where}: `key` must be a key from jax.random.key(seed) or an integer seed, "
        f"got {describe(key)}."
    )
