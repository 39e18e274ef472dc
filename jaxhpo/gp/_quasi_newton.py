"""Minimisation in a box: dense projected BFGS with one evaluation per step.

One lane, or many in step: each has its own state, step length and stopping.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxhpo._base import Array

_ARMIJO = 1e-4
_CURVATURE = 1e-10
_SHORTEST = 1e-9


class Minimum(NamedTuple):
    """The result of a lane, or of each of several.

    Attributes:
        x: `[..., d]` best point found.
        value: `[...]` its value.
        gradient: `[..., d]` its gradient.
        num_evals: `[...]` int32 evaluations made.
        is_converged: `[...]` bool, whether the projected gradient or the step vanished.
    """

    x: Array
    value: Array
    gradient: Array
    num_evals: Array
    is_converged: Array


class _Lane(NamedTuple):
    """State of each lane; the first five are those of its best point."""

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
    """Minimises a smooth function of one point in a box, from one start or from several at once.

    Each step evaluates the function once: the first at `start`, later ones along the current
    direction, halving by interpolation until Armijo's condition holds. Coordinates at a bound whose
    gradient points outwards are left out of the direction. A value that is not finite is a step too
    far. The function is traced once, and called with the points of all lanes; it goes on being
    called for lanes that have ended until all have.

    Args:
        function: `function(x [..., d]) -> (value [...], gradient [..., d])`.
        start: `[d]` or `[r, d]`, inside the box.
        lower: lower bounds, of the shape of `start`; equal to `upper` for a coordinate that stays.
        upper: upper bounds, likewise of the shape of `start`.
        max_evals: number of evaluations of a lane at most; may be traced.
        tolerance: largest entry of the projected gradient at which a lane stops.
        inverse: `[d]` diagonal of the first inverse Hessian.
        max_step: largest change of a coordinate in one step.

    Returns:
        The best point of each lane. Its value is infinite if no evaluation was finite.
    """
    dtype, lanes, d = start.dtype, start.shape[:-1], start.shape[-1]
    start = jnp.clip(start, lower, upper)
    first = _Lane(
        x=start,
        value=jnp.full(lanes, jnp.inf, dtype),
        gradient=jnp.zeros_like(start),
        inverse=jnp.broadcast_to(jnp.diag(inverse), (*lanes, d, d)),
        direction=jnp.zeros_like(start),
        step=jnp.zeros(lanes, dtype),
        num_evals=jnp.zeros(lanes, jnp.int32),
        done=jnp.zeros(lanes, bool),
    )

    def goes_on(lane: _Lane) -> Array:
        return ~lane.done & (lane.num_evals < max_evals)

    def body(lane: _Lane) -> _Lane:
        trial = jnp.clip(lane.x + lane.step[..., None] * lane.direction, lower, upper)
        value, gradient = function(trial)
        moved = trial - lane.x
        slope = _dot(lane.gradient, moved)
        is_first, has_moved = lane.num_evals == 0, jnp.any(moved != 0, axis=-1)
        accepted = (value <= lane.value + _ARMIJO * slope) & jnp.isfinite(value)
        accepted &= is_first | has_moved
        taken = _take(lane, trial, value, gradient, moved, is_first)
        direction, gap = _direction(taken, lower, upper, jnp.asarray(max_step, dtype))
        # Rejected: the minimum of the parabola through both ends, kept within [0.1, 0.5] steps.
        excess = value - lane.value - slope
        shorter = jnp.where(excess > 0, -0.5 * slope / excess, 0.5)
        shorter = lane.step * jnp.where(jnp.isfinite(shorter), jnp.clip(shorter, 0.1, 0.5), 0.1)
        is_stuck = ~accepted & (is_first | (shorter < _SHORTEST) | ~has_moved)
        alive = goes_on(lane)
        moves = accepted & alive
        x, value, gradient, inverse, direction = (
            _where(moves, new, old)
            for new, old in zip((*taken[:4], direction), lane[:5], strict=True)
        )
        # The step of an ended lane still changes, and moves nothing.
        return _Lane(
            x, value, gradient, inverse, direction,
            step=jnp.where(accepted, jnp.ones((), dtype), shorter),
            num_evals=lane.num_evals + alive.astype(jnp.int32),
            done=jnp.where(alive, jnp.where(accepted, gap <= tolerance, is_stuck), lane.done),
        )  # fmt: skip

    lane = jax.lax.while_loop(lambda lane: jnp.any(goes_on(lane)), body, first)
    return Minimum(lane.x, lane.value, lane.gradient, lane.num_evals, lane.done)


def _take(
    lane: _Lane, x: Array, value: Array, gradient: Array, moved: Array, is_first: Array
) -> _Lane:
    """The lane at its new point, inverse Hessian updated (Nocedal and Wright, 2006, eq. 6.17)."""
    change = gradient - lane.gradient
    curvature = _dot(moved, change)
    good = curvature > _CURVATURE * jnp.sqrt(_dot(moved, moved) * _dot(change, change))
    good &= ~is_first
    rho = jnp.where(good, 1.0 / jnp.where(good, curvature, 1.0), 0.0)
    image = _times(lane.inverse, change)
    weight = rho * (1.0 + rho * _dot(change, image))
    # - rho (image moved^T + moved image^T) + weight moved moved^T, as two outer products
    half = 0.5 * weight[..., None] * moved - rho[..., None] * image
    inverse = lane.inverse + _outer(half, moved) + _outer(moved, half)
    return lane._replace(x=x, value=value, gradient=gradient, inverse=inverse)


def _direction(lane: _Lane, lower: Array, upper: Array, max_step: Array) -> tuple[Array, Array]:
    """The quasi-Newton direction among the free coordinates, and the projected gradient's size."""
    gradient = lane.gradient
    outward = ((lane.x <= lower) & (gradient > 0)) | ((lane.x >= upper) & (gradient < 0))
    is_free = ~(outward | (lower >= upper))
    inner = jnp.where(is_free, gradient, 0.0)
    direction = jnp.where(is_free, -_times(lane.inverse, inner), 0.0)
    descends = _dot(direction, inner) < 0
    direction = _where(descends, direction, -inner)
    longest = jnp.max(jnp.abs(direction), axis=-1)
    shrink = jnp.minimum(1.0, max_step / jnp.where(longest > 0, longest, 1.0))
    return direction * shrink[..., None], jnp.max(jnp.abs(inner), axis=-1)


def _dot(left: Array, right: Array) -> Array:
    """Inner products `[...]` of `[..., d]`."""
    return jnp.sum(left * right, axis=-1)


def _times(matrix: Array, vector: Array) -> Array:
    """Products `[..., d]` of matrices `[..., d, d]` with vectors `[..., d]`.

    As sums of products: accelerators shorten the operands of a float32 matrix product.
    """
    return jnp.sum(matrix * vector[..., None, :], axis=-1)


def _outer(left: Array, right: Array) -> Array:
    """Outer products `[..., d, d]`."""
    return left[..., :, None] * right[..., None, :]


def _where(chosen: Array, new: Array, old: Array) -> Array:
    """Entries of the chosen lanes from `new`, of the others from `old`."""
    shape = chosen.shape + (1,) * (new.ndim - chosen.ndim)
    return jnp.where(chosen.reshape(shape), new, old)
