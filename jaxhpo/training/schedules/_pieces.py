"""Schedules in pieces: joined, stepwise, interpolated, and the one-cycle policies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from jaxhpo._checks import check_callable, check_number, check_sequence, fail
from jaxhpo.training.schedules._parts import (
    Array,
    Schedule,
    check_positive,
    flat_stages,
    real,
    reals,
    whole,
)


def join(schedules: Sequence[Schedule], boundaries: Sequence[Any]) -> Schedule:
    """Schedules one after the other, as `optax.join_schedules`.

    Args:
        schedules: at least one; each counts from the boundary at which it begins.
        boundaries: steps at which the next one takes over, rising, one fewer; traced.

    Raises:
        ValueError: the numbers of schedules and boundaries do not fit.
    """
    schedules = check_sequence("join", "schedules", schedules, "a sequence of schedules")
    boundaries = check_sequence("join", "boundaries", boundaries, "a sequence of steps")
    for one in schedules:
        check_callable("join", "schedules", one)
    if len(schedules) != len(boundaries) + 1:
        raise ValueError(
            f"join: `boundaries` must be one fewer than the {len(schedules)} schedules, got "
            f"{len(boundaries)}."
        )
    starts = [reals("join", boundaries=boundary)[0] for boundary in boundaries]

    def schedule(count: Any) -> Array:
        value = jnp.asarray(schedules[0](count))
        for start, later in zip(starts, schedules[1:], strict=True):
            here = real(count, start)
            value = jnp.where(here < start, value, jnp.asarray(later(here - start), value.dtype))
        return value

    return schedule


def piecewise_constant(init_value: Any, boundaries_and_scales: Any = None) -> Schedule:
    """A value multiplied by a factor at given steps, as `optax.piecewise_constant_schedule`.

    Args:
        init_value: `[]`; traced.
        boundaries_and_scales: `{step: factor}`, or pairs `(step, factor)` whose steps may be
            traced as well.
    """
    init_value, *numbers = flat_stages("piecewise_constant", init_value, boundaries_and_scales)
    stages = list(zip(numbers[::2], numbers[1::2], strict=True))

    def schedule(count: Any) -> Array:
        value = init_value
        for start, scale in stages:
            value = value * jnp.where(real(count, start) >= start, scale, 1)
        return value

    return schedule


def piecewise_interpolate(
    interpolate_type: str, init_value: Any, boundaries_and_scales: Any = None
) -> Schedule:
    """Between values at given steps on lines or cosines: `optax.piecewise_interpolate_schedule`.

    Args:
        interpolate_type: "linear" or "cosine"; static.
        init_value: `[]` value at step 0; traced.
        boundaries_and_scales: `{step: factor}`, or pairs `(step, factor)` in the order of their
            steps, which may then be traced as well; each factor multiplies the value before it.

    Raises:
        ValueError: another `interpolate_type`.
    """
    if interpolate_type not in ("linear", "cosine"):
        expected = "'linear' or 'cosine'"
        raise fail("piecewise_interpolate", "interpolate_type", expected, interpolate_type)
    init_value, *numbers = flat_stages("piecewise_interpolate", init_value, boundaries_and_scales)
    starts = jnp.stack([jnp.zeros_like(init_value), *numbers[::2]])
    values = jnp.cumprod(jnp.stack([init_value, *numbers[1::2]]))

    def schedule(count: Any) -> Array:
        here = real(count, starts)
        left, right = starts[:-1], starts[1:]
        fraction = (here - left) / jnp.maximum(right - left, 1)
        if interpolate_type == "cosine":
            fraction = (1 - jnp.cos(jnp.pi * fraction)) / 2
        between = values[:-1] + (values[1:] - values[:-1]) * fraction
        inside = jnp.where((left <= here) & (here < right), between, 0)
        return jnp.sum(inside) + jnp.where(starts[-1] <= here, values[-1], 0)

    return schedule


def linear_onecycle(
    transition_steps: Any,
    peak_value: Any,
    pct_start: Any = 0.3,
    pct_final: Any = 0.85,
    div_factor: Any = 25.0,
    final_div_factor: Any = 1e4,
) -> Schedule:
    """Up, down and out on straight lines, as `optax.linear_onecycle_schedule`.

    Args:
        transition_steps: `[]` steps of the whole cycle; traced, as all that follow.
        peak_value: `[]` highest value.
        pct_start: `[]` fraction of the steps until the peak.
        pct_final: `[]` fraction of the steps until the first value is reached again.
        div_factor: `[]` the peak over the first value.
        final_div_factor: `[]` the first value over the last.
    """
    where = "linear_onecycle"
    peak, div, final = _cycle(where, transition_steps, peak_value, div_factor, final_div_factor)
    pct_start = check_number(where, "pct_start", pct_start)
    pct_final = check_number(where, "pct_final", pct_final)
    stages = [
        (whole(pct_start * transition_steps), div),
        (whole(pct_final * transition_steps), 1 / div),
        (transition_steps, 1 / final),
    ]
    return piecewise_interpolate("linear", peak / div, stages)


def cosine_onecycle(
    transition_steps: Any,
    peak_value: Any,
    pct_start: Any = 0.3,
    div_factor: Any = 25.0,
    final_div_factor: Any = 1e4,
) -> Schedule:
    """Up and down on cosines, as `optax.cosine_onecycle_schedule`.

    Args:
        transition_steps: as in `linear_onecycle`.
        peak_value: as in `linear_onecycle`.
        pct_start: as in `linear_onecycle`.
        div_factor: as in `linear_onecycle`.
        final_div_factor: as in `linear_onecycle`.
    """
    peak, div, final = _cycle(
        "cosine_onecycle", transition_steps, peak_value, div_factor, final_div_factor
    )
    pct_start = check_number("cosine_onecycle", "pct_start", pct_start)
    start = whole(pct_start * transition_steps)
    stages = [(start, div), (whole(transition_steps), 1 / (div * final))]
    return piecewise_interpolate("cosine", peak / div, stages)


def _cycle(where: str, steps: Any, peak: Any, div: Any, final_div: Any) -> list[Array]:
    """The peak and the factors of a cycle."""
    check_positive(where, "transition_steps", steps)
    return reals(where, peak_value=peak, div_factor=div, final_div_factor=final_div)
