"""What a pattern search polls: one step to either side of each coordinate, or another option."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np

from jaxhpo._base import Array, Record
from jaxhpo.space import Space

LARGEST_STEP = 0.5
_DONE = 0.75
"""A discrete coordinate is done when its step is below this share of one level."""


@dataclasses.dataclass(frozen=True)
class Shape:
    """The coordinates of a space as a poll sees them; hashable, static.

    Attributes:
        levels: levels of each coordinate, 0 where continuous.
        is_categorical: which coordinates are unordered.
        ways: poll points per coordinate, the largest number of any.
    """

    levels: tuple[int, ...]
    is_categorical: tuple[bool, ...]
    ways: int

    @property
    def num_dims(self) -> int:
        """`d`."""
        return len(self.levels)

    def ways_of(self) -> np.ndarray:
        """Poll points of each coordinate, int `[d]`: two sides, or all other options."""
        others = np.maximum(np.asarray(self.levels) - 1, 0)
        return np.where(self.is_categorical, others, 2)

    def floor(self, first_step: Array, min_step: Array) -> Array:
        """Steps `[d]` below which a coordinate is done."""
        levels = np.asarray(self.levels)
        one = jnp.asarray(1 / np.maximum(levels, 1), first_step.dtype)
        one = jnp.where(jnp.asarray(self.is_categorical), 1, one)
        discrete = _DONE * jnp.minimum(one, first_step)
        return jnp.where(jnp.asarray(levels > 0), discrete, min_step)


def shape_of(space: Space) -> Shape:
    """Reads the shape of a space. Host side."""
    levels = tuple(int(count) for count in space.num_levels)
    kinds = tuple(bool(kind) for kind in space.is_categorical)
    pairs = zip(levels, kinds, strict=True)
    return Shape(levels, kinds, max(max(count - 1 if kind else 2, 2) for count, kind in pairs))


class Poll(Record):
    """Where a pattern search stands.

    Attributes:
        centre: `[d]` the best point of this descent.
        value: `[]` its value; infinite before there is one.
        violation: `[]` its violation; infinite before there is one.
        base: `[d]` where the moves that are added up to a pattern move began; after a leap that
            succeeded, as far again behind.
        num_moves: `[]` int32 moves since then.
        step: `[d]` step of each coordinate.
        sign: `[d]` the side that is polled first.
        asked: `[d w + 1]` bool poll points proposed; the last one is the leap.
        failed: `[d w + 1]` bool poll points observed and no better.
        height: `[d w + 1]` values of those; infinite elsewhere.
        shift: `[d]` where parabolas through three points of a coordinate are lowest, as seen from
            the centre; 0 where there is none.
    """

    centre: Array
    value: Array
    violation: Array
    base: Array
    num_moves: Array
    step: Array
    sign: Array
    asked: Array
    failed: Array
    height: Array
    shift: Array


def first_poll(shape: Shape, first_step: Array) -> Poll:
    """The poll before any observation."""
    d, dtype = shape.num_dims, first_step.dtype
    inf = jnp.asarray(jnp.inf, dtype)
    step = jnp.broadcast_to(first_step, (d,))
    asked, failed = (jnp.zeros(d * shape.ways + 1, bool) for _ in range(2))
    centre, base = (jnp.full(d, 0.5, dtype) for _ in range(2))
    sign, shift, height = jnp.ones(d, dtype), jnp.zeros(d, dtype), jnp.full(asked.shape, inf)
    num_moves = jnp.zeros((), jnp.int32)
    return Poll(centre, inf, inf, base, num_moves, step, sign, asked, failed, height, shift)


def points_of(shape: Shape, space: Space, poll: Poll) -> tuple[Array, Array]:
    """The poll points, snapped, and which of them differ from the centre.

    Returns:
        `[d w + 1, d]` and `[d w + 1]` bool.
    """
    d, w, dtype = shape.num_dims, shape.ways, poll.centre.dtype
    levels = jnp.asarray(np.maximum(shape.levels, 1), dtype)[:, None]
    is_discrete = jnp.asarray(shape.levels)[:, None] > 0
    way = jnp.arange(w, dtype=dtype)[None, :]
    side = poll.sign[:, None] * jnp.where(way == 0, 1, -1).astype(dtype)
    length = jnp.maximum(poll.step[:, None], jnp.where(is_discrete, 1 / levels, 0))
    # A step to a discrete value is at least one level; the cell's centre takes the rest away.
    ordered = jnp.clip(poll.centre[:, None] + side * length, 0, 1)
    option = jnp.floor(poll.centre[:, None] * levels) + 1 + way
    option = (jnp.mod(option, levels) + 0.5) / levels
    target = jnp.where(jnp.asarray(shape.is_categorical)[:, None], option, ordered)
    column = jnp.arange(d, dtype=jnp.int32)
    points = jnp.broadcast_to(poll.centre, (d, w, d)).at[column, :, column].set(target)
    # The leap is a pattern move after two moves, else to the bottom of the parabolas.
    away = jnp.where(poll.num_moves >= 2, poll.centre - poll.base, poll.shift)
    leap = jnp.clip(poll.centre + away, 0, 1)
    points = space.snap(jnp.concatenate([points.reshape(d * w, d), leap[None]]))
    # The last way of a coordinate with fewer of them would be one of the others again.
    has_way = (np.arange(w)[None, :] < shape.ways_of()[:, None]).reshape(-1)
    moves = jnp.any(jnp.abs(points - poll.centre[None]) > 0, axis=1)
    return points, moves & jnp.append(jnp.asarray(has_way), True)


def chosen(poll: Poll, is_open: Array, noise: Array) -> Array:
    """Index of the poll point to try next: the leap, or any other one."""
    bonus = jnp.zeros_like(noise).at[-1].set(2)
    score = jnp.where(is_open, noise + bonus, -1)
    return jnp.argmax(score).astype(jnp.int32)


def moved(
    shape: Shape, poll: Poll, index: Array, point: Array, value: Array, violation: Array
) -> Poll:
    """Makes a better point the centre.

    Args:
        shape: static.
        poll: where the search stands.
        index: `[]` int32 the poll point that it is; out of range if it is none.
        point: `[d]`.
        value: `[]`.
        violation: `[]`.

    Returns:
        The poll around the new centre: the step that succeeded doubles, and every coordinate is
        polled again.
    """
    d, w = shape.num_dims, shape.ways
    column = jnp.where(index < d * w, index // w, d)
    is_move = (index == d * w) & (poll.num_moves >= 2)
    is_shift = (index == d * w) & (poll.num_moves < 2)
    grown = jnp.minimum(2 * poll.step, LARGEST_STEP)
    step = poll.step.at[column].set(grown.at[column].get(mode="fill", fill_value=0), mode="drop")
    direction = jnp.sign(point - poll.centre)
    sign = jnp.where(direction == 0, poll.sign, direction)
    return Poll(
        centre=point,
        value=value,
        violation=violation,
        # The next leap is twice the one that succeeded: equal ones might creep for ever.
        base=jnp.where(is_shift, point, jnp.where(is_move, 2 * poll.centre - point, poll.base)),
        num_moves=jnp.where(is_shift, 0, jnp.where(is_move, 2, poll.num_moves + 1)).astype(
            jnp.int32
        ),
        step=step,
        sign=sign,
        asked=jnp.zeros_like(poll.asked),
        failed=jnp.zeros_like(poll.failed),
        height=jnp.full_like(poll.height, jnp.inf),
        shift=jnp.zeros_like(poll.shift),
    )


def reopened(shape: Shape, poll: Poll, first_step: Array, floor: Array) -> Poll:
    """After a move: what was done is polled again, at its finest."""
    finest = jnp.where(jnp.asarray(shape.is_categorical), first_step, floor)
    return dataclasses.replace(poll, step=jnp.maximum(poll.step, finest))


def halved(shape: Shape, poll: Poll, points: Array, is_point: Array) -> Poll:
    """Shortens the step of coordinates whose poll points have all failed.

    Args:
        shape: static.
        poll: where the search stands.
        points: `[d w + 1, d]` the poll points.
        is_point: `[d w + 1]` bool, which of them there are.

    Returns:
        The poll: half the step, or a quarter where a parabola says where the bottom is.
    """
    d, w = shape.num_dims, shape.ways
    is_out = (poll.failed | ~is_point)[: d * w].reshape(d, w).all(axis=1)
    cleared = jnp.append(jnp.repeat(is_out, w), False)
    has_leapt = poll.failed[-1]
    bottom, has_bottom = _bottoms(shape, poll, points)
    shift = jnp.where(has_leapt, 0, poll.shift)
    shift = jnp.where(is_out, jnp.where(has_bottom, bottom, 0), shift)
    return dataclasses.replace(
        poll,
        base=jnp.where(has_leapt, poll.centre, poll.base),
        num_moves=jnp.where(has_leapt | jnp.any(is_out), 0, poll.num_moves).astype(jnp.int32),
        step=jnp.where(is_out, poll.step * jnp.where(has_bottom, 0.25, 0.5), poll.step),
        asked=(poll.asked & ~cleared).at[-1].set(poll.asked[-1] & ~has_leapt & ~jnp.any(is_out)),
        failed=(poll.failed & ~cleared).at[-1].set(False),
        height=jnp.where(cleared, jnp.inf, poll.height),
        shift=shift,
    )


def _bottoms(shape: Shape, poll: Poll, points: Array) -> tuple[Array, Array]:
    """Where the parabola through the centre and both sides of a coordinate is lowest, `[d]`."""
    d, w = shape.num_dims, shape.ways
    column = jnp.arange(d, dtype=jnp.int32)
    place = points[: d * w].reshape(d, w, d)[column, :2, column] - poll.centre[:, None]
    rise = poll.height[: d * w].reshape(d, w)[:, :2] - poll.value
    one, other = place[:, 0], place[:, 1]
    is_whole = jnp.isfinite(rise).all(axis=1) & (one * other < 0)
    is_whole &= jnp.asarray(np.asarray(shape.levels) == 0)
    one, other = jnp.where(is_whole, one, 1), jnp.where(is_whole, other, -1)
    first, second = (jnp.where(is_whole, rise[:, i], 1) for i in (0, 1))
    curve = (first / one - second / other) / (one - other)
    slope = first / one - curve * one
    is_bowl = is_whole & (curve > 0)
    return -slope / (2 * jnp.where(is_bowl, curve, 1)), is_bowl
