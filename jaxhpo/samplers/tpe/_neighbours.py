"""A set of points of which every coordinate knows its neighbours, kept without sorting.

XLA sorts slowly on a CPU. A point that enters or leaves the set changes two neighbours per column,
which is one elementwise pass over the buffers.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo._base import Array, Record

_FEW = 64
"""Points up to which comparing all pairs beats sorting."""


class Neighbours(Record):
    """Columns of a set of points; equal coordinates have the same neighbours.

    Attributes:
        place: `[d, n]` coordinates; NaN where the row is no member, or has no such coordinate.
        left: `[d, n]` the largest smaller coordinate, `-inf` if there is none.
        right: `[d, n]` the smallest larger coordinate, `inf` if there is none.
    """

    place: Array
    left: Array
    right: Array

    def insert(self, row: Array, point: Array) -> Neighbours:
        """Makes `point` `[d]` (NaN where it has no coordinate) the member of a free row.

        A row out of range changes nothing.
        """
        point = jnp.where(row < self.place.shape[1], point, jnp.nan)
        lower, upper = self.place < point[:, None], self.place > point[:, None]
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
        point, left, right = (part[:, row][:, None] for part in (self.place, self.left, self.right))
        place = self.place.at[:, row].set(jnp.nan)
        # Where an equal coordinate stays, nobody loses a neighbour.
        was_alone = ~jnp.any(place == point, axis=1, keepdims=True)
        lefts = jnp.where(was_alone & (place == right), left, self.left)
        rights = jnp.where(was_alone & (place == left), right, self.right)
        return Neighbours(place, lefts.at[:, row].set(-jnp.inf), rights.at[:, row].set(jnp.inf))

    def widen(self, capacity: int) -> Neighbours:
        """The same members in buffers of at least as many rows (static)."""
        num_dims, held = self.place.shape
        free = no_neighbours(num_dims, capacity - held, self.place.dtype)
        joined: Neighbours = jax.tree.map(
            lambda mine, new: jnp.concatenate([mine, new], axis=1), self, free
        )
        return joined


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
    mine, other = place[:, :, None], place[:, None, :]
    left = jnp.max(jnp.where(other < mine, other, -jnp.inf), axis=2)
    return left, jnp.min(jnp.where(other > mine, other, jnp.inf), axis=2)


def _by_sorting(place: Array) -> tuple[Array, Array]:
    order = jnp.argsort(place, axis=1)
    ordered = jnp.take_along_axis(place, order, axis=1)  # NaN last
    edge = jnp.full((place.shape[0], 1), jnp.inf, place.dtype)
    before = jnp.concatenate([-edge, ordered[:, :-1]], axis=1)
    after = jnp.concatenate([ordered[:, 1:], edge], axis=1)
    # Neighbours rise along a column: a run of equal coordinates has those of its ends.
    left = jax.lax.cummax(jnp.where(before < ordered, before, -jnp.inf), axis=1)
    right = jax.lax.cummin(jnp.where(after > ordered, after, jnp.inf), axis=1, reverse=True)
    column = jnp.arange(place.shape[0], dtype=order.dtype)[:, None]
    left, right = (jnp.zeros_like(place).at[column, order].set(part) for part in (left, right))
    is_member = ~jnp.isnan(place)
    return jnp.where(is_member, left, -jnp.inf), jnp.where(is_member, right, jnp.inf)
