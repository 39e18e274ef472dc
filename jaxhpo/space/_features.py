"""Unit points as a model should see them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo.space._layout import Leaf
from jaxhpo.space.dimensions._dimension import Array, Discrete


def active_leaves(
    leaves: tuple[Leaf, ...], leaf_values: list[Any], batch: tuple[int, ...]
) -> list[Array]:
    """Which leaves count in each configuration of a batch, one `[...]` bool per leaf."""
    masks = []
    for leaf in leaves:
        mask = jnp.ones(batch, bool)
        for selector, option in leaf.conditions:
            mask &= jnp.asarray(leaf_values[selector]) == option
        masks.append(mask)
    return masks


def feature_columns(leaves: tuple[Leaf, ...], unit: Array, active: Array, categories: str) -> Array:
    """Features `[..., f]` of unit points `[..., d]`; see `Space.features`."""
    columns = [
        _leaf_features(
            leaf,
            unit[..., leaf.start : leaf.stop],
            active[..., leaf.start : leaf.stop],
            categories,
        )
        for leaf in leaves
        if leaf.stop > leaf.start
    ]
    return jnp.concatenate(columns, axis=-1) if columns else unit


def _leaf_features(leaf: Leaf, unit: Array, active: Array, categories: str) -> Array:
    dimension = leaf.dimension
    if not dimension.is_categorical:
        return jnp.where(active, dimension.feature(unit), 0.5)
    level = dimension.level(unit)
    if categories == "index":
        return jnp.where(active, level, 0).astype(unit.dtype)
    columns = jax.nn.one_hot(level, dimension.num_levels, dtype=unit.dtype)
    columns = jnp.where(active[..., None], columns, 0)
    return columns.reshape(*unit.shape[:-1], -1)


def cell_ends(leaves: tuple[Leaf, ...], unit: Array) -> tuple[Array, Array]:
    """Both ends of the discrete cell that each coordinate of unit points lies in.

    Args:
        leaves: a space's table of leaves.
        unit: `[..., d]`.

    Returns:
        Two arrays `[..., d]`; where continuous both are the coordinate itself.
    """
    pairs = [
        _leaf_cell(leaf, unit[..., leaf.start : leaf.stop])
        for leaf in leaves
        if leaf.stop > leaf.start
    ]
    low, high = (jnp.concatenate(part, axis=-1) for part in zip(*pairs, strict=True))
    return low, high


def _leaf_cell(leaf: Leaf, part: Array) -> tuple[Array, Array]:
    if not isinstance(leaf.dimension, Discrete) or not leaf.dimension.is_discrete:
        return part, part
    return leaf.dimension.cell_of_level(leaf.dimension.level(part), part.dtype)
