"""What a search tries in each discrete coordinate."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from jaxhpo._base import Array

MOST_LISTED = 16
"""Levels of a coordinate up to which all are tried."""


class Trials(NamedTuple):
    """What is tried in `k` coordinates.

    Attributes:
        coordinates: `[k]` int32.
        is_discrete: `[k]` bool; None means all, and nothing is tried in the others.
        levels: `[k]` int32 their numbers of levels.
        offsets: `[k, v]` int32 distances from the present level.
        spread: `[k, v]` int32 levels of their own, where the offset is 0.
    """

    coordinates: Any
    is_discrete: Array | None
    levels: Any
    offsets: Any
    spread: Any


def tables(levels: Any, reach: int, xp: Any) -> tuple[Any, Any]:
    """Offsets and levels to try, for `Trials`.

    Args:
        levels: `[k]` int32, an array of `xp`.
        reach: static; no coordinate has more levels.
        xp: NumPy or `jax.numpy`.

    Returns:
        Two `[k, v]` int32 arrays.
    """
    last = levels[:, None] - 1
    if reach <= MOST_LISTED:
        spread = xp.minimum(np.arange(reach, dtype=np.int32)[None, :], last)
        return xp.zeros_like(spread), spread
    steps = [sign * 2**k for k in range(reach.bit_length()) for sign in (1, -1)]
    offsets = np.asarray([0] * MOST_LISTED + steps, np.int32)[None, :]
    # Evenly spread over the range, rounded; a place never lies half-way between two levels.
    parts = MOST_LISTED - 1
    place = np.arange(MOST_LISTED, dtype=np.int32)[None, :]
    even = (2 * place * last + parts) // (2 * parts)
    spread = xp.concatenate([even, xp.zeros((len(levels), len(steps)), np.int32)], axis=1)
    return xp.broadcast_to(offsets, spread.shape), spread.astype(np.int32)
