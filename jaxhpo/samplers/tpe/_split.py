"""Which observations are good: the split of `tpe`."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxhpo._base import Array
from jaxhpo.samplers._parts._observations import Observations

# Optuna and Hyperopt have the same cap; it also bounds the number of kernels of the good density.
MAX_GOOD = 25


def _tenth(n: Array) -> Array:
    """n/10, rounded up."""
    return (n + 9) // 10


def _sqrt(n: Array) -> Array:
    """√n/4, rounded up: the smallest k with 16 k² >= n."""
    # In integers, since the float32 root of a square may fall to either side of it.
    k = jnp.arange(MAX_GOOD, dtype=jnp.int32)
    return jnp.sum(16 * k**2 < n, dtype=jnp.int32)


# "tenth" is Optuna's rule, "sqrt" Hyperopt's.
SPLITS: dict[str, Callable[[Array], Array]] = {"tenth": _tenth, "sqrt": _sqrt}
"""From n observations to the number of good ones, before the cap of 25."""


def good_rows(rows: Observations, split: str) -> tuple[Array, Array]:
    """Finds the good observations: the best feasible ones, then the least infeasible.

    Args:
        rows: what is known; failed and pending rows are not good.
        split: static, a key of `SPLITS`.

    Returns:
        `[25]` int32 row numbers in rising order, out of range where there are fewer, and how many.
    """
    n = rows.unit.shape[0]
    has_value = rows.is_observed & jnp.isfinite(rows.value)
    is_feasible = has_value & (rows.violation <= 0)
    wanted = SPLITS[split](jnp.sum(has_value, dtype=jnp.int32))
    wanted = jnp.minimum(wanted, MAX_GOOD).astype(jnp.int32)
    num_feasible = jnp.sum(is_feasible, dtype=jnp.int32)
    feasible = _smallest(rows.value, is_feasible, jnp.minimum(wanted, num_feasible))
    rest = _smallest(rows.violation, has_value & ~is_feasible, wanted - num_feasible)
    nothing = jnp.full(MAX_GOOD, n, jnp.int32)
    chosen = jnp.sort(jnp.concatenate([feasible, rest, nothing]))[:MAX_GOOD]
    return chosen, wanted


def _smallest(score: Array, is_valid: Array, count: Array) -> Array:
    """Rows of the `count` smallest scores, ties in order; out of range beyond."""
    n = score.shape[0]
    most = min(MAX_GOOD, n)
    # Of equal scores `top_k` takes the earlier row, so the split depends on the history alone.
    _, rows = jax.lax.top_k(jnp.where(is_valid, -score, -jnp.inf), most)
    return jnp.where(jnp.arange(most, dtype=jnp.int32) < count, rows.astype(jnp.int32), n)
