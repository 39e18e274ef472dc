"""The scalable path: the rows that a model of bounded size is conditioned on.

An exact Gaussian process costs the cube of its rows. Beyond `num_active` of them a study has said
most of what it knows with few: the best ones, those around the best, the newest, and a spread over
all. The others only keep points from being proposed again.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._base import Array
from jaxhpo.samplers.bayesian._targets import Table

_BEST, _NEAR, _NEW = 4, 4, 8
"""Of `num_active` rows, a quarter is chosen for being good, a quarter for lying near the best one,
and an eighth for being new."""


def active_rows(
    table: Table,
    mask: Array,
    num_first: int | Array,
    num_active: int,
    score: Array | None = None,
) -> tuple[Table, Array]:
    """The rows of a table that the model is given, in their order.

    The first rows, against which values are standardised, and pending ones always stay; then the
    best ones, those nearest to the best, the newest, and the rest by a fixed shuffle of the row
    numbers. While `mask` and the pending rows hold no more than `num_active`, all stay.

    Args:
        table: `[n]` rows.
        mask: `[n]` bool, observed rows to choose from.
        num_first: leading rows of the mask that stay.
        num_active: static; rows that stay, at most.
        score: `[n]` small in good rows; None means `table.value`.

    Returns:
        The table of `k` rows, observed only in `mask`, and `[k]` int32 their numbers; `k` is `n` or
        `num_active`, whichever is less.
    """
    n = table.value.shape[0]
    observed = table._replace(is_observed=mask)
    if n <= num_active:
        return observed, jnp.arange(n, dtype=jnp.int32)
    score = table.value if score is None else score
    order = jnp.cumsum(mask, dtype=jnp.int32)
    is_good = mask & jnp.isfinite(score) & (table.violation <= 0)
    value = jnp.where(is_good, score, jnp.inf)
    _, best = jax.lax.top_k(-value, num_active // _BEST)
    away = jnp.sum((table.features - table.features[best[0]][None, :]) ** 2, axis=1)
    _, near = jax.lax.top_k(-jnp.where(mask, away, jnp.inf), num_active // _NEAR)
    is_chosen = jnp.zeros(n, bool).at[best].set(True).at[near].set(True)
    is_chosen |= order > order[-1] - num_active // _NEW
    shuffled = jnp.asarray(_shuffled(n), value.dtype)
    priority = jnp.where(is_chosen, 1.0 + shuffled, shuffled)
    priority = jnp.where(mask, priority, -1.0)
    priority = jnp.where((mask & (order <= num_first)) | table.is_pending, 3.0, priority)
    _, rows = jax.lax.top_k(priority, num_active)
    rows = jnp.sort(rows)
    return jax.tree.map(lambda leaf: leaf[rows], observed), rows


def _shuffled(n: int) -> np.ndarray:
    """Fixed numbers of (0, 1), spread evenly among any run of rows; they do not depend on `n`."""
    return np.mod((np.arange(n) + 1) * 0.6180339887498949, 1.0)
