"""Leaving a minimum that has been reached: which basins are settled, and what lies outside them.

A Gaussian process fitted to a search that has closed in on a minimum is sure that nothing better
is elsewhere: most of its data lie at the bottom, and the directions that do not matter there seem
to matter nowhere. Expected improvement then polishes the last digits for the rest of the budget.
So once a basin is settled, three proposals of four ignore it: they are made as if its points did
not exist, outside of it, beginning with points of the low-discrepancy sequence. The fourth
polishes; once there is next to nothing left to gain, only every sixteenth does.

The constants are those with which most of 256 studies solve Hartmann-6 within 100 trials
(`benchmarks/gp_regret.py`): what fails there is a second descent that the budget cuts short.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxhpo import gp
from jaxhpo._base import Array
from jaxhpo.samplers.bayesian._targets import Targets

# At two lengthscales the Matérn-5/2 kernel is at 0.14: beyond, a point says little of the bottom.
CORRELATION = 0.15
"""Prior correlation with the bottom above which a point belongs to its basin."""

SPREAD = 5e-3
"""A basin is settled when its `NUM_POINTS` best lie this near to each other, in deviations of all
targets."""

CONVERGED = 3e-3
"""The same of a basin where polishing has next to nothing left to gain."""

NUM_POINTS = 4
POLISH_EVERY, REST_EVERY = 4, 16
"""Of so many proposals one is made in the best basin: settled, and converged."""

NUM_FRESH = 4
"""Points of the low-discrepancy sequence that begin the search of another basin."""

MIN_OUTSIDE = 0.2
"""Share of the space that must lie outside; where one basin fills it, there is nothing to leave."""


_Carry = tuple[Array, Array, Array, Array]


class Basins(NamedTuple):
    """Basins whose bottom has been reached, best first.

    Attributes:
        centre: `[k, F]` scaled features of the bottoms.
        is_settled: `[k]` bool.
        is_converged: `[]` bool, whether the best one has nothing left to gain.
        rate: `[F]` inverse lengthscales that scale features.
        inner: `[n]` bool, rows in a settled basin other than its bottom.
        outer: `[n]` bool, good rows outside all settled basins.
        num_fresh: `[]` number of rows outside since the last basin settled.
    """

    centre: Array
    is_settled: Array
    is_converged: Array
    rate: Array
    inner: Array
    outer: Array
    num_fresh: Array

    def contain(self, kernel: gp.Kernel, features: Array) -> Array:
        """Which points `[c, F]` lie in a settled basin, `[c]` bool."""
        r2 = gp.squared_distances(features * self.rate[None, :], self.centre)
        near = kernel.profile_of(r2)[0] > CORRELATION
        return jnp.any(near & self.is_settled[None, :], axis=1)


def settled_basins(kernel: gp.Kernel, theta: Array, targets: Targets, num_basins: int) -> Basins:
    """Finds settled basins from the best one on, until one is not settled.

    Args:
        kernel: static structure of the kernel.
        theta: `[g + 2]` hyperparameters, whose lengthscales say what is near.
        targets: what the model is given.
        num_basins: static; how many to look for.

    Returns:
        The `Basins`.
    """
    rate = kernel.spread(jnp.exp(-gp.unravel(theta).log_lengthscale))
    scaled = targets.data.features * rate[None, :]
    is_near = kernel.profile_of(gp.squared_distances(scaled, scaled))[0] > CORRELATION
    good_target = jnp.where(targets.is_good, targets.data.target, jnp.inf)
    n = good_target.shape[0]
    index = jnp.arange(n, dtype=jnp.int32)

    def one(carry: _Carry, _: None) -> tuple[_Carry, tuple[Array, Array, Array]]:
        outer, inner, since, goes_on = carry
        # Basins are peeled off, the best first: the next bottom is the best row outside all of
        # them.
        bottom = gp.argmax(-jnp.where(outer, good_target, jnp.inf))
        inside = is_near[bottom] & outer
        value = jnp.where(inside, good_target, jnp.inf)
        # With fewer than NUM_POINTS rows in the basin the last of these is infinite, so it is not
        # settled. `top_k` because XLA sorts slowly on CPU.
        lowest = -jax.lax.top_k(-value, min(NUM_POINTS, n))[0]
        spread = lowest[-1] - lowest[0]
        is_settled = goes_on & (spread < SPREAD)
        # The first row that came as low as the bottom, but for `SPREAD`: fresh points are counted
        # from it.
        reached = jnp.min(jnp.where(value - lowest[0] < SPREAD, index, n))
        inside &= is_settled
        following = (
            outer & ~inside,
            # The bottom itself stays among the data: without it the model would expect it anew.
            inner | (inside & (index != bottom)),
            jnp.where(is_settled, jnp.maximum(since, reached), since),
            is_settled,
        )
        return following, (scaled[bottom], is_settled, spread < CONVERGED)

    nothing, zero = jnp.zeros_like(targets.is_good), jnp.zeros((), jnp.int32)
    start = (targets.is_good, nothing, zero, jnp.ones((), bool))
    carry, (centre, is_settled, is_converged) = jax.lax.scan(one, start, None, num_basins)
    outer, inner, since, _ = carry
    # Failed rows count too: what matters is that something outside has been tried.
    num_fresh = jnp.sum(targets.data.mask & ~inner & (index > since))
    return Basins(centre, is_settled, is_converged[0], rate, inner, outer, num_fresh)


def is_leaving(kernel: gp.Kernel, basins: Basins, count: Array, probes: Array) -> Array:
    """Whether the next proposal leaves the settled basins.

    Args:
        kernel: static structure of the kernel.
        basins: the basins.
        count: `[]` int32, points known, pending ones included, which says whose turn it is.
        probes: `[c, F]` features of points spread over the space.

    Returns:
        `[]` bool.
    """
    # A share of probes, since the volume of a union of basins has no closed form.
    outside = jnp.mean(~basins.contain(kernel, probes), dtype=probes.dtype)
    # Turns go by the count of known points, not by a counter in the state, so that a study resumed
    # from its history takes the same turns.
    every = jnp.where(basins.is_converged, REST_EVERY, POLISH_EVERY)
    return jnp.any(basins.is_settled) & (count % every != 0) & (outside > MIN_OUTSIDE)


def cap_lengthscales(theta: Array, prior: gp.Prior) -> Array:
    """Hyperparameters whose lengthscales do not exceed their mean.

    What does not matter at the bottom of one basin may matter elsewhere. The mean is geometric, and
    each lengthscale counts in it with the prior's centre at most.
    """
    g = theta.shape[0] - 2
    lengthscale = theta[:g]
    # These are logarithms: their mean is that of the geometric mean, and scale and noise stay.
    cap = jnp.mean(jnp.minimum(lengthscale, prior.mean[:g]))
    return jnp.concatenate([jnp.minimum(lengthscale, cap), theta[g:]])
