"""Checked settings that the factories share: how many trials, and the steps of the rungs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxhpo import _checks
from jaxhpo._base import Array, setting

_HANDFUL = 8
"""Trials that a sampler proposes at once where nobody says how many."""

LATE_SHARE = 3
"""First rung where a sampler proposes: it learns from what is told there, noise and all.

Chosen on seeds 0 to 9 of `benchmarks/multifidelity.py`, mainly where low fidelities mislead; in
three dimensions `asha` did as well from a ninth on.
"""


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
    sampler: Any = None,
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
        sampler: proposes points, or None; it would learn nothing if all trials began at once.

    Returns:
        The arguments.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: a number out of range, or levels that do not increase up to `num_steps`.
    """
    num_trials = _checks.check_count(where, "num_trials", num_trials, 1)
    num_steps = _checks.check_count(where, "num_steps", num_steps, 1)
    eta = _checks.check_count(where, "eta", eta, 2)
    size = num_trials if sampler is None else min(_HANDFUL, num_trials)
    if batch_size is not None:
        size = min(_checks.check_count(where, "batch_size", batch_size, 1), num_trials)
    if levels is not None:
        if first_rung is not None:
            raise _checks.fail(where, "first_rung", "None where `levels` are given", first_rung)
        steps = _given_levels(where, levels, num_steps)
    else:
        steps = _geometric_levels(where, num_steps, eta, first_rung, share)
    return Arguments(points(where, unit, num_trials), steps, eta, size)


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


def even_levels(
    where: str, num_steps: int, interval: Any, levels: Any, most: int
) -> tuple[int, ...]:
    """The given levels, or every `interval` steps; None: `most` of them, if there are enough steps.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: levels that do not increase up to `num_steps`, or an interval beyond it.
    """
    if levels is not None:
        if interval is not None:
            raise _checks.fail(where, "interval", "None where `levels` are given", interval)
        return _given_levels(where, levels, num_steps)
    if interval is None:
        even = np.linspace(0, num_steps, min(most, num_steps) + 1)[1:]
        return tuple(int(step) for step in np.round(even))
    interval = _checks.check_count(where, "interval", interval, 1)
    if interval > num_steps:
        raise _checks.fail(where, "interval", f"at most `num_steps` ({num_steps})", interval)
    return tuple(sorted({*range(interval, num_steps + 1, interval), num_steps}))


def points(where: str, unit: Any, num_trials: int, num_dims: int | None = None) -> Array:
    """Checked points `[n, d]`; None: without a column, for a caller that holds them.

    Raises:
        ValueError: another shape, or a point outside the cube.
    """
    if unit is None:
        return setting(np.zeros((num_trials, 0)), jnp.result_type(float))
    known = unit if _checks.is_traced(unit) else _checks.real_numbers(where, "unit", unit)
    found = setting(known, jnp.result_type(float))
    if found.ndim != 2 or found.shape != (num_trials, num_dims or found.shape[-1]):
        expected = f"of shape [{num_trials}, {num_dims or 'd'}]"
        raise _checks.fail(where, "unit", expected, found.shape)
    if not _checks.is_in_cube(found):
        raise _checks.fail(where, "unit", "points of the unit cube", unit)
    return found
