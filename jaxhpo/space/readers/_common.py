"""What the readers share: naming the offending entry, plain Python values, multiples of a step.

A reader looks at class names and attributes only, so that it works with whatever version of the
foreign library the user has imported, and imports none of them itself.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from jaxhpo._checks import describe, fail

# Two numbers this close, relatively, are one grid point: 0.3 / 0.1 = 2.9999999999999996 is 3.
_SAME = 1e-9


def class_names(value: Any) -> frozenset[str]:
    """Returns the names of the class of `value` and of all its bases."""
    return frozenset(base.__name__ for base in type(value).__mro__)


def plain(value: Any) -> Any:
    """Turns a NumPy scalar into the Python number or string it stands for."""
    return value.item() if isinstance(value, np.generic) else value


def check_nonempty_mapping(where: str, argument: str, value: Any, values: str) -> Mapping[str, Any]:
    """Requires a mapping from strings to `values` with at least one entry and returns it."""
    if not isinstance(value, Mapping):
        raise TypeError(
            f"{where}: `{argument}` must be a dict from names to {values}, got {describe(value)}."
        )
    if not value:
        raise fail(where, argument, "a dict with at least one entry", value)
    for name in value:
        if not isinstance(name, str):
            raise TypeError(f"{where}: `{argument}` must have strings as keys, got {name!r}.")
    return value


@contextmanager
def entry(where: str, argument: str) -> Iterator[None]:
    """Puts the name of the caller's entry before what a dimension says about its own argument."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if str(error).startswith(f"{where}: "):
            raise
        raise type(error)(f"{where}: `{argument}` cannot be read: {error}") from error


def finite(where: str, argument: str, value: Any) -> float | int:
    """Requires a finite real number and returns it as a Python number."""
    value = plain(value)
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{where}: `{argument}` must be a real number, got {describe(value)}.")
    if not math.isfinite(value):
        raise fail(where, argument, "finite", value)
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def multiples(where: str, argument: str, low: float, high: float, q: float) -> tuple[float, float]:
    """Returns the smallest and the largest multiple of `q` in `[low, high]`, never outside it.

    Args:
        where: the reader's name, for the error.
        argument: the entry's name, for the error.
        low: lower bound.
        high: upper bound.
        q: spacing, greater than 0.

    Returns:
        The two multiples; both are integers when `q` is.

    Raises:
        ValueError: `q` is not positive, or no multiple of it lies between the bounds.
    """
    if q <= 0:
        raise fail(where, argument, "quantized by a `q` greater than 0", q)
    first, last = _index(low / q, math.ceil), _index(high / q, math.floor)
    if first > last:
        raise fail(where, argument, f"an interval that holds a multiple of {q}", (low, high))
    return max(first * q, low), min(last * q, high)


def _index(scaled: float, rounding: Callable[[float], int]) -> int:
    nearest = round(scaled)
    return nearest if math.isclose(scaled, nearest, rel_tol=_SAME) else rounding(scaled)
