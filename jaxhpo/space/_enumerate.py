"""All configurations of a small discrete space."""

from __future__ import annotations

from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo.space.dimensions._dimension import Array


class DiscreteSpace(Protocol):
    """What of a space is needed to list its configurations."""

    @property
    def num_levels(self) -> np.ndarray: ...
    def from_levels(self, levels: Array) -> Array: ...
    def levels(self, unit: Array) -> Array: ...
    def snap(self, unit: Array) -> Array: ...
    def allows(self, unit: Array) -> Array: ...


def cell_unit(space: DiscreteSpace, cell: Array) -> Array:
    """Unit point `[..., d]` of a cell number, mixed radix over all columns, the last fastest.

    Args:
        space: a discrete space with concrete bounds.
        cell: `[...]` int32, below the product of all level counts.

    Returns:
        `[..., d]` cell centres, inactive columns included.
    """
    radices = np.asarray(space.num_levels, dtype=np.int64)
    products = np.append(np.cumprod(radices[::-1])[::-1], 1)[1:]
    strides = jnp.asarray(products, jnp.int32).reshape((1,) * cell.ndim + (-1,))
    counts = jnp.asarray(radices, jnp.int32).reshape((1,) * cell.ndim + (-1,))
    return space.from_levels(cell[..., None] // strides % counts)


def valid_cells(space: DiscreteSpace) -> np.ndarray:
    """Which cells are allowed and canonical (inactive columns at their first level).

    Args:
        space: a discrete space with concrete bounds.

    Returns:
        bool `[product of level counts]`. Host side; the product should be small.
    """
    total = int(np.prod(space.num_levels.astype(object)))

    @jax.jit
    def check(cells: Array) -> Array:
        unit = cell_unit(space, cells)
        canonical = jnp.all(space.levels(space.snap(unit)) == space.levels(unit), axis=-1)
        return canonical & space.allows(unit)

    with jax.ensure_compile_time_eval():
        return np.asarray(check(jnp.arange(total, dtype=jnp.int32)))


def count_feasible(space: DiscreteSpace) -> int:
    """Number of distinct allowed configurations of a small discrete space."""
    return int(valid_cells(space).sum())
