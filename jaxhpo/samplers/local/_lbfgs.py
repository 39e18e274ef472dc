"""One descent of the gradient sampler: bounded L-BFGS with backtracking, evaluated one by one."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from jaxhpo._base import Array, Record

ARMIJO = 1e-4
LONGEST = 0.5
"""No coordinate moves further in one step."""


class Lane(Record):
    """Where one descent stands.

    Attributes:
        x: `[d]` the last accepted point.
        value: `[]` its value; infinite before there is a start.
        slope: `[d]` its gradient, 0 in coordinates that do not move.
        move: `[d]` direction of the line search.
        length: `[]` the step along it that is tried next.
        trial: `[d]` the point that is out for evaluation.
        is_pending: `[]` bool.
        steps: `[m, d]` differences of accepted points, newest first; 0 where there are none yet.
        bends: `[m, d]` differences of their gradients.
        asked_at: `[]` int32, when a point of this lane was last asked for.
    """

    x: Array
    value: Array
    slope: Array
    move: Array
    length: Array
    trial: Array
    is_pending: Array
    steps: Array
    bends: Array
    asked_at: Array

    @property
    def has_started(self) -> Array:
        """Whether there is a point to descend from."""
        return jnp.isfinite(self.value)


def no_lane(num_dims: int, memory: int) -> Lane:
    """A lane without a start."""
    dtype = jnp.result_type(float)
    x, slope, move, trial = (jnp.zeros(num_dims, dtype) for _ in range(4))
    steps, bends = (jnp.zeros((memory, num_dims), dtype) for _ in range(2))
    value, length = jnp.asarray(jnp.inf, dtype), jnp.ones((), dtype)
    pending, asked_at = jnp.zeros((), bool), jnp.zeros((), jnp.int32)
    return Lane(x, value, slope, move, length, trial, pending, steps, bends, asked_at)


def free(x: Array, slope: Array) -> Array:
    """Which coordinates may move: not at a bound with the way down leading out."""
    return ~(((x <= 0) & (slope > 0)) | ((x >= 1) & (slope < 0)))


def absorbed(
    lane: Lane, x: Array, value: Array, slope: Array, is_fine: Array, tolerance: Array, first: Array
) -> Lane:
    """Takes in an evaluated point.

    Args:
        lane: the lane, whose trial it was, or which has no start.
        x: `[d]` the point.
        value: `[]`.
        slope: `[d]`.
        is_fine: `[]` bool; false for a failed or infeasible point.
        tolerance: `[]` projected gradient at which a descent ends.
        first: `[]` length of a descent's first step.

    Returns:
        The lane: a new line search from the point, a shorter step of the old one, or no start where
        the descent is over.
    """
    lane = dataclasses.replace(lane, is_pending=jnp.zeros((), bool))
    gain = jnp.dot(lane.slope, x - lane.x)
    is_start = ~lane.has_started
    is_down = is_start | (value <= lane.value + ARMIJO * gain)
    accepted = _accepted(lane, x, value, slope, is_start, tolerance, first)
    shorter = _shortened(lane, value, gain, is_fine)
    nothing = no_lane(lane.x.shape[0], lane.steps.shape[0])
    nothing = dataclasses.replace(nothing, asked_at=lane.asked_at)
    other = jax.tree.map(lambda a, b: jnp.where(is_start, a, b), nothing, shorter)
    return jax.tree.map(lambda a, b: jnp.where(is_fine & is_down, a, b), accepted, other)


def _accepted(
    lane: Lane,
    x: Array,
    value: Array,
    slope: Array,
    is_start: Array,
    tolerance: Array,
    first: Array,
) -> Lane:
    """Goes on from a point that is low enough."""
    step, bend = x - lane.x, slope - lane.slope
    curvature = jnp.dot(step, bend)
    eps = jnp.finfo(x.dtype).eps
    is_curved = ~is_start & (curvature > eps * jnp.linalg.norm(step) * jnp.linalg.norm(bend))

    def push(old: Array, new: Array) -> Array:
        pushed = jnp.concatenate([new[None], old[:-1]])
        return jnp.where(is_start, 0, jnp.where(is_curved, pushed, old))

    steps, bends = push(lane.steps, step), push(lane.bends, bend)
    is_free = free(x, slope)
    downhill = jnp.where(is_free, slope, 0)
    move = -jnp.where(is_free, two_loops(steps, bends, downhill), 0)
    has_memory = jnp.any(steps[0] != 0)
    is_descent = jnp.dot(move, slope) < -1e-8 * jnp.linalg.norm(move) * jnp.linalg.norm(downhill)
    move = jnp.where(has_memory & is_descent, move, -downhill)
    largest = jnp.max(jnp.abs(move))
    at_most = jnp.where(has_memory & is_descent, LONGEST, first)
    scale = jnp.where(largest > 0, at_most / jnp.where(largest > 0, largest, 1), 1)
    length = jnp.where(has_memory & is_descent, jnp.minimum(1, scale), scale)
    left = jnp.max(jnp.abs(jnp.clip(x - slope, 0, 1) - x))
    is_flat = ~is_start & (lane.value - value <= 4 * eps * jnp.abs(value))
    is_over = (left <= tolerance) | is_flat
    value = jnp.where(is_over, jnp.inf, value)
    return dataclasses.replace(
        lane, x=x, value=value, slope=slope, move=move, length=length, steps=steps, bends=bends
    )


def _shortened(lane: Lane, value: Array, gain: Array, is_fine: Array) -> Lane:
    """Tries less of the same move: where the parabola through value, slope and value is lowest."""
    rise = value - lane.value - gain
    share = jnp.where(rise > 0, -gain / (2 * jnp.where(rise > 0, rise, 1)), 0.5)
    share = jnp.where(is_fine, jnp.clip(share, 0.1, 0.5), 0.25)
    length = lane.length * share
    is_over = length * jnp.max(jnp.abs(lane.move)) < 8 * jnp.finfo(lane.x.dtype).eps
    return dataclasses.replace(lane, length=length, value=jnp.where(is_over, jnp.inf, lane.value))


def two_loops(steps: Array, bends: Array, slope: Array) -> Array:
    """The inverse Hessian of L-BFGS times a vector, by Nocedal's two loops.

    Args:
        steps: `[m, d]` newest first; rows of zeros count for nothing.
        bends: `[m, d]`.
        slope: `[d]`.

    Returns:
        `[d]`.
    """
    inner = jnp.sum(steps * bends, axis=1)
    weight = jnp.where(inner > 0, 1 / jnp.where(inner > 0, inner, 1), 0)
    result, shares = slope, []
    for i in range(steps.shape[0]):
        shares.append(weight[i] * jnp.dot(steps[i], result))
        result = result - shares[i] * bends[i]
    square = jnp.dot(bends[0], bends[0])
    result = result * jnp.where(square > 0, inner[0] / jnp.where(square > 0, square, 1), 1)
    for i in reversed(range(steps.shape[0])):
        result = result + (shares[i] - weight[i] * jnp.dot(bends[i], result)) * steps[i]
    return result
