"""The features of `Columns`: one layout for all plain spaces of a width."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._base import Array
from jaxhpo._checks import check_instance
from jaxhpo.acquisition._embedding import Embedding, static_embedding_of
from jaxhpo.acquisition._sweeps import MOST_LISTED, Trials, tables
from jaxhpo.space import Space
from jaxhpo.space.internal import Columns

_REACHES = (MOST_LISTED, 2**10 - 1, 2**22)
"""Levels up to which grids share a program; no grid that a program numbers has more."""


@dataclasses.dataclass(frozen=True)
class ColumnEmbedding(Embedding):
    """An `Embedding` in which what a column is belongs to the space's arrays; hashable, static.

    Each column has one feature, which is constant where the column is unordered or unused; the
    first columns, among which are all unordered ones, have features for their options beside it.

    Attributes:
        num_options: options that a column has features for, at least as many as any has.
        reach: no coordinate has more levels.
    """

    num_options: int = 0
    reach: int = 0

    @property
    def has_free(self) -> bool:
        """There may be continuous coordinates."""
        return True

    @property
    def has_discrete(self) -> bool:
        """There may be discrete coordinates."""
        return True

    def num_rounds(self, space: Space, sweeps: int) -> Array:
        """Rounds of a search: one more than sweeps where there is something to sweep."""
        return 1 + sweeps * jnp.any(_columns(space).count > 0).astype(jnp.int32)

    def is_continuous(self, space: Space) -> Array:
        """Which coordinates are continuous, bool `[d]`."""
        return _columns(space).count == 0

    def free_columns(self, space: Space) -> Array:
        """Which feature columns are continuous coordinates, bool `[F]`."""
        rest = len(self.groups) - space.num_dims
        return jnp.pad(self.is_continuous(space), (0, rest))

    def spread_free(self, space: Space, per_coordinate: Array, rest: Array) -> Array:
        """`rest` `[F]`, with `per_coordinate` `[d]` where the space is continuous."""
        d = space.num_dims
        own = jnp.where(self.is_continuous(space), per_coordinate.astype(rest.dtype), rest[:d])
        return jnp.concatenate([own, rest[d:]])

    def features(self, space: Space, unit: Array) -> Array:
        """Features `[..., F]` of snapped points `[..., d]`; finite in rows of NaN."""
        unit = space.snap(jnp.nan_to_num(unit))
        lead = (1,) * (unit.ndim - 1)
        is_category = _columns(space).is_category.reshape((*lead, -1))
        numeric = jnp.where(is_category, 0.5, unit)
        count = (len(self.groups) - unit.shape[-1]) // self.num_options
        level = space.levels(unit)[..., :count]
        options = jax.nn.one_hot(level, self.num_options, dtype=unit.dtype)
        options = jnp.where(is_category[..., :count, None], options * math.sqrt(0.5), 0)
        return jnp.concatenate([numeric, options.reshape(*unit.shape[:-1], -1)], axis=-1)

    def replace_free(self, space: Space, unit: Array, features: Array) -> Array:
        """`unit` `[..., d]`, with the continuous coordinates of the space taken from `features`."""
        taken = features[..., : unit.shape[-1]].astype(unit.dtype)
        is_free = self.is_continuous(space).reshape((1,) * (unit.ndim - 1) + (-1,))
        return jnp.where(is_free, taken, unit)

    def trials(self, space: Space) -> Trials:
        """What a search tries in each discrete coordinate."""
        levels = jnp.maximum(_columns(space).count, 1)
        numbers = jnp.arange(space.num_dims, dtype=jnp.int32)
        return Trials(numbers, _columns(space).count > 0, levels, *tables(levels, self.reach, jnp))


def _columns(space: Space) -> Columns:
    assert isinstance(space, Columns)
    return space


def embedding_of(space: Space) -> Embedding:
    """Reads the embedding off a space; host side.

    Args:
        space: the search space.

    Returns:
        The `Embedding`; that of `Columns` has few sizes, so that most of a width have the same.
    """
    if isinstance(space, Columns):
        return _of_columns(space)
    check_instance("acquisition.embedding_of", "space", space, Space, "a Space")
    return static_embedding_of(space)


def _of_columns(space: Columns) -> ColumnEmbedding:
    d, levels, is_category = space.num_dims, space.num_levels, space.is_categorical
    most = int(levels[is_category].max(initial=1))
    num_options = max(4, 1 << (most - 1).bit_length())
    last = int(np.flatnonzero(is_category).max(initial=0))
    count = 1 << last.bit_length()
    groups = (*range(d), *(column for column in range(count) for _ in range(num_options)))
    reach = next(reach for reach in _REACHES if levels.max(initial=1) <= reach)
    own, scales = tuple(range(d)), (1.0,) * len(groups)
    return ColumnEmbedding(groups, own, scales, (), (0,) * d, num_options, reach)
