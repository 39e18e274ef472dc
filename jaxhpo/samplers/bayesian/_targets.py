"""From observations to a Gaussian process: its targets, and fantasies of pending points."""

from __future__ import annotations

import statistics
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import gp
from jaxhpo._base import Array
from jaxhpo._linalg import matmul

NUM_FANTASIES = 8

FAILED_NOISE = 1.0
"""Noise variance of a failed row, in units of the variance of all targets. So large, one failure
says little about its place and several near each other say much; as exact as other rows, one
failure by chance would shorten the lengthscales everywhere."""


class Table(NamedTuple):
    """Observations in the precision of the linear algebra.

    Attributes:
        features: `[n, F]`.
        value: `[n]` as observed, or `[n, m]` of several objectives.
        se: standard errors, shaped like `value`.
        violation: `[n]`.
        is_observed: `[n]` bool.
        is_pending: `[n]` bool.
    """

    features: Array
    value: Array
    se: Array
    violation: Array
    is_observed: Array
    is_pending: Array


class Fitted(NamedTuple):
    """The fitted parameters of one model.

    Attributes:
        theta: `[g + 2]` hyperparameters.
        sharpness: `[]` of the map from values to targets.
    """

    theta: Array
    sharpness: Array


class Targets(NamedTuple):
    """The training data of one model.

    Attributes:
        data: observed rows; failures and infeasible rows carry the worst value, and noise.
        is_good: `[n]` bool, rows that completed and are feasible.
        warped: the map from values.
    """

    data: gp.Data
    is_good: Array
    warped: gp.Warped


def objective_targets(
    table: Table,
    mask: Array,
    sharpness: float | Array,
    *,
    num_reference: int | Array,
    constrained: bool,
) -> Targets:
    """Targets of the objective from the rows in `mask`, compressed with a sharpness `[]`.

    Without a constraint model an infeasible row counts as failed; with one, its value is used.
    """
    finite = mask & jnp.isfinite(table.value)
    is_good = finite & (table.violation <= 0)
    trusted = finite if constrained else is_good
    worst = jnp.max(jnp.where(trusted, table.value, -jnp.inf))
    worst = jnp.where(jnp.isfinite(worst), worst, 0.0)
    value = jnp.where(trusted, table.value, worst)
    warped = gp.warp(value, mask, _first(mask, num_reference), sharpness)
    noise = jnp.where(trusted, (table.se * warped.rate) ** 2, 0.0)
    noise = jnp.where(mask & ~trusted, FAILED_NOISE, noise)
    return Targets(gp.Data(table.features, warped.target, noise, mask), is_good, warped)


def violation_targets(
    table: Table, mask: Array, sharpness: float | Array, *, num_reference: int | Array
) -> Targets:
    """Targets of the largest violation from the rows in `mask`; failed trials are left out."""
    mask = mask & jnp.isfinite(table.value) & jnp.isfinite(table.violation)
    violation = jnp.where(mask, table.violation, 0.0)
    warped = gp.warp(violation, mask, _first(mask, num_reference), sharpness)
    data = gp.Data(table.features, warped.target, jnp.zeros_like(violation), mask)
    return Targets(data, mask & (table.violation <= 0), warped)


def _first(mask: Array, count: int | Array) -> Array:
    """The first `count` rows of a mask: the start-up design, spread over the space."""
    return mask & (jnp.cumsum(mask, dtype=jnp.int32) <= count)


class FantasyPosterior(NamedTuple):
    """A posterior over the objective, given the observations and fantasies of the pending points.

    Attributes:
        posterior: its weights have one column per fantasy.
        best: `[s]` smallest posterior mean at a good or pending row.
        noise: `[n]` noise variance of each of its rows.
    """

    posterior: gp.Posterior
    best: Array
    noise: Array


def condition_with_fantasies(
    kernel: gp.Kernel, prior: gp.Prior, theta: Array, table: Table, targets: Targets
) -> FantasyPosterior:
    """Conditions on the observed rows, and on fantasies of the pending ones.

    Fantasies are joint draws from the posterior (Snoek, Larochelle and Adams, "Practical Bayesian
    optimization of machine learning algorithms", 2012). With the observed rows first,
    one Cholesky factor serves both: `L z` equals the observed targets if the first part of `z`
    solves for them, and continues with a joint draw if the rest of `z` is standard normal. The base
    draws are a fixed Latin hypercube, so every call sees the same fantasies.
    """
    hyper = gp.unravel(theta)
    order = _observed_first(targets.data.mask, table.is_pending)
    observed, is_good, is_pending, normals = jax.tree.map(
        lambda leaf: leaf[order],
        (
            targets.data,
            targets.is_good,
            table.is_pending,
            jnp.asarray(base_normals(order.shape[0], NUM_FANTASIES), theta.dtype),
        ),
    )
    both = observed._replace(mask=observed.mask | is_pending)
    posterior = gp.condition(kernel, hyper, both, prior.bias)
    forward = matmul(posterior.inverse_factor, jnp.where(observed.mask, observed.target, 0.0))
    white = jnp.where(is_pending[:, None], normals, forward[:, None])
    weights = matmul(posterior.inverse_factor.T, white)
    column = matmul(posterior.factor, white)
    noise = jnp.exp(hyper.log_noise) + observed.noise
    mean = column - noise[:, None] * weights
    best = jnp.min(jnp.where((is_good | is_pending)[:, None], mean, jnp.inf), axis=0)
    best = jnp.where(jnp.isfinite(best), best, jnp.max(column, axis=0))
    return FantasyPosterior(posterior.reweigh(weights), best, noise)


def _observed_first(is_observed: Array, is_pending: Array) -> Array:
    """Row numbers `[n]` int32: observed rows, then pending ones, then the others, each in order."""
    kinds = (is_observed, is_pending, ~(is_observed | is_pending))
    place, before = jnp.zeros(is_observed.shape, jnp.int32), jnp.zeros((), jnp.int32)
    for kind in kinds:
        counted = jnp.cumsum(kind, dtype=jnp.int32)
        place = jnp.where(kind, before + counted - 1, place)
        before = before + counted[-1]
    row = jnp.arange(is_observed.shape[0], dtype=jnp.int32)
    return jnp.zeros_like(row).at[place].set(row, unique_indices=True)


def base_normals(n: int, s: int) -> np.ndarray:
    """Fixed normal draws `[n, s]`: each row holds the same `s` quantiles in its own order.

    The first rows do not depend on `n`.
    """
    normal = statistics.NormalDist()
    quantiles = np.asarray([normal.inv_cdf((i + 0.5) / s) for i in range(s)])
    return quantiles[np.random.default_rng(0).uniform(size=(n, s)).argsort(axis=1)]
