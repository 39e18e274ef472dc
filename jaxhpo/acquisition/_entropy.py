"""Max-value entropy search in closed form, with its slopes."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from jaxhpo._base import Array
from jaxhpo.acquisition._analytic import Score, mills_ratio, positive

_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)
_TAIL = 5.0
"""Beyond it the normal probability counts as 1: it misses 3e-7."""


def log_mes(mean: Array, variance: Array, minimum: Array) -> Score:
    """Logarithm of what an observation tells about the minimum, in nats.

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
    inner = jnp.clip(g, -_TAIL, _TAIL)
    cdf = jax.scipy.special.ndtr(inner)
    ratio = jnp.exp(-0.5 * inner**2 - _LOG_SQRT_2PI) / cdf
    log_cdf = jnp.where(inner > 0, jnp.log1p(-jax.scipy.special.ndtr(-inner)), jnp.log(cdf))
    gain = 0.5 * inner * ratio - log_cdf
    middle_slope = -0.5 * ratio * (1.0 + inner * (inner + ratio)) / gain
    t = jnp.maximum(g, _TAIL)
    mills = mills_ratio(t)
    rest = 0.5 * t + mills
    high = -0.5 * t**2 - _LOG_SQRT_2PI + jnp.log(rest)
    high_slope = -t + (t * mills - 0.5) / rest
    t = jnp.maximum(-g, _TAIL)
    mills = mills_ratio(t)
    low_gain = -0.5 * t / mills + 0.5 * t**2 + _LOG_SQRT_2PI - jnp.log(mills)
    low_slope = -0.5 / mills * (1.0 - t * (1.0 / mills - t)) / low_gain
    is_high, is_low = g > _TAIL, g < -_TAIL
    value = jnp.where(is_high, high, jnp.where(is_low, jnp.log(low_gain), jnp.log(gain)))
    slope = jnp.where(is_high, high_slope, jnp.where(is_low, low_slope, middle_slope))
    return value, slope
