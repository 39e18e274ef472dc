"""Checked settings that the factories share: how many trials, and the steps of the rungs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxhpo import _checks
from jaxhpo._base import Array, setting


class Arguments(NamedTuple):
    """What every factory makes of its arguments.

    Attributes:
        unit: `[n, d]` points in the unit cube.
        levels: steps, increasing.
        eta: one of how many trials goes on.
        batch_size: rows of a job.
    """

    unit: Array
    levels: tuple[int, ...]
    eta: int
    batch_size: int


def check_arguments(
    where: str,
    num_trials: Any,
    num_steps: Any,
    eta: Any,
    first_rung: Any,
    share: int,
    levels: Any,
    unit: Any,
    batch_size: Any,
) -> Arguments:
    """Checks the arguments of a factory, which documents them.

    Args:
        where: the factory, for errors.
        num_trials: trials in all.
        num_steps: steps of a whole trial.
        eta: reduction factor.
        first_rung: step of the first rung, or None for one of `share` of `num_steps`.
        share: see `first_rung`.
        levels: all levels, or None.
        unit: points, or None.
        batch_size: rows of a job, or None for all trials.

    Returns:
        The arguments.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: a number out of range, or levels that do not increase up to `num_steps`.
    """
    num_trials = _checks.check_count(where, "num_trials", num_trials, 1)
    num_steps = _checks.check_count(where, "num_steps", num_steps, 1)
    eta = _checks.check_count(where, "eta", eta, 2)
    size = num_trials
    if batch_size is not None:
        size = min(_checks.check_count(where, "batch_size", batch_size, 1), num_trials)
    if levels is not None:
        if first_rung is not None:
            raise _checks.fail(where, "first_rung", "None where `levels` are given", first_rung)
        steps = _given_levels(where, levels, num_steps)
    else:
        steps = _geometric_levels(where, num_steps, eta, first_rung, share)
    return Arguments(_points(where, unit, num_trials), steps, eta, size)


def _given_levels(where: str, levels: Any, num_steps: int) -> tuple[int, ...]:
    expected = f"increasing steps from 1, of which the last is `num_steps` ({num_steps})"
    if not isinstance(levels, Sequence | np.ndarray) or isinstance(levels, str):
        got = _checks.describe(levels)
        raise TypeError(f"{where}: `levels` must be {expected}, got {got}.")
    steps = tuple(_checks.check_count(where, f"levels[{i}]", s, 1) for i, s in enumerate(levels))
    if list(steps) != sorted(set(steps)) or steps[-1:] != (num_steps,):
        raise _checks.fail(where, "levels", expected, levels)
    return steps


def _geometric_levels(
    where: str, num_steps: int, eta: int, first_rung: Any, share: int
) -> tuple[int, ...]:
    """`first_rung` times the powers of `eta`, rounded, and the last step."""
    first = max(1.0, num_steps / share)
    if first_rung is not None:
        first = float(_checks.check_count(where, "first_rung", first_rung, 1))
        if first > num_steps:
            raise _checks.fail(
                where, "first_rung", f"at most `num_steps` ({num_steps})", first_rung
            )
    steps = []
    while first < num_steps:
        steps.append(round(first))
        first *= eta
    return tuple(sorted({*(s for s in steps if s < num_steps), num_steps}))


def _points(where: str, unit: Any, num_trials: int) -> Array:
    if unit is None:
        return setting(np.zeros((num_trials, 0)), jnp.result_type(float))
    points = setting(unit, jnp.result_type(float))
    if points.ndim != 2 or points.shape[0] != num_trials:
        raise _checks.fail(where, "unit", f"of shape [{num_trials}, d]", points.shape)
    if not _checks.is_in_cube(points):
        raise _checks.fail(where, "unit", "points of the unit cube", unit)
    return points
