"""Children of two parents in the unit cube: crossover and mutation.

All functions take uniform numbers instead of keys: one draw for a child compiles several times
faster than one for each purpose.
"""

from __future__ import annotations

import jax.numpy as jnp

from jaxhpo._base import Array

SBX, UNIFORM = "sbx", "uniform"
CROSSOVERS = (SBX, UNIFORM)


def crossed(noise: Array, one: Array, other: Array, is_category: Array, eta: Array) -> Array:
    """Simulated binary crossover within the unit cube: one child of two, a coin per coordinate.

    Model: a child lies around the parents as a point lies around its parents after single-point
    crossover of their bits, the closer the larger `eta`. Half of the coordinates are passed on
    unchanged. Categories are taken from either parent.

    Args:
        noise: `[3, d]` uniform numbers.
        one: `[d]` first parent.
        other: `[d]` second parent.
        is_category: `[d]` bool, coordinates without an order.
        eta: distribution index.

    Returns:
        `[d]` the child.

    References:
        Deb and Agrawal, "Simulated binary crossover for continuous search space", 1995.
    """
    spread, side, mix = noise
    low, high = jnp.minimum(one, other), jnp.maximum(one, other)
    gap = high - low
    # Equal coordinates have no spread; 1 keeps the division finite.
    width = jnp.where(gap > 0, gap, 1)

    def child(margin: Array, sign: float) -> Array:
        alpha = 2 - (1 + 2 * margin / width) ** -(eta + 1)
        inner = (spread * alpha) ** (1 / (eta + 1))
        outer = (1 / jnp.maximum(2 - spread * alpha, 1e-12)) ** (1 / (eta + 1))
        beta = jnp.where(spread * alpha <= 1, inner, outer)
        return jnp.clip(0.5 * (low + high + sign * beta * gap), 0, 1)

    lower, upper = child(low, -1.0), child(1 - high, 1.0)
    moved = jnp.where(side < 0.5, lower, upper)
    kept = jnp.where(side < 0.5, one, other)
    return jnp.where((mix < 0.5) & ~is_category, moved, kept)


def swapped(noise: Array, one: Array, other: Array, swap: Array) -> Array:
    """Uniform crossover: each coordinate comes from `other` with probability `swap`.

    `noise` `[d]` holds uniform numbers.
    """
    return jnp.where(noise < swap, other, one)


def mutated(
    noise: Array, forced: Array, unit: Array, is_redrawn: Array, eta: Array, probability: Array
) -> Array:
    """Polynomial mutation within the unit cube; where order means little, a fresh draw.

    At least one coordinate is mutated, so that a child differs from its parents.

    Args:
        noise: `[3, d]` uniform numbers.
        forced: `[]` int32 the coordinate that is mutated in any case.
        unit: `[d]` a point.
        is_redrawn: `[d]` bool, coordinates that are drawn anew instead of moved.
        eta: distribution index, the larger the smaller the steps.
        probability: for each coordinate, that it is mutated.

    Returns:
        `[d]` the point.

    References:
        Deb and Goyal, "A combined genetic adaptive search (GeneAS)", 1996.
    """
    step, which, fresh = noise
    low = 2 * step + (1 - 2 * step) * (1 - unit) ** (eta + 1)
    high = 2 * (1 - step) + (2 * step - 1) * unit ** (eta + 1)
    shift = jnp.where(
        step < 0.5, low ** (1 / (eta + 1)) - 1, 1 - jnp.maximum(high, 0) ** (1 / (eta + 1))
    )
    moved = jnp.where(is_redrawn, fresh, jnp.clip(unit + shift, 0, 1))
    return jnp.where(
        (which < probability) | (jnp.arange(unit.shape[0], dtype=jnp.int32) == forced), moved, unit
    )
