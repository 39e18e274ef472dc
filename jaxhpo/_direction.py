"""Minimise or maximise: the one place where a sign flips."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxhpo import _checks

DIRECTIONS = ("minimize", "maximize")

Direction = str | tuple[str, ...]
"""One of `DIRECTIONS`, or a tuple of them in a study of several objectives."""


def check_direction(where: str, direction: Any) -> Direction:
    """Requires a direction, or a sequence with one an objective.

    Raises:
        ValueError: anything else.
    """
    listed = list(direction) if isinstance(direction, list | tuple) else [direction]
    if not listed or any(not isinstance(one, str) or one not in DIRECTIONS for one in listed):
        expected = "'minimize' or 'maximize', or a sequence of them for several objectives"
        raise _checks.fail(where, "direction", expected, direction)
    return listed[0] if len(listed) == 1 else tuple(listed)


def directions_of(direction: Direction) -> tuple[str, ...]:
    """The direction of each objective, one or several."""
    return direction if isinstance(direction, tuple) else (direction,)


def to_minimized(value: Any, direction: Direction) -> Any:
    """Samplers minimise, users may maximise. The function is its own inverse.

    Args:
        value: a number or an array of numbers; for several objectives their axis is the last.
        direction: "minimize" or "maximize", or one an objective.

    Returns:
        The value to minimise (or, from that, the user's value).
    """
    if isinstance(direction, tuple):
        return value * np.asarray([to_minimized(1.0, one) for one in direction])
    return -value if direction == "maximize" else value


def is_better(value: float | None, best: float | None, direction: str) -> bool:
    """Tells whether `value` beats `best`; None never does, and anything beats None."""
    if value is None:
        return False
    return best is None or to_minimized(value, direction) < to_minimized(best, direction)
