"""Draws from a space's own distribution, constraints met by rejection."""

from __future__ import annotations

from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo.space.dimensions._dimension import Array


class ConstrainedCube(Protocol):
    """What of a space is needed to draw from it."""

    @property
    def num_dims(self) -> int: ...
    @property
    def has_constraints(self) -> bool: ...
    def allows(self, unit: Array) -> Array: ...


# A round draws this many points in all, but at least one for each row that is wanted.
_DRAWS = 1024
_ROUNDS = 1000


def sample_unit(space: ConstrainedCube, key: Array, n: int) -> Array:
    """Draws unit points `[n, d]`; rows stay NaN if a million draws hold no allowed point."""
    dtype = jnp.result_type(float)
    shape = (n, space.num_dims)
    if not space.has_constraints:
        return jax.random.uniform(key, shape, dtype)
    candidates = (n, max(1, _DRAWS // n), space.num_dims)

    def is_open(carry: tuple[Array, Array]) -> Array:
        unit, step = carry
        return jnp.isnan(unit).any() & (step < _ROUNDS)

    def draw(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        unit, step = carry
        fresh = jax.random.uniform(jax.random.fold_in(key, step), candidates, dtype)
        allowed = space.allows(fresh)
        first = jnp.argmax(allowed, axis=1)
        chosen = jnp.take_along_axis(fresh, first[:, None, None], axis=1)[:, 0]
        take = jnp.isnan(unit).any(axis=-1) & allowed.any(axis=1)
        return jnp.where(take[:, None], chosen, unit), step + 1

    start = (jnp.full(shape, jnp.nan, dtype), jnp.zeros((), jnp.int32))
    unit, _ = jax.lax.while_loop(is_open, draw, start)
    return unit


def check_drawn(unit: Array) -> None:
    """Says so if a space's constraints leave nothing: rows `[n, d]` that are still NaN."""
    if np.isnan(unit).any():
        raise ValueError(
            "Space.sample: `constraints` left no allowed point to be found in a million draws; "
            "loosen them, or narrow the dimensions to the allowed region."
        )
