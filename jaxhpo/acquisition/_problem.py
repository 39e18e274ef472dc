"""Where the search for the best next point takes place, and how hard it looks.

Points live in the unit cube in default float dtype; the score is computed from features, in float64
where the engine runs in it. What the space forbids and what is known already scores minus infinity.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._base import Array
from jaxhpo.acquisition._embedding import Embedding
from jaxhpo.space import Space

_SLACK = 1e-5
"""A point on the border of the box is inside, rounded or not."""

ScoreFn = Callable[[Array, Array], tuple[Array, Array]]
"""From features `[c, F]` and the unit points `[c, d]` that they belong to, to values `[c]` and
gradients `[c, F]` with respect to the features."""


class Budget(NamedTuple):
    """How hard to search; static Python integers.

    Attributes:
        num_global: candidates spread over the whole space.
        num_local: candidates around the incumbent.
        num_lanes: quasi-Newton lanes.
        num_evals: evaluations of each lane.
    """

    num_global: int = 512
    num_local: int = 128
    num_lanes: int = 6
    num_evals: int = 30


class Box(NamedTuple):
    """A part of the unit cube, `[d]` each: its centre and its bounds."""

    centre: Array
    lower: Array
    upper: Array


class Problem(NamedTuple):
    """Where to search.

    Attributes:
        space: the search space.
        embedding: its features.
        known: `[n, d]` points that must not be proposed again; NaN rows are none.
        is_double: whether default floats are float64 outside.
        box: the part of the cube to search, or None for all of it.
    """

    space: Space
    embedding: Embedding
    known: Array
    is_double: bool
    box: Box | None = None

    @contextlib.contextmanager
    def outside(self) -> Iterator[None]:
        """The precision of the caller, in which the space computes."""
        with jax.enable_x64(self.is_double):
            yield

    @property
    def dtype(self) -> np.dtype:
        """Default float dtype outside."""
        return np.dtype(np.float64 if self.is_double else np.float32)

    def prepare(self, unit: Array, *, must_be_new: bool = True) -> tuple[Array, Array, Array]:
        """Snapped points `[c, d]`, features `[c, F]`, and which are allowed (and new) `[c]`."""
        with self.outside():
            unit = self.space.snap(unit)
            features = self.embedding.features(self.space, unit)
            allowed = self.is_allowed(unit)
            if must_be_new:
                allowed &= ~_is_known(unit, self.known)
        return unit, features, allowed

    def is_allowed(self, unit: Array) -> Array:
        """Which points meet the constraints and lie in the box `[c]`."""
        allowed = jnp.ones(unit.shape[:-1], bool)
        if self.box is not None:
            is_below = unit < self.box.lower[None, :] - _SLACK
            is_above = unit > self.box.upper[None, :] + _SLACK
            allowed = ~jnp.any(is_below | is_above, axis=-1)
        if self.space.has_constraints:
            allowed &= self.space.allows(unit)
        return allowed

    def bounds(self, width: Array) -> tuple[Array, Array]:
        """Bounds `[F]` of the continuous features, over `width`."""
        lower, upper = jnp.zeros_like(width), jnp.ones_like(width)
        if self.box is not None:
            lower = self.embedding.spread_free(self.space, self.box.lower, lower)
            upper = self.embedding.spread_free(self.space, self.box.upper, upper)
        return lower / width, upper / width


def _is_known(unit: Array, known: Array) -> Array:
    """Which rows `[c]` lie within rounding of a known row."""
    near = 8.0 * float(np.finfo(np.float32).eps)
    # NaN compares false; a maximum over it is not NaN in every compiled program.
    is_near = jnp.abs(unit[:, None, :] - known[None, :, :]) < near
    return jnp.any(jnp.all(is_near, axis=2), axis=1)
