"""A set of points of which every coordinate knows its neighbours, kept without sorting.

XLA sorts slowly on a CPU. A point that enters or leaves the set changes two neighbours a column,
which is one elementwise pass over the buffers.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo._base import Array

_FEW = 64
"""Points up to which comparing all pairs beats sorting."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Neighbours:
    """Columns of a set of points, each in the order of (coordinate, row).

    Attributes:
        place: `[d, n]` coordinates; NaN where the row is no member, or has no such coordinate.
        left: `[d, n]` the coordinate before, `-inf` if there is none.
        right: `[d, n]` the coordinate after, `inf` if there is none.
    """

    place: Array
    left: Array
    right: Array

    def insert(self, row: Array, point: Array) -> Neighbours:
        """Makes `point` `[d]` (NaN where it has no coordinate) the member of a free row.

        A row out of range changes nothing.
        """
        point = jnp.where(row < self.place.shape[1], point, jnp.nan)
        lower, upper = self._sides(row, point)
        left = jnp.max(jnp.where(lower, self.place, -jnp.inf), axis=1)
        right = jnp.min(jnp.where(upper, self.place, jnp.inf), axis=1)
        lefts = jnp.where(upper, jnp.maximum(self.left, point[:, None]), self.left)
        rights = jnp.where(lower, jnp.minimum(self.right, point[:, None]), self.right)
        return Neighbours(
            self.place.at[:, row].set(point, mode="drop"),
            lefts.at[:, row].set(left, mode="drop"),
            rights.at[:, row].set(right, mode="drop"),
        )

    def remove(self, row: Array) -> Neighbours:
        """Takes a member out."""
        point, left, right = self.place[:, row], self.left[:, row], self.right[:, row]
        lower, upper = self._sides(row, point)
        index = jnp.broadcast_to(self._index(), self.place.shape)
        # Of equal coordinates the neighbour is the one of the nearest row.
        before = jnp.max(jnp.where(lower & (self.place == left[:, None]), index, -1), axis=1)
        last = jnp.asarray(self.place.shape[1], jnp.int32)
        after = jnp.min(jnp.where(upper & (self.place == right[:, None]), index, last), axis=1)
        lefts = jnp.where(index == after[:, None], left[:, None], self.left)
        rights = jnp.where(index == before[:, None], right[:, None], self.right)
        return Neighbours(
            self.place.at[:, row].set(jnp.nan),
            lefts.at[:, row].set(-jnp.inf),
            rights.at[:, row].set(jnp.inf),
        )

    def _sides(self, row: Array, point: Array) -> tuple[Array, Array]:
        """Which members come before and after a point, `[d, n]` each."""
        index, point = self._index(), point[:, None]
        is_tie = self.place == point
        lower = (self.place < point) | (is_tie & (index < row))
        return lower, (self.place > point) | (is_tie & (index > row))

    def _index(self) -> Array:
        return jnp.arange(self.place.shape[1], dtype=jnp.int32)[None, :]


def neighbours_of(place: Array) -> Neighbours:
    """Finds all neighbours of `place` `[d, n]` at once."""
    left, right = (_by_pairs if place.shape[1] <= _FEW else _by_sorting)(place)
    return Neighbours(place, left, right)


def no_neighbours(num_dims: int, capacity: int, dtype: Any) -> Neighbours:
    """Makes an empty set in buffers of `capacity` rows."""
    shape = (num_dims, capacity)
    nothing = (jnp.full(shape, end, dtype) for end in (jnp.nan, -jnp.inf, jnp.inf))
    return Neighbours(*nothing)


def _by_pairs(place: Array) -> tuple[Array, Array]:
    row = jnp.arange(place.shape[1], dtype=jnp.int32)
    mine, other = place[:, :, None], place[:, None, :]
    is_tie = mine == other
    lower = (other < mine) | (is_tie & (row[None, None, :] < row[None, :, None]))
    upper = (other > mine) | (is_tie & (row[None, None, :] > row[None, :, None]))
    left = jnp.max(jnp.where(lower, other, -jnp.inf), axis=2)
    return left, jnp.min(jnp.where(upper, other, jnp.inf), axis=2)


def _by_sorting(place: Array) -> tuple[Array, Array]:
    order = jnp.argsort(place, axis=1, stable=True)
    ordered = jnp.take_along_axis(place, order, axis=1)  # NaN last
    is_member = ~jnp.isnan(ordered)
    edge = jnp.full((place.shape[0], 1), jnp.inf, place.dtype)
    left = jnp.where(is_member, jnp.concatenate([-edge, ordered[:, :-1]], axis=1), -jnp.inf)
    right = jnp.concatenate([ordered[:, 1:], edge], axis=1)
    right = jnp.where(is_member & ~jnp.isnan(right), right, jnp.inf)
    column = jnp.arange(place.shape[0], dtype=order.dtype)[:, None]
    return tuple(jnp.zeros_like(place).at[column, order].set(part) for part in (left, right))  # type: ignore[return-value]
