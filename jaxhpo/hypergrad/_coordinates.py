"""Free coordinates: hyperparameters of a space as real numbers without bounds."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._checks import describe, is_traced
from jaxhpo.space import Space

Array = jax.Array

# A start on a bound is moved inside by this part of the range, where the derivative is not zero.
_MARGIN = 1e-4


def check_continuous(where: str, space: Any) -> None:
    """Requires a space in which every coordinate has a derivative."""
    if not isinstance(space, Space):
        raise TypeError(f"{where}: `space` must be a Space or None, got {describe(space)}.")
    for leaf, levels in zip(space.leaves, _levels_by_leaf(space), strict=True):
        if levels.size and levels.max() > 0:
            raise ValueError(
                f"{where}: `space` must be continuous, but {leaf.name!r} is discrete and has no "
                "derivative. Keep it constant in the training, or search it with `hpo.minimize` "
                "or `hpo.population.sweep`."
            )


def check_start(where: str, space: Any, hparams: Any) -> None:
    """Requires a continuous space and, where values are concrete, a start inside it."""
    check_continuous(where, space)
    if any(is_traced(leaf) for leaf in jax.tree.leaves((space, hparams))):
        return
    inside = space.from_unit(space.to_unit(hparams))
    pairs = zip(jax.tree.leaves(inside), jax.tree.leaves(hparams), strict=True)
    if not all(np.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in pairs):
        raise ValueError(
            f"{where}: `hparams` must lie inside their space, got {describe(hparams)}. Move or "
            "widen the bounds, or leave `space` out: every estimator then moves in `hparams` as "
            "they are."
        )
    if not bool(space.feasible(hparams)):
        raise ValueError(
            f"{where}: `hparams` must satisfy the constraints of their space, got "
            f"{describe(hparams)}."
        )


def nan_outside(space: Space, hparams: Any) -> Any:
    """Hyperparameters as they are, or all NaN if they are not inside their space; traceable."""
    inside = space.from_unit(space.to_unit(hparams))
    is_inside = space.feasible(hparams)
    for a, b in zip(jax.tree.leaves(inside), jax.tree.leaves(hparams), strict=True):
        is_inside &= jnp.allclose(a, jnp.asarray(b, a.dtype), rtol=1e-4, atol=1e-6)
    return jax.tree.map(lambda leaf: jnp.where(is_inside, leaf, jnp.nan), hparams)


def _levels_by_leaf(space: Space) -> list[np.ndarray]:
    levels = np.asarray(space.num_levels)
    return [levels[leaf.start : leaf.stop] for leaf in space.leaves]


def to_free(space: Space | None, hparams: Any) -> Any:
    """Maps hyperparameters to free coordinates: the logit of each unit coordinate `[d]`."""
    if space is None:
        return hparams
    unit = jnp.clip(space.to_unit(hparams), _MARGIN, 1 - _MARGIN)
    return jnp.log(unit) - jnp.log1p(-unit)


def from_free(space: Space | None, free: Any) -> Any:
    """Maps free coordinates to hyperparameters, always inside the space."""
    return free if space is None else space.from_unit(jax.nn.sigmoid(free))
