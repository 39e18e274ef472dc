"""A numbered lattice of configurations: all of a finite space, or the points of a grid.

Each unit coordinate has a fixed number of levels, and a configuration's number is the mixed-radix
number of its levels, last coordinate fastest. Inactive coordinates count as level 0, so that two
points that decode to the same params share a number.
"""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._base import Array, has_proposal
from jaxhpo.samplers._parts._bitset import Visited, all_open, closed_where
from jaxhpo.space import Space

EXACT_CELLS = 2**20
"""Finite spaces up to this size get one bit a configuration; larger ones are hashed."""

HASHED_BITS = 2**22
"""Bits of the hashed set: 512 KiB. As many configurations can be kept apart at most."""

_PRINTS = 2**18
"""Bits for the points of a space that is not finite: 32 KiB a study."""

_CHUNK = 2**14
_TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True)
class Lattice:
    """The shape of a lattice; hashable, part of a program's structure.

    Attributes:
        levels: number of levels of each unit coordinate.
        continuous: which of them are evenly spaced levels of a continuous coordinate, ends
            included, instead of the coordinate's own discrete levels.
        is_exact: whether numbers are exact, or hashed to `HASHED_BITS` bits.
    """

    levels: tuple[int, ...]
    continuous: tuple[bool, ...]
    is_exact: bool

    @property
    def size(self) -> int:
        """Number of lattice points before constraints and inactive coordinates are considered."""
        return math.prod(self.levels)

    def number(self, space: Space, unit: Array) -> tuple[Array, Array]:
        """Numbers points `[c, d]`.

        Returns:
            `[c]` int32 numbers, and `[c]` bool: whether the point is a proposal and lies on the
            lattice. Numbers of other rows are 0.
        """
        active = space.active_columns(unit)
        levels = space.levels(unit)
        on_lattice = has_proposal(unit)
        if any(self.continuous):
            position = jnp.nan_to_num(unit) * self._last(unit.dtype)[None, :]
            nearest = jnp.round(position)
            mask = jnp.asarray(self.continuous)[None, :]
            # A coordinate with one level has it in the middle, where inactive ones are, too.
            single = jnp.asarray([count == 1 for count in self.levels])[None, :]
            away = jnp.where(single, jnp.abs(unit - 0.5), jnp.abs(position - nearest))
            on_lattice &= ~jnp.any(mask & active & (away > _TOLERANCE), axis=1)
            levels = jnp.where(mask, jnp.where(single, 0, nearest.astype(jnp.int32)), levels)
        levels = jnp.where(active, levels, 0)
        number = self._mixed_radix(levels) if self.is_exact else _hash(levels)
        return jnp.where(on_lattice, number, 0), on_lattice

    def points(self, space: Space, number: Array) -> Array:
        """Gives the snapped points `[c, d]` of exact numbers `[c]`, in default float dtype."""
        return space.snap(self._centres(space, self._digits(number)))

    def point_or_rest(
        self,
        space: Space,
        visited: Visited,
        found: Array,
        number: Array,
        unit: Array,
        rank: Array,
    ) -> tuple[Array, Array]:
        """Keeps a point that was found, else takes the open one of a rank.

        Args:
            space: the space.
            visited: the closed numbers.
            found: `[]` bool, whether `number` and `unit` stand.
            number: `[]` int32.
            unit: `[d]` its point.
            rank: `[]` int32 rank among the open numbers, used where not found.

        Returns:
            The number and the point.
        """

        def rest() -> tuple[Array, Array]:
            other = visited.nth_open(rank[None])
            return other[0], self.points(space, other)[0]

        return jax.lax.cond(found, lambda: (number, unit), rest)

    def open_set(self, space: Space) -> Visited:
        """Opens every number that stands for a feasible configuration of its own."""
        if not self.is_exact:
            return all_open(HASHED_BITS)
        if not space.has_constraints and not space.is_conditional:
            return all_open(self.size)
        chunk = min(_CHUNK, self.size)
        starts = jnp.arange(-(-self.size // chunk), dtype=jnp.int32) * chunk
        offsets = jnp.arange(chunk, dtype=jnp.int32)
        closed = jax.lax.map(lambda start: self._closed(space, start + offsets), starts)
        return closed_where(closed.reshape(-1)[: self.size])

    def _closed(self, space: Space, number: Array) -> Array:
        """Tells which numbers are infeasible, or stand for what another number stands for."""
        digits = self._digits(number)
        unit = self._centres(space, digits)
        is_copy = jnp.any(~space.active_columns(unit) & (digits > 0), axis=1)
        return is_copy | ~space.allows(unit)

    def _digits(self, number: Array) -> Array:
        levels = np.asarray(self.levels, np.int32)
        strides = jnp.asarray(_strides(self.levels))
        return (number[:, None] // strides[None, :]) % jnp.asarray(levels)[None, :]

    def _centres(self, space: Space, digits: Array) -> Array:
        dtype = jnp.result_type(float)
        unit = space.from_levels(digits, dtype)
        if not any(self.continuous):
            return unit
        # Products with constants, and the end set apart: the same numbers in every program.
        share = jnp.asarray([1 / max(count - 1, 1) for count in self.levels], dtype)
        last = jnp.asarray(self.levels, jnp.int32)[None, :] - 1
        spaced = jnp.where(digits == last, 1, digits.astype(dtype) * share[None, :])
        spaced = jnp.where(last > 0, spaced, 0.5)
        return jnp.where(jnp.asarray(self.continuous)[None, :], spaced, unit)

    def _mixed_radix(self, levels: Array) -> Array:
        strides = jnp.asarray(_strides(self.levels))
        return jnp.sum(levels * strides[None, :], axis=1, dtype=jnp.int32)

    def _last(self, dtype: np.dtype) -> Array:
        return jnp.asarray([count - 1 for count in self.levels], dtype)


@dataclasses.dataclass(frozen=True)
class Prints:
    """Numbers for the points of a space that is not finite: hashes of what they are, bit by bit.

    Two points share a number by chance, one pair in 2^18.

    Attributes:
        discrete: which coordinates have levels.
    """

    discrete: tuple[bool, ...]

    def number(self, space: Space, unit: Array) -> tuple[Array, Array]:
        """Numbers snapped points `[c, d]`, as `Lattice.number` does."""
        active = space.active_columns(unit)
        # Adding 0 turns -0 into 0.
        bits = jax.lax.bitcast_convert_type((unit + 0).astype(jnp.float32), jnp.uint32)
        words = jnp.where(
            jnp.asarray(self.discrete)[None, :], space.levels(unit).astype(jnp.uint32), bits
        )
        number = _mixed(jnp.where(active, words, 0)) % jnp.uint32(_PRINTS)
        is_point = has_proposal(unit)
        return jnp.where(is_point, number.astype(jnp.int32), 0), is_point

    def open_set(self, space: Space) -> Visited:
        """Opens every number."""
        del space
        return all_open(_PRINTS)


def prints_of(space: Space) -> Prints:
    """Makes the prints of a space that is not finite. Host side."""
    return Prints(tuple(int(count) > 0 for count in space.num_levels))


def finite_lattice(space: Space) -> Lattice | None:
    """Describes a finite space whose points are proposed once, or returns None. Host side."""
    levels = tuple(int(count) for count in space.num_levels)
    if space.may_repeat or not levels or 0 in levels:
        return None
    return Lattice(levels, (False,) * len(levels), math.prod(levels) <= EXACT_CELLS)


def _strides(levels: tuple[int, ...]) -> np.ndarray:
    strides = np.ones(len(levels), dtype=np.int32)
    for place in range(len(levels) - 2, -1, -1):
        strides[place] = strides[place + 1] * levels[place + 1]
    return strides


def _hash(levels: Array) -> Array:
    """Mixes the levels `[c, d]` to numbers below `HASHED_BITS` (the finaliser of MurmurHash3)."""
    return (_mixed(levels.astype(jnp.uint32)) % jnp.uint32(HASHED_BITS)).astype(jnp.int32)


def _mixed(words: Array) -> Array:
    """Folds the rows of uint32 words `[c, d]` into one hash each."""
    state = jnp.full(words.shape[:1], 0x9E3779B9, jnp.uint32)
    for column in range(words.shape[1]):
        state = mix_hash(state, words[:, column])
    return state


def mix_hash(state: Array, word: Array) -> Array:
    """Folds one uint32 word into a uint32 hash."""
    state = (state ^ word) * jnp.uint32(0x85EBCA6B) + jnp.uint32(0x9E3779B9)
    state = (state ^ (state >> jnp.uint32(16))) * jnp.uint32(0x85EBCA6B)
    state = (state ^ (state >> jnp.uint32(13))) * jnp.uint32(0xC2B2AE35)
    return state ^ (state >> jnp.uint32(16))
