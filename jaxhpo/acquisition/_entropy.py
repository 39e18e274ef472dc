"""Max-value entropy search in closed form, with its slopes."""

from __future__ import annotations

import math

import jax.numpy as jnp

from jaxhpo._base import Array
from jaxhpo.acquisition._analytic import Score, positive
from jaxhpo.acquisition._mills import mills

_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)


def log_mes(mean: Array, variance: Array, minimum: Array) -> Score:
    """Logarithm of the information, in nats, that an observation gives about the minimum.

    With `g = (mean - minimum) / sigma`, the entropy of the value falls by
    `g phi(g) / (2 Phi(g)) - log Phi(g)` once it is known that it cannot lie below `minimum` (eq. 6
    of the paper, for a minimum). Average it over draws of the minimum with `average`.

    Args:
        mean: `[...]` posterior mean.
        variance: `[...]` posterior variance; it counts as the squared rounding unit at least.
        minimum: a draw of the smallest value, of a shape that broadcasts.

    Returns:
        The `Score`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxhpo import acquisition
        >>> score = acquisition.log_mes(jnp.asarray(40.0), jnp.asarray(1.0), jnp.asarray(0.0))
        >>> round(float(score.value))
        -798

    References:
        Wang and Jegelka, "Max-value entropy search for efficient Bayesian optimization", 2017,
        https://arxiv.org/abs/1703.01968.
    """
    variance, sigma = positive(variance)
    g = (mean - minimum) / sigma
    value, slope = _log_gain(g)
    return Score(value, slope / sigma, -g * slope / (2.0 * variance))


def _log_gain(g: Array) -> tuple[Array, Array]:
    """Logarithm of the gain and its derivative."""
    t = jnp.abs(g)
    ratio, _, quotient = mills(t)
    log_density = -0.5 * t**2 - _LOG_SQRT_2PI
    # Above the minimum, log Phi = log(1 - phi R); both terms are in proportion to phi.
    beyond = jnp.exp(log_density) * ratio
    cdf = 1.0 - beyond
    is_far = beyond < jnp.finfo(g.dtype).eps
    log_ratio = -jnp.log1p(-beyond) / jnp.where(is_far, 1.0, beyond)
    rest = 0.5 * t / cdf + ratio * jnp.where(is_far, 1.0, log_ratio)
    high_slope = -0.5 * (1.0 + t * (t + jnp.exp(log_density) / cdf)) / (cdf * rest)
    # Below it, Phi = phi R.
    inner = 1.0 / quotient
    low_gain = _LOG_SQRT_2PI - jnp.log(ratio) - 0.5 * t * inner
    low_slope = -0.5 / ratio * _curvature(t, inner) / low_gain
    is_high = g >= 0
    value = jnp.where(is_high, log_density + jnp.log(rest), jnp.log(low_gain))
    return value, jnp.where(is_high, high_slope, low_slope)


def _curvature(t: Array, inner: Array) -> Array:
    """`1 - t inner` of `inner = 1 / R(t) - t`, by its asymptotic series where it cancels."""
    far = float(jnp.finfo(inner.dtype).eps) ** (-1 / 6)
    x = 1.0 / jnp.maximum(t, far) ** 2
    return jnp.where(t > far, x * (2.0 - x * (10.0 - x * 74.0)), 1.0 - t * inner)
