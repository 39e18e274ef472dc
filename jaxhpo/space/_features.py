"""Unit points as a model should see them."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxhpo.space._dimension import Array
from jaxhpo.space._layout import Leaf


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
