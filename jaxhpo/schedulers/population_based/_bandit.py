"""Which points lower the loss most in one interval: a Gaussian process over points and time."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo import acquisition, gp
from jaxhpo._base import Array, Record
from jaxhpo.space import Space
from jaxhpo.space.internal import Static

# Rows that the model holds: the last rounds of so many trials.
_MOST_ROWS = 240
_MOST_EVALS = 30
# Noise of a change beside its spread over the population; float32 needs a floor.
_NOISE_FLOOR = 1e-3
_LOG_NOISE = -1.0
# Deviations at which a standardised change is cut off.
_CUT = 3.0


class Rows(Record):
    """What the last `w` rounds have brought, of `k` of the trials.

    Attributes:
        unit: `[w, k, d]` points.
        change: `[w, k]` change of the value in a round, standardised there; NaN where unknown.
        number: `[w]` int32 number of the round.
    """

    unit: Array
    change: Array
    number: Array


def no_rows(num_trials: int, num_rounds: int, num_dims: int) -> Rows:
    """An empty record."""
    count = len(range(0, num_trials, _stride(num_trials)))
    rounds = max(1, min(num_rounds, _MOST_ROWS // count))
    dtype = jnp.result_type(float)
    return Rows(
        jnp.full((rounds, count, num_dims), 0.5, dtype),
        jnp.full((rounds, count), jnp.nan, dtype),
        jnp.zeros(rounds, jnp.int32),
    )


def _stride(num_trials: int) -> int:
    return max(1, -(-num_trials // _MOST_ROWS))


def remember(rows: Rows, unit: Array, change: Array, number: Array) -> Rows:
    """Puts a round in the place of the oldest.

    Args:
        rows: the record.
        unit: `[n, d]` points.
        change: `[n]` change of the value, NaN where unknown.
        number: `[]` int32 number of the round.

    Returns:
        The record.
    """
    known = jnp.isfinite(change)
    count = jnp.maximum(jnp.sum(known, dtype=jnp.int32), 1).astype(change.dtype)
    mean = jnp.sum(jnp.where(known, change, 0)) / count
    spread = jnp.sqrt(jnp.sum(jnp.where(known, (change - mean) ** 2, 0)) / count)
    scaled = jnp.clip((change - mean) / jnp.where(spread > 0, spread, 1), -_CUT, _CUT)
    every = _stride(len(change))
    at = number % len(rows.number)
    return Rows(
        rows.unit.at[at].set(unit[::every]),
        rows.change.at[at].set(scaled[::every]),
        rows.number.at[at].set(number),
    )


def choose(space: Space, rows: Rows, number: Array, tried: Array) -> Array:
    """The candidate of each trial with the lowest bound of the change in the next round.

    The bound is the mean less a multiple of the deviation that grows with the logarithm of the
    number of rounds. Without an observation the first candidate is taken.

    Args:
        space: the space.
        rows: what is known.
        number: `[]` int32 rounds so far.
        tried: `[n, c, d]` candidates.

    Returns:
        `[n, d]` points.
    """
    embedding, span = acquisition.embedding_of(space), len(rows.number)
    kernel = gp.Kernel((*embedding.groups, space.num_dims))  # the age is one dimension more
    features = _features(embedding, space, rows.unit, rows.number / span)
    flat = lambda a: a.reshape(-1, *a.shape[2:])  # noqa: E731
    mask = jnp.isfinite(flat(rows.change))
    target = jnp.where(mask, flat(rows.change), 0.0)
    data = gp.Data(flat(features), target, jnp.zeros_like(target), mask)
    prior = gp.default_prior(kernel.num_groups, target.dtype, noise_floor=_NOISE_FLOOR)
    start = prior.mean.at[-1].set(_LOG_NOISE)
    prior = prior._replace(mean=start)
    found = gp.fit(kernel, data, prior, start[None], max_evals=_MOST_EVALS)
    posterior = gp.condition(kernel, found.hyper, data, prior.bias)
    now = jnp.broadcast_to((number + 1) / span, tried.shape[:1])
    asked = _features(embedding, space, tried, now)
    prediction = posterior.predict(flat(asked))
    # The deviation, in units of which the bound is meant (PB2's published code has the variance).
    width = jnp.sqrt(0.2 + jnp.log1p(0.4 * number.astype(target.dtype)))
    bound = prediction.mean - width * jnp.sqrt(prediction.variance)
    best = jnp.argmin(bound.reshape(tried.shape[:2]), axis=1)
    best = jnp.where(jnp.any(mask), best, 0)
    return jnp.take_along_axis(tried, best[:, None, None], axis=1)[:, 0]


def _features(embedding: acquisition.Embedding, space: Space, unit: Array, age: Array) -> Array:
    """Features `[w, k, F]` of points `[w, k, d]` of an age `[w]`, which is the last one."""
    last = jnp.broadcast_to(age[:, None, None], (*unit.shape[:2], 1)).astype(unit.dtype)
    return jnp.concatenate([embedding.features(space, unit), last], axis=-1)


def candidates(space: Space, key: Array, near: Array, count: int) -> Array:
    """Points `[n, count, d]` to choose from: drawn anew, but for the static values of `near`.

    Args:
        space: the space.
        key: a key; consumed.
        near: `[n, d]` points.
        count: how many; static.

    Returns:
        The candidates; where a constraint refuses one, it is `near`.
    """
    n, d = near.shape
    drawn = jax.random.uniform(key, (n, count, d), near.dtype)
    for leaf in space.leaves:
        if isinstance(leaf.dimension, Static):
            at = slice(leaf.start, leaf.stop)
            drawn = drawn.at[..., at].set(near[:, None, at])
    drawn = space.snap(drawn)
    if space.has_constraints:
        allowed: Any = space.allows(drawn)
        drawn = jnp.where(allowed[..., None], drawn, near[:, None])
    return drawn
