"""One generation of CMA-ES: constants, update, rate adaptation and the margin.

Equation numbers are those of Hansen, "The CMA evolution strategy: a tutorial", 2016,
https://arxiv.org/abs/1604.00772. The population size may be traced, so that restarts can change
it: a buffer of `most` rows holds any smaller population.

Where the tutorial takes the symmetric root of the covariance, this takes the triangular one, as in
Krause, Arbonès and Igel, "CMA-ES with optimal covariance update and storage complexity", 2016: it
costs a twentieth of the eigenvectors. Samples have the same distribution and whitened steps the
same lengths; only the path of the step size is summed up in coordinates that turn, against the
symmetric root's, as slowly as the covariance changes.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri

from jaxhpo._base import Array, Record, setting
from jaxhpo._linalg import cholesky, eigh, matmul, solve_lower, transposed_matmul
from jaxhpo.samplers._parts._cond import once_if

# The floors of the package `cmaes`.
_EIGEN_FLOOR = 1e-8
_SIGMA_MAX = 1e6
_SNR, _GAMMA, _BETA_MEAN, _BETA_COV = 1.4, 0.1, 0.1, 0.03
"""Constants of rate adaptation: Nomura, Akimoto and Ono, 2023, https://arxiv.org/abs/2304.03473."""


class Rates(Record):
    """State of the adaptation of learning rates.

    Attributes:
        drift_mean: `[d]` moving average of the mean's steps, in local coordinates.
        drift_cov: `[d, d]` the same of the covariance.
        power: `[2]` moving averages of their squared lengths.
        rate: `[2]` learning rates of mean and covariance.
    """

    drift_mean: Array
    drift_cov: Array
    power: Array
    rate: Array


class Gaussian(Record):
    """The search distribution N(mean, sigma² cov), with cov = root · rootᵀ.

    Attributes:
        mean: `[d]`.
        sigma: `[]`.
        cov: `[d, d]`; `[d]`, the diagonal, in the separable variant.
        root: `[d, d]` lower triangular; `[d]`, the roots of the diagonal, in the separable variant.
        path_sigma: `[d]` evolution path of the step size, in whitened coordinates.
        path_cov: `[d]` evolution path of the covariance.
        stretch: `[d]` margin's factor by which samples are stretched before they are rounded.
        generation: `[]` int32.
        rates: adaptation of learning rates, or None.
    """

    mean: Array
    sigma: Array
    cov: Array
    root: Array
    path_sigma: Array
    path_cov: Array
    stretch: Array
    generation: Array
    rates: Rates | None

    @property
    def variance(self) -> Array:
        """Diagonal of `cov`, `[d]`."""
        return self.cov if self.is_separable else jnp.diagonal(self.cov)

    @property
    def is_separable(self) -> bool:
        """Whether `cov` and `root` are diagonal."""
        return self.cov.ndim == 1


class Strategy(NamedTuple):
    """Constants of one population size; scalars but for `weights` `[most]`."""

    weights: Array
    mu_eff: Array
    c_sigma: Array
    d_sigma: Array
    c_cov: Array
    c_one: Array
    c_mu: Array


def new_gaussian(
    mean: Array, sigma: Array, cov: Array | None, *, separable: bool, adapts_rates: bool
) -> Gaussian:
    """Starts with a distribution; `cov` is `[d, d]`, `[d]` if separable (static), None for 1."""
    d, dtype = mean.shape[0], mean.dtype
    zeros, zero = setting(np.zeros(d), dtype), setting(0, jnp.int32)
    rates = None
    if adapts_rates:
        square, power, rate = (setting(a, dtype) for a in (np.zeros((d, d)), [0, 0], [1, 1]))
        rates = Rates(zeros, square, power, rate)
    ones = setting(np.ones(d), dtype)
    one = ones if separable else setting(np.eye(d), dtype)
    cov, root = (one, one) if cov is None else _rooted(cov)
    return Gaussian(mean, sigma, cov, root, zeros, zeros, ones, zero, rates)


def strategy(size: Array | int, most: int, num_dims: int, *, separable: bool) -> Strategy:
    """The constants of a population.

    Args:
        size: population size, at most `most`: a number, whose constants are then computed once for
            all on the host, or `[]` int32, traced.
        most: static.
        num_dims: static.
        separable: static; the constants of the separable variant (Ros and Hansen, 2008).

    Returns:
        The constants.
    """
    dtype, d = jnp.result_type(float), num_dims
    xp: Any = np if isinstance(size, int) else jnp
    count, half = (xp.asarray(part, dtype) for part in (size, size // 2))
    rank = xp.arange(most, dtype=dtype)
    is_best, is_one = rank < half, rank < count
    top = half + 1 if separable else (count + 1) / 2
    raw = xp.log(top) - xp.log(rank + 1)  # eq. 49
    mu_eff, mu_eff_minus = (
        xp.sum(xp.where(part, raw, 0)) ** 2 / xp.sum(xp.where(part, raw, 0) ** 2)
        for part in (is_best, is_one & ~is_best)
    )
    c_one = 2 / ((d + 1.3) ** 2 + mu_eff)  # eq. 57
    if separable:
        # Ros and Hansen: a diagonal has d parameters instead of d², so it is learned (d + 2) / 3
        # times as fast.
        full = 2 / mu_eff / (d + math.sqrt(2)) ** 2
        full = full + (1 - 1 / mu_eff) * xp.minimum(1, (2 * mu_eff - 1) / ((d + 2) ** 2 + mu_eff))
        c_mu = xp.minimum((d + 2) / 3 * full, 1 - c_one)
        c_sigma, c_cov = (mu_eff + 2) / (d + mu_eff + 3), xp.asarray(4 / (d + 4), dtype)
    else:
        c_mu = 2 * (mu_eff - 2 + 1 / mu_eff) / ((d + 2) ** 2 + mu_eff)
        # eq. 58; the margin keeps the old covariance from losing all its weight in large
        # populations.
        c_mu = xp.minimum(c_mu, 1 - c_one - 1e-8)
        c_sigma = (mu_eff + 2) / (d + mu_eff + 5)  # eq. 55
        c_cov = (4 + mu_eff / d) / (d + 4 + 2 * mu_eff / d)  # eq. 56
    positive = xp.where(is_best, raw, 0)
    weights = positive / xp.sum(positive)
    if not separable:
        limit = xp.minimum(1 + c_one / c_mu, 1 + 2 * mu_eff_minus / (mu_eff + 2))  # eq. 50, 51
        limit = xp.minimum(limit, (1 - c_one - c_mu) / (d * c_mu))  # eq. 52
        negative = xp.where(is_one & (raw < 0), raw, 0)
        weights = weights - limit * negative / xp.sum(negative)  # eq. 53
    d_sigma = 1 + 2 * xp.maximum(0, xp.sqrt((mu_eff - 1) / (d + 1)) - 1) + c_sigma
    constants = (weights, mu_eff, c_sigma, d_sigma, c_cov, c_one, c_mu)
    return Strategy(*(jnp.asarray(one, dtype) for one in constants))


def sample(gaussian: Gaussian, normal: Array) -> Array:
    """Maps standard normal draws `[c, d]` to points `[c, d]` of the distribution."""
    root = gaussian.root
    steps = normal * root[None, :] if gaussian.is_separable else matmul(normal, root.T)
    return gaussian.mean[None, :] + gaussian.sigma * steps


def update(gaussian: Gaussian, constants: Strategy, points: Array, weights: Array) -> Gaussian:
    """Moves the distribution towards the better points.

    Args:
        gaussian: the distribution.
        constants: of the population size.
        points: `[k, d]` in any order.
        weights: `[k]` the weight of each point's rank; 0 for points that do not count.

    Returns:
        The next generation's distribution, before the margin.
    """
    d, c = points.shape[1], constants
    chi = math.sqrt(d) * (1 - 1 / (4 * d) + 1 / (21 * d**2))  # E|N(0, I)|
    y = (points - gaussian.mean[None, :]) / gaussian.sigma
    y = jnp.where((weights != 0)[:, None], y, 0)
    step = jnp.sum(jnp.maximum(weights, 0)[:, None] * y, axis=0)  # eq. 41
    white = _whiten(gaussian, y)
    white_step = jnp.sum(jnp.maximum(weights, 0)[:, None] * white, axis=0)

    # eq. 43 and 44, in whitened coordinates
    path_sigma = (1 - c.c_sigma) * gaussian.path_sigma
    path_sigma = path_sigma + jnp.sqrt(c.c_sigma * (2 - c.c_sigma) * c.mu_eff) * white_step
    length = jnp.sqrt(jnp.sum(path_sigma**2))
    growth = jnp.exp(c.c_sigma / c.d_sigma * (length / chi - 1))
    # Below it every sample would equal the mean in this dtype; `is_stuck` ends the run before.
    floor = 0.01 * jnp.finfo(points.dtype).eps
    sigma = jnp.clip(gaussian.sigma * growth, floor, _SIGMA_MAX)

    generation = gaussian.generation + 1
    # h_sigma stalls the path of the covariance while that of the step size is long: where the step
    # size is far too small, the axes of C would grow too fast. `keep` makes up for the variance
    # left out.
    age = 2 * (generation + 1).astype(points.dtype)
    is_short = length / jnp.sqrt(1 - (1 - c.c_sigma) ** age) < (1.4 + 2 / (d + 1)) * chi
    heaviside = is_short.astype(points.dtype)
    path_cov = (1 - c.c_cov) * gaussian.path_cov  # eq. 45
    path_cov = path_cov + heaviside * jnp.sqrt(c.c_cov * (2 - c.c_cov) * c.mu_eff) * step
    lengths = jnp.sum(white**2, axis=1)
    # A negative weight is divided by its step's whitened squared length over d, so that no long
    # step makes C indefinite.
    scaled = weights * jnp.where(weights >= 0, 1, d / (lengths + _EIGEN_FLOOR))  # eq. 46
    keep = 1 + c.c_one * (1 - heaviside) * c.c_cov * (2 - c.c_cov) - c.c_one
    keep = keep - c.c_mu * jnp.sum(weights)
    if gaussian.is_separable:
        one, many = path_cov**2, jnp.sum(scaled[:, None] * y**2, axis=0)
    else:
        one, many = path_cov[:, None] * path_cov[None, :], transposed_matmul(y * scaled[:, None], y)
    cov = keep * gaussian.cov + c.c_one * one + c.c_mu * many  # eq. 47
    moved = dataclasses.replace(
        gaussian,
        mean=gaussian.mean + gaussian.sigma * step,
        sigma=sigma,
        cov=cov,
        path_sigma=path_sigma,
        path_cov=path_cov,
        generation=generation,
    )
    if gaussian.rates is not None:
        moved = _adapt_rates(gaussian, gaussian.rates, moved)
    cov, root = _rooted(moved.cov)
    return dataclasses.replace(moved, cov=cov, root=root)


def _adapt_rates(old: Gaussian, rates: Rates, new: Gaussian) -> Gaussian:
    """Shortens the step to what its signal-to-noise ratio supports."""
    full_old, full_new = old.sigma**2 * old.cov, new.sigma**2 * new.cov
    variances, basis = eigh(old.cov)  # the paper's local coordinates are those of this root
    scale = jnp.sqrt(_at_least_tiny(variances))
    root = matmul(basis / (scale * old.sigma)[None, :], basis.T)
    step_mean, step_cov = new.mean - old.mean, full_new - full_old
    # 1 / sqrt(2) belongs to the Fisher metric of a covariance.
    local = (matmul(root, step_mean), matmul(matmul(root, step_cov), root) / math.sqrt(2))

    def signal(drift: Array, power: Array, part: Array, beta: float) -> tuple[Array, Array, Array]:
        drift = (1 - beta) * drift + beta * part
        power = (1 - beta) * power + beta * jnp.sum(part**2)
        length = jnp.sum(drift**2)
        tiny = jnp.finfo(power.dtype).tiny
        # The average over 1 / beta steps of pure noise still has a squared length, of beta / (2 -
        # beta) times the power; what exceeds it is signal.
        ratio = (length - beta / (2 - beta) * power) / jnp.maximum(power - length, tiny)
        return drift, power, ratio

    drift_mean, power_mean, snr_mean = signal(
        rates.drift_mean, rates.power[0], local[0], _BETA_MEAN
    )
    drift_cov, power_cov, snr_cov = signal(rates.drift_cov, rates.power[1], local[1], _BETA_COV)
    beta = jnp.asarray([_BETA_MEAN, _BETA_COV], rates.rate.dtype)
    relative = jnp.clip(jnp.stack([snr_mean, snr_cov]) / _SNR / rates.rate - 1, -1, 1)
    rate = rates.rate * jnp.exp(jnp.minimum(_GAMMA * rates.rate, beta) * relative)
    rate = jnp.minimum(rate, 1)
    full, root_full = _rooted(full_old + rate[1] * step_cov)
    # Step size and shape are separated again: sigma is the root of C's geometric mean eigenvalue.
    sigma = jnp.minimum(jnp.exp(jnp.mean(jnp.log(jnp.diagonal(root_full)))), _SIGMA_MAX)
    return dataclasses.replace(
        new,
        mean=old.mean + rate[0] * step_mean,
        # The best step size is inversely proportional to the rate of the mean.
        sigma=sigma * rates.rate[0] / rate[0],
        cov=full / sigma**2,
        rates=Rates(drift_mean, drift_cov, jnp.stack([power_mean, power_cov]), rate),
    )


def correct_margin(
    gaussian: Gaussian, low: Array, high: Array, is_discrete: Array, margin: Array
) -> Gaussian:
    """Keeps a probability of leaving the mean's cell, in each discrete coordinate.

    Hamano et al., "CMA-ES with margin", 2022, https://arxiv.org/abs/2205.13482.

    Args:
        gaussian: the distribution.
        low: `[d]` lower end of the cell that holds the mean.
        high: `[d]` upper end. A cell at a bound has one limit, its inner end.
        is_discrete: `[d]` bool; other coordinates are left alone, and those with a single cell.
        margin: `[]` the least probability of leaving.

    Returns:
        The distribution, with another mean and stretch.
    """
    is_free = is_discrete & ((low > 0) | (high < 1))
    lower, upper = jnp.where(low <= 0, high, low), jnp.where(high >= 1, low, high)
    mean, stretch = gaussian.mean, gaussian.stretch
    unit = gaussian.sigma * jnp.sqrt(gaussian.variance)
    below = ndtr((lower - mean) / (unit * stretch))
    above = ndtr((mean - upper) / (unit * stretch))
    is_edge = jnp.maximum(below, above) > 0.5

    # At the edge of the domain: as near to the limit as the margin asks.
    is_moved = is_edge & (jnp.minimum(below, above) < margin)
    distance = -ndtri(margin) * unit * stretch
    edge_mean = jnp.where(is_moved, upper + jnp.sign(mean - upper) * distance, mean)

    # Inside: both tails get half a margin at least, by a new mean and stretch.
    middle = 1 - below - above
    below, above = jnp.maximum(below, margin / 2), jnp.maximum(above, margin / 2)
    rest = 1 - below - above - middle
    share = rest / (below + middle + above - 1.5 * margin)
    tails = (below + share * (below - margin / 2), above + share * (above - margin / 2))
    score_low, score_high = (
        -ndtri(jnp.clip(tail, 1e-10, 0.5 - _half_gap(tail.dtype))) for tail in tails
    )
    total = score_low + score_high
    inner_stretch = (upper - lower) / (total * unit)
    inner_mean = (lower * score_high + upper * score_low) / total

    return dataclasses.replace(
        gaussian,
        mean=jnp.where(is_free, jnp.where(is_edge, edge_mean, inner_mean), mean),
        stretch=jnp.where(is_free & ~is_edge, inner_stretch, stretch),
    )


def _half_gap(dtype: Any) -> float:
    """A number that the dtype can take from one half."""
    return max(1e-10, float(jnp.finfo(dtype).eps))


def is_sound(gaussian: Gaussian) -> Array:
    """Whether the distribution can be drawn from: not where steps are lost in rounding."""
    diagonal = gaussian.root if gaussian.is_separable else jnp.diagonal(gaussian.root)
    return jnp.isfinite(jnp.sum(gaussian.mean + diagonal) + gaussian.sigma)


def is_stuck(gaussian: Gaussian, first_sigma: Array) -> Array:
    """Whether the distribution has collapsed, diverged or lost its shape.

    Steps below 1e-12 of the first, or too small to change the mean, in a coordinate or along a
    column of the root; steps above 1e4; a condition number of the covariance above 1e14, as far as
    the root's diagonal shows it (Hansen, 2016, B.3).
    """
    variance, mean = gaussian.variance, gaussian.mean
    tolerance = 1e-12 * first_sigma
    is_small = jnp.all(gaussian.sigma * variance < tolerance)
    is_small &= jnp.all(gaussian.sigma * gaussian.path_cov < tolerance)
    has_diverged = gaussian.sigma**2 * jnp.max(variance) > 1e8
    # 0.2 and 0.1 deviations: the tests NoEffectCoord and NoEffectAxis of Hansen's appendix.
    no_coordinate = jnp.any(mean == mean + 0.2 * gaussian.sigma * jnp.sqrt(variance))
    stuck = is_small | has_diverged | no_coordinate
    if gaussian.is_separable:
        return stuck
    column = gaussian.root[:, gaussian.generation % mean.shape[0]]
    no_axis = jnp.all(mean == mean + 0.1 * gaussian.sigma * column)
    diagonal = jnp.diagonal(gaussian.root)
    return stuck | no_axis | ~(jnp.max(diagonal) <= 1e7 * jnp.min(diagonal))


def _rooted(cov: Array) -> tuple[Array, Array]:
    """The covariance, lifted where it is not positive definite, and its root."""
    if cov.ndim == 1:
        return cov, jnp.sqrt(jnp.where(cov < 0, _EIGEN_FLOOR, cov))
    # JAX returns NaN for a factorisation that failed, so one entry tells.
    root = cholesky(cov)
    return once_if(~jnp.isfinite(root[-1, -1]), lambda pair: _lifted(pair[0]), (cov, root))


def _lifted(cov: Array) -> tuple[Array, Array]:
    """The covariance with eigenvalues large enough to factor it, and its root."""
    variances, basis = eigh(cov)
    cov = matmul(basis * _at_least_tiny(variances)[None, :], basis.T)
    return cov, cholesky(cov)


def _at_least_tiny(variances: Array) -> Array:
    """Eigenvalues `[d]`, ascending, but none lost in the rounding of the largest."""
    tiny = variances.shape[0] * jnp.finfo(variances.dtype).eps
    return jnp.maximum(variances, tiny * variances[-1])


def _whiten(gaussian: Gaussian, y: Array) -> Array:
    """Applies the inverse of the root to rows `[k, d]`."""
    if gaussian.is_separable:
        return y / gaussian.root[None, :]
    return solve_lower(gaussian.root, y.T).T
