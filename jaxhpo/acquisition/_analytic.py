"""Acquisition functions in closed form, with their slopes; large is promising, small is good.

Each takes the posterior `mean` and `variance` of the function at a point and returns a `Score`: the
value, and its derivatives with respect to both. All stay finite far out in the tails, where the
plain formulas underflow.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._base import Array
from jaxhpo._checks import fail, is_traced, real_numbers
from jaxhpo.acquisition._mills import mills

_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)


class Score(NamedTuple):
    """Value of an acquisition function and its derivatives; all of one shape.

    Attributes:
        value: larger is better.
        by_mean: derivative with respect to the posterior mean.
        by_variance: derivative with respect to the posterior variance.
    """

    value: Array
    by_mean: Array
    by_variance: Array


def log_ei(mean: Array, variance: Array, best: Array) -> Score:
    """Logarithm of the expected improvement below `best`.

    Model: `log sigma + log h(u)` with `u = (best - mean) / sigma` and `h(u) = phi(u) + u Phi(u)`.
    `h` is computed from Mills' ratio, so that value and slope keep full relative precision at any
    `u`.

    Args:
        mean: `[...]` posterior mean.
        variance: `[...]` posterior variance; it counts as the squared rounding unit at least.
        best: value to improve on, of a shape that broadcasts.

    Returns:
        The `Score`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxhpo import acquisition
        >>> score = acquisition.log_ei(jnp.asarray(30.0), jnp.asarray(1.0), jnp.asarray(0.0))
        >>> round(float(score.value))
        -458

    References:
        Ament et al., "Unexpected improvements to expected improvement for Bayesian optimization",
        2023, https://arxiv.org/abs/2310.20708.
    """
    mean, variance, best = _moments("log_ei", mean=mean, variance=variance, best=best)
    variance, sigma = positive(variance)
    u = (best - mean) / sigma
    # Ament et al. choose among three formulas for log h by the size of u; Mills' ratio needs the
    # sign of u alone, so that lanes of a batch do the same work.
    value, slope = log_h_and_slope(u)
    # du/dmean = -1 / sigma and du/dvariance = -u / (2 variance); log sigma adds 1 / (2 variance).
    return Score(value + jnp.log(sigma), -slope / sigma, (1.0 - u * slope) / (2.0 * variance))


def log_pi(mean: Array, variance: Array, best: Array) -> Score:
    """Logarithm of the probability of improving on `best`.

    Args:
        mean: `[...]` posterior means.
        variance: `[...]` posterior variances.
        best: `[...]` value to improve on.

    Returns:
        The score and its derivatives.
    """
    mean, variance, best = _moments("log_pi", mean=mean, variance=variance, best=best)
    variance, sigma = positive(variance)
    u = (best - mean) / sigma
    value, slope = log_cdf_and_slope(u)
    return Score(value, -slope / sigma, -u * slope / (2.0 * variance))


def ucb(mean: Array, variance: Array, beta: Array) -> Score:
    """Optimistic bound `sqrt(beta) sigma - mean` (the upper confidence bound of minus the value).

    Args:
        mean: `[...]` posterior mean.
        variance: `[...]` posterior variance.
        beta: squared number of deviations; of a shape that broadcasts.

    Returns:
        The `Score`.

    Raises:
        ValueError: shapes that do not fit, or a known `beta` below 0.

    References:
        Srinivas et al., "Gaussian process optimization in the bandit setting", 2010,
        https://arxiv.org/abs/0912.3995.
    """
    mean, variance, beta = _moments("ucb", mean=mean, variance=variance, beta=beta)
    if not is_traced(beta) and np.any(np.asarray(beta) < 0):
        raise fail("ucb", "beta", "at least 0", beta)
    _, sigma = positive(variance)
    # Srinivas et al. maximise mean + sqrt(beta) sigma; values are minimised here.
    width = jnp.sqrt(beta)
    return Score(width * sigma - mean, -jnp.ones_like(mean), width / (2.0 * sigma))


def _moments(where: str, **parts: Any) -> list[Array]:
    """Real arrays of one dtype, whose shapes fit each other."""
    arrays = {}
    for name, part in parts.items():
        if not isinstance(part, jax.Array):
            part = jnp.asarray(real_numbers(where, name, part), jnp.result_type(float))
        if not jnp.issubdtype(part.dtype, jnp.floating):
            raise TypeError(f"{where}: `{name}` must be real numbers, got dtype {part.dtype}.")
        arrays[name] = part
        try:
            np.broadcast_shapes(*(array.shape for array in arrays.values()))
        except ValueError as error:
            shapes = {other: array.shape for other, array in arrays.items()}
            raise fail(where, name, "of a shape that fits the others", shapes) from error
    dtype = max((array.dtype for array in arrays.values()), key=lambda d: d.itemsize)
    return [array.astype(dtype) for array in arrays.values()]


def average(score: Score) -> Score:
    """Log of the mean of exp over the last axis: log scores of several fantasies made one.

    Returns:
        A `Score` whose `by_mean` keeps the last axis, and whose other fields lose it.
    """
    # Far from the front every score underflows in exp; relative to the largest, one is 1.
    largest = jnp.max(score.value, axis=-1, keepdims=True)
    # d log mean exp = sum of softmax weights times the scores' own derivatives.
    share = jnp.exp(score.value - largest)
    total = jnp.sum(share, axis=-1, keepdims=True)
    weight = share / total
    value = largest[..., 0] + jnp.log(total[..., 0] / score.value.shape[-1])
    by_variance = jnp.sum(weight * score.by_variance, axis=-1)
    return Score(value, weight * score.by_mean, by_variance)


def log_h_and_slope(u: Array) -> tuple[Array, Array]:
    """`log(phi(u) + u Phi(u))` and its derivative `Phi(u) / (phi(u) + u Phi(u))`."""
    t = jnp.abs(u)
    # In the lower tail phi(u) and u Phi(u) nearly cancel; their sum is phi times the gap, which has
    # its own polynomial and loses no digit.
    ratio, gap, quotient = mills(t)
    log_density = -0.5 * t**2 - _LOG_SQRT_2PI
    density = jnp.exp(log_density)
    # h(-t) = phi (1 - t R), and h(t) = t + h(-t)
    h = t + density * gap
    is_low = u < 0
    value = jnp.where(is_low, log_density + jnp.log(gap), jnp.log(h))
    # 1 - density * ratio = Phi(t). In the tail both Phi and h are phi times a factor, and phi
    # cancels.
    return value, jnp.where(is_low, quotient, (1.0 - density * ratio) / h)


def log_cdf_and_slope(u: Array) -> tuple[Array, Array]:
    """`log Phi(u)` and its derivative `phi(u) / Phi(u)`."""
    t = jnp.abs(u)
    ratio = mills(t).ratio
    log_density = -0.5 * t**2 - _LOG_SQRT_2PI
    density = jnp.exp(log_density)
    # The probability above t: log1p keeps it where Phi is 1 but for rounding.
    above = density * ratio
    is_low = u < 0
    value = jnp.where(is_low, log_density + jnp.log(ratio), jnp.log1p(-above))
    return value, jnp.where(is_low, 1.0 / ratio, density / (1.0 - above))


def _with_its_slope(both: Callable[[Array], tuple[Array, Array]]) -> Callable[[Array], Array]:
    """The first of a function's two results, whose derivative is the second, also in the tail."""
    # Autodiff would go through both branches and the polynomials of `mills`; the slope is already
    # known to full precision.
    value = jax.custom_jvp(lambda u: both(u)[0])

    @value.defjvp
    def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
        found, slope = both(primals[0])
        return found, slope * tangents[0]

    return value


log_h = _with_its_slope(log_h_and_slope)
log_cdf = _with_its_slope(log_cdf_and_slope)


def positive(variance: Array) -> tuple[Array, Array]:
    """Variance, the squared rounding unit at least, and its root."""
    # An observation without noise has variance 0 and u = 0 / 0. Targets have unit scale, so a
    # deviation of one rounding unit changes no ranking.
    variance = jnp.maximum(variance, float(jnp.finfo(variance.dtype).eps) ** 2)
    return variance, jnp.sqrt(variance)
