"""Several objectives in the benchmark: how much of the volume below the front is still missing."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import pareto

_FRONT = 400
"""Points of the front that stand for all of it."""

_RANDOM = 1000
"""Random points that the volume is bounded by."""


def num_objectives_of(problem: Any) -> int:
    """Values of one trial of a problem of the benchmark."""
    return int(getattr(problem, "num_objectives", 1))


def reference_point(problem: Any) -> np.ndarray:
    """Where the volume ends: the worst of random points, and no better than the problem's own.

    The problem's own reference lies near the front, where short searches have no point yet.

    Args:
        problem: a `problems.MultiObjective`.

    Returns:
        `[m]` float64.
    """
    low, high = np.asarray(problem.low), np.asarray(problem.high)
    x = low + (high - low) * np.random.default_rng(0).random((_RANDOM, len(low)))
    value = jax.jit(jax.vmap(problem.evaluate))(jnp.asarray(x, jnp.result_type(float)))
    return np.maximum(np.asarray(value, np.float64).max(axis=0), problem.reference)


def hypervolume_gap(problem: Any, value: np.ndarray) -> np.ndarray:
    """Share of the volume between the front and the corner that trials do not dominate yet.

    Args:
        problem: a `problems.MultiObjective`.
        value: `[s, t, m]` of each study's trials; NaN where a trial failed or is infeasible.

    Returns:
        `[s, t]` after each trial, 1 at first; a little below 0 where trials lie between the points
        that stand for the front.
    """
    ends = jnp.asarray(reference_point(problem), jnp.result_type(float))
    whole = pareto.hypervolume(jnp.asarray(problem.front(_FRONT), ends.dtype), ends)

    @jax.jit
    def found(value: jax.Array) -> jax.Array:
        number = jnp.arange(value.shape[0], dtype=jnp.int32)

        def after(last: jax.Array) -> jax.Array:
            known = jnp.where((number <= last)[:, None], value, jnp.nan)
            return pareto.hypervolume(known, ends)

        return 1 - jax.lax.map(after, number) / whole

    return np.stack([np.asarray(found(jnp.asarray(rows, ends.dtype))) for rows in value])
