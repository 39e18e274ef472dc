"""The trust region of `turbo` and `gp`: where it lies, how it grows and shrinks, when it ends."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxhpo import acquisition
from jaxhpo._base import Array, Outcome, Record, has_proposal
from jaxhpo.space import Space
from jaxhpo.space.internal import is_unordered, mean_of_used

# Sides and counts are those of TuRBO (Eriksson et al., "Scalable global optimization via local
# Bayesian optimization", 2019), in units of the cube.
FIRST_LENGTH = 0.8
LARGEST = 1.6  # longer than the cube, for coordinates with short lengthscales
SMALLEST = 0.5**7  # a region that has halved to this has found its minimum
NUM_GOOD = 3
"""Improvements in a row after which the region doubles."""

# Relative, as in the authors' code: what rounding or noise gains does not keep a region large.
GAIN = 1e-3
"""An improvement counts from this share of the best value's size."""


class Patience(NamedTuple):
    """When a region grows and shrinks; integers, traced or not.

    Attributes:
        batch_size: points of one ask; a row of improvements outlasts so many failures.
        num_startup: points of the design that begins a region, which are no test of it.
        num_bad: points in a row without improvement after which the region halves.
    """

    batch_size: int
    num_startup: int | Array
    num_bad: int | Array


class Region(Record):
    """A box around the best point, which bounds the proposals of a model.

    Attributes:
        length: `[]` side of the box, where lengthscales are equal.
        num_good: `[]` int32, improvements in a row.
        num_bad: `[]` int32, points in a row without improvement.
        num_observed: `[]` int32, points observed since the region began.
        best: `[]` smallest value among them.
        first_row: `[]` int32, the first observation that belongs to this region; so many had been
            told when it began.
        num_restarts: `[]` int32.
    """

    length: Array
    num_good: Array
    num_bad: Array
    num_observed: Array
    best: Array
    first_row: Array
    num_restarts: Array

    def holds_rows(self, n: int) -> Array:
        """Which of `n` rows belong to this region, `[n]` bool."""
        return jnp.arange(n, dtype=jnp.int32) >= self.first_row

    def box(self, centre: Array, log_lengthscale: Array, space: Space) -> acquisition.Box:
        """The box around a point, longer where the function varies slowly.

        The lengthscales are scaled to a geometric mean of 1, so the volume depends on the length
        alone. Categories are not bounded.

        Args:
            centre: `[d]` unit point.
            log_lengthscale: `[d]`.
            space: the search space.

        Returns:
            The box.
        """
        # The rule of TuRBO: sides in proportion to the lengthscales, at a fixed volume.
        mean = mean_of_used(space, log_lengthscale)
        half = 0.5 * self.length * jnp.exp(log_lengthscale - mean)
        # Options of a category are equally far from each other, so no side tells which are near.
        is_bounded = ~is_unordered(space)
        lower = jnp.where(is_bounded, jnp.maximum(centre - half, 0.0), 0.0)
        upper = jnp.where(is_bounded, jnp.minimum(centre + half, 1.0), 1.0)
        return acquisition.Box(centre, lower, upper)

    def tell(self, unit: Array, outcome: Outcome, patience: Patience) -> Region:
        """The region after observed points, counted one by one: their grouping changes nothing.

        Args:
            unit: `[q, d]` observed points; NaN rows are none.
            outcome: their outcome; a failed or infeasible point is no improvement.
            patience: when to grow and shrink.

        Returns:
            The region.
        """
        value = feasible_values(outcome, self.best.dtype)

        def one(region: Region, observed: tuple[Array, Array]) -> tuple[Region, None]:
            is_point, value = observed
            counted = region.count(value, patience)
            return _choose(is_point, counted, region), None

        return jax.lax.scan(one, self, (has_proposal(unit), value))[0]

    def count(self, value: Array, patience: Patience) -> Region:
        """The region after one observed point of value `[]`, infinite for a failure."""
        # Before the first success `best` is infinite, and infinity minus infinity would be NaN.
        size = jnp.where(jnp.isfinite(self.best), jnp.abs(self.best), 0.0)
        is_good = value < self.best - GAIN * size
        # The design of a region is spread over the whole space: whether it improves says nothing
        # about the size of the box.
        is_test = self.num_observed >= patience.num_startup
        num_bad = jnp.where(is_good | ~is_test, 0, self.num_bad + 1)
        num_good = self.num_good + (is_good & is_test).astype(jnp.int32)
        # A batch is proposed at once, so its failures may follow a success that none of them knew
        # of. Only as many failures as a batch has points end the row.
        num_good = jnp.where(num_bad >= patience.batch_size, 0, num_good)
        grows, shrinks = num_good >= NUM_GOOD, num_bad >= patience.num_bad
        length = jnp.where(grows, jnp.minimum(2.0 * self.length, LARGEST), self.length)
        counted = Region(
            length=jnp.where(shrinks, 0.5 * length, length),
            num_good=jnp.where(grows | shrinks, 0, num_good),
            num_bad=jnp.where(grows | shrinks, 0, num_bad),
            num_observed=self.num_observed + 1,
            best=jnp.minimum(self.best, value),
            first_row=self.first_row,
            num_restarts=self.num_restarts,
        )
        # A fresh region forgets what the old one saw: its model would be drawn back to the old
        # minimum.
        first_row = self.first_row + counted.num_observed
        fresh = new_region(self.best.dtype, first_row, self.num_restarts + 1)
        return _choose(counted.length < SMALLEST, fresh, counted)


def feasible_values(outcome: Outcome, dtype: Any) -> Array:
    """Values `[q]`, infinite for a failed or infeasible point."""
    value = outcome.value.astype(dtype)
    is_valid = jnp.isfinite(value)
    if outcome.violation is not None:
        is_valid &= (outcome.violation <= 0).reshape(value.shape[0], -1).all(axis=1)
    return jnp.where(is_valid, value, jnp.inf)


def new_region(dtype: Any, first_row: Array, num_restarts: Array) -> Region:
    """A region without observations."""
    return Region(
        length=jnp.asarray(FIRST_LENGTH, dtype),
        num_good=jnp.zeros((), jnp.int32),
        num_bad=jnp.zeros((), jnp.int32),
        num_observed=jnp.zeros((), jnp.int32),
        best=jnp.asarray(jnp.inf, dtype),
        first_row=first_row,
        num_restarts=num_restarts,
    )


def _choose(is_first: Array, first: Region, second: Region) -> Region:
    return jax.tree.map(lambda a, b: jnp.where(is_first, a, b), first, second)
