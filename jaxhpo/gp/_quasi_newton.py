"""Minimisation in a box: dense projected BFGS with one evaluation a step.

Written for one lane; `vmap` runs many, each with its own state, step length and stopping.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxhpo._base import Array
from jaxhpo._linalg import matmul

_ARMIJO = 1e-4
_CURVATURE = 1e-10
_SHORTEST = 1e-9


class Minimum(NamedTuple):
    """Where a lane has got to.

    Attributes:
        x: `[d]` best point found.
        value: `[]` its value.
        gradient: `[d]` its gradient.
        num_evals: `[]` int32 evaluations made.
        is_converged: `[]` bool, whether the projected gradient or the step vanished.
    """

    x: Array
    value: Array
    gradient: Array
    num_evals: Array
    is_converged: Array


class _Lane(NamedTuple):
    x: Array
    value: Array
    gradient: Array
    inverse: Array  # inverse Hessian
    direction: Array
    step: Array
    num_evals: Array
    done: Array


def minimize_box(
    function: Callable[[Array], tuple[Array, Array]],
    start: Array,
    lower: Array,
    upper: Array,
    *,
    max_evals: int | Array,
    tolerance: float | Array,
    inverse: Array,
    max_step: float | Array,
) -> Minimum:
    """Minimises a smooth function of one point in a box.

    Each step evaluates the function once: the first at `start`, later ones along the current
    direction, halving by interpolation until Armijo's condition holds. Coordinates at a bound whose
    gradient points outwards are left out of the direction. A value that is not finite is a step too
    far. The function is traced once.

    Args:
        function: `function(x [d]) -> (value [], gradient [d])`.
        start: `[d]`, inside the box.
        lower: `[d]` lower bounds; equal to `upper` for a coordinate that stays.
        upper: `[d]` upper bounds.
        max_evals: number of evaluations at most; may be traced.
        tolerance: largest entry of the projected gradient at which a lane stops.
        inverse: `[d]` diagonal of the first inverse Hessian.
        max_step: largest change of a coordinate in one step.

    Returns:
        The best point. Its value is infinite if no evaluation was finite.
    """
    dtype = start.dtype
    start = jnp.clip(start, lower, upper)
    first = _Lane(
        x=start,
        value=jnp.full((), jnp.inf, dtype),
        gradient=jnp.zeros_like(start),
        inverse=jnp.diag(inverse),
        direction=jnp.zeros_like(start),
        step=jnp.zeros((), dtype),
        num_evals=jnp.zeros((), jnp.int32),
        done=jnp.zeros((), bool),
    )

    def body(lane: _Lane) -> _Lane:
        trial = jnp.clip(lane.x + lane.step * lane.direction, lower, upper)
        value, gradient = function(trial)
        moved = trial - lane.x
        slope = jnp.sum(lane.gradient * moved)
        is_first = lane.num_evals == 0
        accepted = (value <= lane.value + _ARMIJO * slope) & jnp.isfinite(value)
        accepted &= is_first | jnp.any(moved != 0)
        taken = _take(lane, trial, value, gradient, moved, is_first)
        direction, gap = _direction(taken, lower, upper, jnp.asarray(max_step, dtype))
        # Rejected: the minimum of the parabola through both ends, kept within [0.1, 0.5] steps.
        excess = value - lane.value - slope
        shorter = jnp.where(excess > 0, -0.5 * slope / excess, 0.5)
        shorter = lane.step * jnp.where(jnp.isfinite(shorter), jnp.clip(shorter, 0.1, 0.5), 0.1)
        is_stuck = ~accepted & (is_first | (shorter < _SHORTEST) | ~jnp.any(moved != 0))
        return _Lane(
            x=jnp.where(accepted, taken.x, lane.x),
            value=jnp.where(accepted, taken.value, lane.value),
            gradient=jnp.where(accepted, taken.gradient, lane.gradient),
            inverse=jnp.where(accepted, taken.inverse, lane.inverse),
            direction=jnp.where(accepted, direction, lane.direction),
            step=jnp.where(accepted, jnp.ones((), dtype), shorter),
            num_evals=lane.num_evals + 1,
            done=jnp.where(accepted, gap <= tolerance, is_stuck),
        )

    def goes_on(lane: _Lane) -> Array:
        return ~lane.done & (lane.num_evals < max_evals)

    lane = jax.lax.while_loop(goes_on, body, first)
    return Minimum(lane.x, lane.value, lane.gradient, lane.num_evals, lane.done)


def _take(
    lane: _Lane, x: Array, value: Array, gradient: Array, moved: Array, is_first: Array
) -> _Lane:
    """The lane at its new point, inverse Hessian updated (Nocedal and Wright, 2006, eq. 6.17)."""
    change = gradient - lane.gradient
    curvature = jnp.sum(moved * change)
    good = curvature > _CURVATURE * jnp.sqrt(jnp.sum(moved**2) * jnp.sum(change**2))
    good &= ~is_first
    rho = jnp.where(good, 1.0 / jnp.where(good, curvature, 1.0), 0.0)
    image = matmul(lane.inverse, change)
    weight = rho * (1.0 + rho * jnp.sum(change * image))
    outer = image[:, None] * moved[None, :]
    inverse = lane.inverse - rho * (outer + outer.T) + weight * moved[:, None] * moved[None, :]
    return lane._replace(x=x, value=value, gradient=gradient, inverse=inverse)


def _direction(lane: _Lane, lower: Array, upper: Array, max_step: Array) -> tuple[Array, Array]:
    """The quasi-Newton direction among the free coordinates, and the projected gradient's size."""
    gradient = lane.gradient
    outward = ((lane.x <= lower) & (gradient > 0)) | ((lane.x >= upper) & (gradient < 0))
    free = jnp.where(outward | (lower >= upper), 0.0, 1.0).astype(gradient.dtype)
    inner = free * gradient
    direction = -free * matmul(lane.inverse, inner)
    descends = jnp.sum(direction * inner) < 0
    direction = jnp.where(descends, direction, -inner)
    longest = jnp.max(jnp.abs(direction))
    direction = direction * jnp.minimum(1.0, max_step / jnp.where(longest > 0, longest, 1.0))
    return direction, jnp.max(jnp.abs(inner))
