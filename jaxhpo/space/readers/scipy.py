"""SciPy `bounds` as a `Space`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxhpo._checks import describe, fail, real_numbers
from jaxhpo.space._space import Space
from jaxhpo.space.dimensions._dimension import Dimension
from jaxhpo.space.dimensions._real import uniform
from jaxhpo.space.dimensions._stepped import integer
from jaxhpo.space.readers._common import entry, finite

_WHERE = "from_scipy"


def from_scipy(
    bounds: Any, names: Sequence[str] | None = None, *, integrality: Any = None
) -> Space:
    """Reads the bounds of `scipy.optimize` into a space of uniform and integer dimensions.

    Without names the space is a tuple, so that `np.asarray(params)` is SciPy's `x`; with names it
    is a dict. SciPy has no log scale: write `log_uniform` where you mean one.

    Args:
        bounds: a sequence of (low, high) pairs, an array `[d, 2]`, or a `scipy.optimize.Bounds`.
            Both ends are included and must be finite.
        names: d distinct names, or None.
        integrality: as in `differential_evolution`: d booleans (or 0 and 1), or one for all; true
            means an integer from ceil(low) to floor(high).

    Returns:
        The space.

    Raises:
        ValueError: a bound is missing or infinite, bounds are reversed, or lengths differ.
        TypeError: `bounds` is no sequence of pairs.

    Example:
        >>> import jax
        >>> from jaxhpo.space import from_scipy
        >>> space = from_scipy([(-5.0, 10.0), (0, 15)], integrality=[False, True])
        >>> x = space.decode(space.sample(jax.random.key(0), 1))[0]
        >>> len(x), type(x[1]).__name__
        (2, 'int')
    """
    pairs = _pairs(bounds)
    whole = _integrality(integrality, len(pairs))
    dimensions = []
    for i, (pair, is_whole) in enumerate(zip(pairs, whole, strict=True)):
        argument = f"bounds[{i}]"
        with entry(_WHERE, argument):
            dimensions.append(_dimension(argument, pair, is_whole))
    if names is None:
        return Space(tuple(dimensions))
    return Space(dict(zip(_check_names(names, len(pairs)), dimensions, strict=True)))


def _pairs(bounds: Any) -> list[tuple[Any, Any]]:
    if hasattr(bounds, "lb") and hasattr(bounds, "ub"):
        low, high = np.broadcast_arrays(np.atleast_1d(bounds.lb), np.atleast_1d(bounds.ub))
        pairs: list[Any] = list(zip(low.tolist(), high.tolist(), strict=True))
    else:
        try:
            pairs = [tuple(pair) for pair in bounds]
        except TypeError:
            raise TypeError(
                f"{_WHERE}: `bounds` must be a sequence of (low, high) pairs or a "
                f"scipy.optimize.Bounds, got {describe(bounds)}."
            ) from None
    if not pairs:
        raise fail(_WHERE, "bounds", "at least one (low, high) pair", bounds)
    for i, pair in enumerate(pairs):
        if len(pair) != 2:
            raise fail(_WHERE, f"bounds[{i}]", "a (low, high) pair", pair)
    return pairs


def _integrality(integrality: Any, size: int) -> list[bool]:
    flags = real_numbers(_WHERE, "integrality", 0 if integrality is None else integrality)
    if flags.shape not in ((), (size,)) or not np.isin(flags, (0, 1)).all():
        raise fail(_WHERE, "integrality", f"{size} booleans, or one for all", integrality)
    return [bool(flag) for flag in np.broadcast_to(flags, (size,))]


def _check_names(names: Sequence[str], size: int) -> list[str]:
    found = list(names)
    if isinstance(names, str) or not all(isinstance(name, str) for name in found):
        raise TypeError(f"{_WHERE}: `names` must be a list of strings, got {describe(names)}.")
    if len(set(found)) != size or len(found) != size:
        raise fail(_WHERE, "names", f"{size} distinct strings, one per bound", names)
    return found


def _dimension(argument: str, pair: tuple[Any, Any], is_whole: bool) -> Dimension:
    for bound, side in zip(pair, ("low", "high"), strict=True):
        if bound is None or (isinstance(bound, float) and math.isinf(bound)):
            raise fail(
                _WHERE, argument, f"bounded on both sides (a search needs a finite {side})", pair
            )
    low, high = (finite(_WHERE, argument, bound) for bound in pair)
    if not is_whole:
        return uniform(low, high)
    if math.ceil(low) > math.floor(high):
        raise fail(_WHERE, argument, "an interval that holds an integer", pair)
    return integer(math.ceil(low), math.floor(high))
