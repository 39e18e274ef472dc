"""A plain space as arrays: one program of a sampler then serves all spaces of one width."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import _base, _checks
from jaxhpo.space._layout import Leaf
from jaxhpo.space._space import Space
from jaxhpo.space.dimensions._choice import Choice
from jaxhpo.space.dimensions._dimension import Array
from jaxhpo.space.dimensions._normal import Normal
from jaxhpo.space.dimensions._real import Real
from jaxhpo.space.dimensions._stepped import Stepped

UNUSED = -1
"""Level count of a column that stands for no coordinate."""

_LINEAR = (0.0, 1.0, 0.0)


@jax.tree_util.register_pytree_node_class
class Columns(Space):
    """The unit cube of a plain space: what a sampler needs of it, and no names, bounds or values.

    Kinds and grids are arrays, so they belong to the arguments of a program and not to its
    structure. Columns beyond those of the space are never active: they lie at 0.5, as an inactive
    coordinate does.

    Attributes:
        count: `[d]` int32 levels of each column, 0 where continuous, `UNUSED` in the rest.
        is_category: `[d]` bool, which columns are unordered.
        scale: `[3, d]` numbers a, r, s of a logarithmic grid (`Stepped`); s is 0 for other columns.
    """

    # Whether points may come again is decided before: see `columns_of`.
    may_repeat: ClassVar[bool] = True

    def __init__(self, count: Any, is_category: Any, scale: Any) -> None:
        self.count, self.is_category, self.scale = count, is_category, scale
        self._root, self._leaves, self._constraints = None, (), ()

    def tree_flatten(self) -> tuple[tuple[Any, ...], Any]:
        """All of it is data."""
        return (self.count, self.is_category, self.scale), None

    @classmethod
    def tree_unflatten(cls, structure: Any, parts: Any) -> Columns:
        """Puts it together without validation."""
        del structure
        return cls(*parts)

    @property
    def num_dims(self) -> int:
        """Number of columns, those without a coordinate included."""
        return int(self.count.shape[0])

    @property
    def is_conditional(self) -> bool:
        """Some columns may never be active."""
        return True

    @property
    def num_levels(self) -> np.ndarray:
        """Levels of each column; 0 where continuous, 1 where unused. Host side."""
        return np.abs(np.asarray(self.count, np.int64))

    @property
    def is_categorical(self) -> np.ndarray:
        """Whether each column is unordered. Host side."""
        return np.asarray(self.is_category, bool)

    @property
    def cardinality(self) -> int | None:
        """Not known, nor needed: nothing is counted."""
        return None

    def levels(self, unit: Array) -> Array:
        """Level of each column, int32 `[..., d]`; 0 where continuous."""
        unit = jnp.asarray(unit)
        count = self._row(self.count, unit).astype(unit.dtype)
        start, ratio, span = (self._row(part, unit).astype(unit.dtype) for part in self.scale)
        # The rules of `Stepped`, so that a point has its level in either program.
        curved = jnp.round(start + ratio * jnp.expm1(span * unit))
        curved = jnp.where(unit >= 1, count - 1, curved)
        position = jnp.where(span > 0, curved, jnp.floor(unit * count))
        position = jnp.where(jnp.isnan(position), 0, jnp.clip(position, 0, count - 1))
        return jnp.where(count > 0, position, 0).astype(jnp.int32)

    def from_levels(self, levels: Array, dtype: Any = None) -> Array:
        """Unit points `[..., d]` at the centres of discrete levels; 0.5 where continuous."""
        dtype = dtype or jnp.result_type(float)
        place = jnp.asarray(levels).astype(dtype)
        return jnp.where(self._row(self.count, place) > 0, self._centres(place), 0.5)

    def snap(self, unit: Array) -> Array:
        """Moves unit points `[..., d]` to their canonical place, unused columns to 0.5."""
        unit = jnp.asarray(unit)
        count = self._row(self.count, unit)
        place = self.levels(unit).astype(unit.dtype)
        snapped = jnp.where(count > 0, self._centres(place), jnp.clip(unit, 0.0, 1.0))
        snapped = jnp.where(count == UNUSED, 0.5, snapped)
        return jnp.where(_base.has_proposal(unit)[..., None], snapped, jnp.nan)

    def cell_ends(self, unit: Array) -> tuple[Array, Array]:
        """Both ends of each column's discrete cell, `[..., d]`."""
        count, span = self._row(self.count, unit), self._row(self.scale[2], unit)
        place = self.levels(unit).astype(unit.dtype)
        share = 1 / jnp.maximum(count, 1).astype(unit.dtype)
        lower, upper = (self._curved_place(place + half) for half in (-0.5, 0.5))
        low = jnp.where(span > 0, jnp.where(place == 0, 0, lower), place * share)
        high = jnp.where(span > 0, upper, (place + 1) * share)
        is_discrete = count > 0
        return jnp.where(is_discrete, low, unit), jnp.where(is_discrete, high, unit)

    def active_columns(self, unit: Array) -> Array:
        """Which columns stand for a coordinate, bool `[..., d]`."""
        unit = jnp.asarray(unit)
        return jnp.broadcast_to(self._row(self.count, unit) != UNUSED, unit.shape)

    def allows(self, unit: Array) -> Array:
        """All points are allowed, bool `[...]`."""
        return jnp.ones(jnp.asarray(unit).shape[:-1], bool)

    def _centres(self, place: Array) -> Array:
        """Unit coordinates of the centres of levels `[..., d]`."""
        count, span = self._row(self.count, place), self._row(self.scale[2], place)
        straight = (place + 0.5) * (1 / jnp.maximum(count, 1).astype(place.dtype))
        return jnp.where(span > 0, self._curved_place(place), straight)

    def _curved_place(self, place: Array) -> Array:
        """Unit coordinates of places between levels, on the logarithmic scale."""
        start, ratio, span = (self._row(part, place).astype(place.dtype) for part in self.scale)
        above = jnp.maximum((place - start) * (1 / ratio), 0)
        return jnp.clip(jnp.log1p(above) * (1 / jnp.where(span > 0, span, 1)), 0, 1)

    @staticmethod
    def _row(part: Array, like: Array) -> Array:
        """A column's numbers with as many axes as points have."""
        return part.reshape((1,) * (like.ndim - 1) + part.shape)


def num_used(space: Space) -> int | Array:
    """Number of coordinates without unused columns: an int, or of `Columns` an int32 `[]`."""
    if isinstance(space, Columns):
        return jnp.sum(space.count != UNUSED, dtype=jnp.int32)
    return space.num_dims


def mean_of_used(space: Space, per_coordinate: Array) -> Array:
    """Mean of numbers `[d]` over the coordinates that are no unused columns, `[]`."""
    if isinstance(space, Columns):
        kept = jnp.where(space.count != UNUSED, per_coordinate, 0)
        return jnp.sum(kept) / jnp.asarray(num_used(space), kept.dtype)
    return jnp.mean(per_coordinate)


def is_unordered(space: Space) -> Array:
    """Which coordinates are categories, bool `[d]`, whether the space is traced or not."""
    return jnp.asarray(space.is_category if isinstance(space, Columns) else space.is_categorical)


def columns_of(space: Space, width: int) -> Columns | None:
    """The columns of a space that is plain enough. Host side.

    It is if nothing is conditional, constrained or weighted, if its numbers need no more than the
    device's precision, and if points need not be counted: one coordinate is continuous, or each
    point may come again.

    Args:
        space: the space.
        width: columns, at least `space.num_dims`.

    Returns:
        The columns, or None.
    """
    if any(map(_checks.is_traced, jax.tree.leaves(space))) or isinstance(space, Columns):
        return None
    is_finite = not space.may_repeat and bool((space.num_levels > 0).all())
    if space.is_conditional or space.has_constraints or is_finite:
        return None
    if not all(leaf.start == leaf.stop or _is_plain(leaf) for leaf in space.leaves):
        return None
    rest = width - space.num_dims
    scales = [_scale(leaf) for leaf in space.leaves for _ in range(leaf.start, leaf.stop)]
    count = np.pad(space.num_levels.astype(np.int32), (0, rest), constant_values=UNUSED)
    scale = np.asarray([*scales, *[_LINEAR] * rest]).T
    return Columns(
        _base.setting(count),
        _base.setting(np.pad(space.is_categorical, (0, rest))),
        _base.setting(scale, jnp.result_type(float)),
    )


def _is_plain(leaf: Leaf) -> bool:
    dimension = leaf.dimension
    if isinstance(dimension, Choice):
        return dimension.weights is None
    return isinstance(dimension, Real | Normal | Stepped)


def _scale(leaf: Leaf) -> tuple[float, ...]:
    dimension = leaf.dimension
    if not isinstance(dimension, Stepped) or not dimension.log or not dimension.is_discrete:
        return _LINEAR
    return dimension.log_scale()
