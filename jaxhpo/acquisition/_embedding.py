"""Unit points as a Gaussian process sees them, and the way back for the continuous ones."""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp
import numpy as np

from jaxhpo._base import Array
from jaxhpo.acquisition._sweeps import Trials, tables
from jaxhpo.gp import Kernel
from jaxhpo.space import Space

ACTIVITY = 0.5
"""Distance in a coordinate between a point where it is active and one where it is not."""


@dataclasses.dataclass(frozen=True)
class Embedding:
    """How the columns of the model's features belong to unit coordinates; hashable, static.

    A numeric coordinate is one column. A categorical one has a column per option, times the root of
    one half, so that squared distances are 0 or 1. A conditional coordinate has one column more,
    which tells whether it is active: two points in which it is inactive do not differ by it.

    Attributes:
        groups: unit coordinate of each feature column, which share a lengthscale.
        columns: feature column of each continuous unit coordinate, -1 for a discrete one.
        scales: factor of each feature column.
        conditional: unit coordinates that are not always active.
        levels: number of levels of each unit coordinate, 0 where continuous.
    """

    groups: tuple[int, ...]
    columns: tuple[int, ...]
    scales: tuple[float, ...]
    conditional: tuple[int, ...]
    levels: tuple[int, ...]

    @property
    def has_free(self) -> bool:
        """Whether there are continuous coordinates."""
        return any(column >= 0 for column in self.columns)

    @property
    def has_discrete(self) -> bool:
        """Whether there are discrete coordinates."""
        return any(column < 0 for column in self.columns)

    def num_rounds(self, space: Space, sweeps: int) -> Array:
        """Rounds of a search of continuous and discrete coordinates; `sweeps` is static."""
        del space
        return jnp.asarray(1 + sweeps, jnp.int32)

    def free_columns(self, space: Space) -> Array:
        """Which feature columns are continuous coordinates, bool `[F]`."""
        del space
        is_free = np.zeros(len(self.groups), bool)
        is_free[[column for column in self.columns if column >= 0]] = True
        return jnp.asarray(is_free)

    def is_continuous(self, space: Space) -> Array:
        """Which coordinates are continuous, bool `[d]`."""
        del space
        return jnp.asarray(np.asarray(self.columns) >= 0)

    def spread_free(self, space: Space, per_coordinate: Array, rest: Array) -> Array:
        """`rest` `[F]`, with `per_coordinate` `[d]` where the space is continuous."""
        del space
        columns = np.asarray(self.columns)
        free = np.flatnonzero(columns >= 0)
        return rest.at[columns[free]].set(per_coordinate[free].astype(rest.dtype))

    def trials(self, space: Space) -> Trials:
        """What a search tries in each discrete coordinate; there must be one."""
        del space
        coordinates = np.flatnonzero(np.asarray(self.columns) < 0).astype(np.int32)
        levels = np.asarray(self.levels, np.int32)[coordinates]
        return Trials(coordinates, None, levels, *tables(levels, int(levels.max()), np))

    def kernel(self, profile: str = "matern52") -> Kernel:
        """A kernel with one lengthscale per unit coordinate."""
        return Kernel(self.groups, profile)

    def features(self, space: Space, unit: Array) -> Array:
        """Features `[..., F]` of snapped points `[..., d]`; zero in rows of NaN."""
        unit = jnp.nan_to_num(unit)
        parts = [space.features(unit, "onehot")]
        if self.conditional:
            active = space.active_columns(unit)[..., np.asarray(self.conditional)]
            parts.append(active.astype(unit.dtype))
        features = jnp.concatenate(parts, axis=-1)
        scales = jnp.asarray(self.scales, unit.dtype)
        return features * jnp.broadcast_to(scales, features.shape)

    def replace_free(self, space: Space, unit: Array, features: Array) -> Array:
        """`unit` `[..., d]`, with the continuous coordinates of the space taken from `features`."""
        del space
        columns = np.asarray(self.columns)
        taken = features[..., np.maximum(columns, 0)].astype(unit.dtype)
        is_free = jnp.broadcast_to(jnp.asarray(columns >= 0), unit.shape)
        return jnp.where(is_free, taken, unit)


def static_embedding_of(space: Space) -> Embedding:
    """Reads the embedding off a space; host side.

    Args:
        space: the search space.

    Returns:
        The `Embedding`.
    """
    levels, is_categorical = space.num_levels, space.is_categorical
    groups: list[int] = []
    columns: list[int] = []
    scales: list[float] = []
    for coordinate in range(space.num_dims):
        columns.append(-1 if levels[coordinate] else len(groups))
        width = int(levels[coordinate]) if is_categorical[coordinate] else 1
        groups += [coordinate] * width
        scales += [math.sqrt(0.5) if is_categorical[coordinate] else 1.0] * width
    conditional = [
        column
        for leaf in space.leaves
        for column in range(leaf.start, leaf.stop)
        if leaf.conditions
    ]
    groups += conditional
    scales += [ACTIVITY] * len(conditional)
    counts = tuple(int(count) for count in levels)
    return Embedding(tuple(groups), tuple(columns), tuple(scales), tuple(conditional), counts)
