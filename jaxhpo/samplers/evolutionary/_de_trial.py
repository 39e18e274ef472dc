"""The trial vectors of differential evolution, by the names that SciPy gives them."""

from __future__ import annotations

import jax.numpy as jnp

from jaxhpo._base import Array

MUTATIONS = ("best1", "rand1", "randtobest1", "currenttobest1", "best2", "rand2")
STRATEGIES = tuple(f"{name}{crossover}" for name in MUTATIONS for crossover in ("bin", "exp"))

NUM_SAMPLES = 5
"""Other members that a mutation may need."""


def mutant(
    name: str, population: Array, best: Array, target: Array, others: Array, scale: Array
) -> Array:
    """Combines members of the population.

    Args:
        name: static, one of `MUTATIONS`.
        population: `[p, d]`.
        best: `[]` row of the best member.
        target: `[]` row of the member that the trial competes with.
        others: `[5]` rows of distinct other members.
        scale: `[]` factor of the differences.

    Returns:
        `[d]`, which may lie outside the cube.
    """
    top, own = population[best], population[target]
    a, b, c, d, e = (population[others[i]] for i in range(NUM_SAMPLES))
    if name == "best1":
        return top + scale * (a - b)
    if name == "rand1":
        return a + scale * (b - c)
    if name == "randtobest1":
        return a + scale * (top - a) + scale * (b - c)
    if name == "currenttobest1":
        return own + scale * (top - own + a - b)
    if name == "best2":
        return top + scale * (a + b - c - d)
    return a + scale * (b + c - d - e)


def crossover_mask(kind: str, uniform: Array, start: Array, rate: Array) -> Array:
    """Which coordinates come from the mutant; one at least.

    Args:
        kind: static; "bin": each by itself; "exp": a run of neighbours, cyclic.
        uniform: `[d]` uniform draws.
        start: `[]` int32, the coordinate that always comes from the mutant, or starts the run.
        rate: `[]` probability of each, or of going on.

    Returns:
        `[d]` bool.
    """
    d = uniform.shape[0]
    column = jnp.arange(d, dtype=jnp.int32)
    goes_on = uniform < rate
    if kind == "bin":
        return goes_on | (column == start)
    run = jnp.cumprod(jnp.where(column == 0, True, goes_on).astype(jnp.int32))
    length = jnp.sum(run, dtype=jnp.int32)
    return (column - start) % d < length
