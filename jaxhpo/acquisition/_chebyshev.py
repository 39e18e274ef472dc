"""Expected improvement of the largest weighted objective, in logarithms; exact up to quadrature."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import _checks
from jaxhpo._base import Array
from jaxhpo.acquisition._analytic import log_cdf, log_cdf_and_slope, positive

_NUM_NODES = 40
_REACH = 9.0
"""Deviations below its mean at which a normal value is as good as impossible."""

_DECAY = 40.0
"""Logarithm by which the integrand has fallen where the integral is cut."""

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(_NUM_NODES)


class Chebyshev(NamedTuple):
    """One number of `m` objectives: the largest of `weight * (value - ideal)`.

    Its minimum is a point of the Pareto front, and every point of the front is the minimum for some
    weights, also where the front is not convex.

    Attributes:
        weight: `[m]` positive.
        ideal: `[m]`.
    """

    weight: Array
    ideal: Array

    def __call__(self, value: Array) -> Array:
        """Scalarised `[...]` of `value` `[..., m]`."""
        lead = (1,) * (value.ndim - 1)
        weight, ideal = (field.reshape(*lead, -1) for field in self)
        return jnp.max(weight * (value - ideal), axis=-1)


def log_chebyshev_ei(mean: Array, variance: Array, scale: Chebyshev, best: Array) -> Array:
    """Log of the expected improvement on `best` of the scalarised value, to be maximised.

    Model: independent normal objectives, so that the scalarised value is below `t` with the
    probability `prod_j Phi((t - mu_j) / sigma_j)`, and the improvement below `best` has the
    integral of that up to `best` as its expectation. The integrand is log-concave, so its slope at
    `best` bounds how far down it counts; there it is summed at Gauss-Legendre nodes, in logarithms.

    Args:
        mean: `[..., m]` posterior means.
        variance: `[..., m]` posterior variances.
        scale: the scalarisation.
        best: `[]` scalarised value to improve on.

    Returns:
        `[...]`, differentiable in mean and variance, finite far above `best` too.

    Raises:
        ValueError: another number of objectives than that of the scalarisation.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxhpo import acquisition
        >>> scale = acquisition.Chebyshev(jnp.array([1.0, 2.0, 1.0, 1.0]), jnp.zeros(4))
        >>> near, far = (jnp.full(4, at) for at in (0.1, 30.0))
        >>> near, far = (
        ...     acquisition.log_chebyshev_ei(at, jnp.ones(4), scale, 0.5) for at in (near, far))
        >>> bool(near > far), bool(jnp.isfinite(far))
        (True, True)

    References:
        Knowles, "ParEGO: a hybrid algorithm with on-line landscape approximation for expensive
        multiobjective optimization problems", 2006, https://doi.org/10.1109/TEVC.2005.851274 (a
        scalarisation drawn for each proposal). The models here are of the objectives, so no fit is
        lost with the weights.
    """
    m = scale.weight.shape[-1]
    if mean.shape[-1:] != (m,):
        raise _checks.fail("log_chebyshev_ei", "mean", f"of shape [..., {m}]", mean.shape)
    lead = (1,) * (mean.ndim - 1)
    weight, ideal = (field.reshape(*lead, m) for field in scale)
    mu, sigma = weight * (mean - ideal), weight * positive(variance)[1]
    width = jax.lax.stop_gradient(_width(mu, sigma, best))
    places = jnp.asarray(0.5 * (1.0 - _NODES), mean.dtype).reshape(*lead, -1)
    shares = jnp.asarray(0.5 * _WEIGHTS, mean.dtype).reshape(*lead, -1)
    at = best - width[..., None] * places
    u = (at[..., None] - mu[..., None, :]) / sigma[..., None, :]
    value = jnp.sum(log_cdf(u), axis=-1)
    largest = jax.lax.stop_gradient(jnp.max(value, axis=-1, keepdims=True))
    total = jnp.sum(shares * jnp.exp(value - largest), axis=-1)
    return jnp.log(width * total) + largest[..., 0]


def _width(mu: Array, sigma: Array, best: Array) -> Array:
    """How far below `best` the integrand counts, `[...]`."""
    slope = jnp.sum(log_cdf_and_slope((best - mu) / sigma)[1] / sigma, axis=-1)
    by_decay = _DECAY / jnp.maximum(slope, jnp.finfo(mu.dtype).tiny * 1e4)
    reached = best - jnp.max(mu - _REACH * sigma, axis=-1)
    return jnp.where(reached > 0, jnp.minimum(by_decay, reached), by_decay)
