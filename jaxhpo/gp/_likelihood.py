"""The log marginal likelihood of a masked Gaussian process, with its gradient by hand."""

from __future__ import annotations

import math

import jax.numpy as jnp

from jaxhpo._base import Array
from jaxhpo._linalg import gram, inverse_cholesky, matmul
from jaxhpo.gp._arguments import check_data, check_hyper, check_kernel, real
from jaxhpo.gp._kernels import Kernel
from jaxhpo.gp._model import Data, Hyperparameters, Prior, assemble, unravel


def log_marginal_likelihood(
    kernel: Kernel, hyper: Hyperparameters, data: Data, bias: Array
) -> tuple[Array, Array]:
    """Log marginal likelihood and its gradient with respect to `hyper.ravel()`.

    Model: `y = m + f(x) + e`, `m ~ N(0, bias)`, `f ~ GP(0, scale k)`, `e ~ N(0, noise)`, where
    `noise` is the learned variance plus `data.noise`. With `A = (K^-1 y)(K^-1 y)^T - K^-1` the
    gradient is `tr(A dK) / 2` (Rasmussen and Williams, "Gaussian Processes for Machine Learning",
    2006, eq. 5.9). The sums over squared differences are two matrix products, so no `[g, n, n]`
    array is made.

    Args:
        kernel: static structure of the kernel.
        hyper: hyperparameters, unbatched.
        data: the observations.
        bias: `[]` variance of the constant mean; 0 means a mean of zero.

    Returns:
        `[]` value and `[g + 2]` gradient; not finite where the covariance has no Cholesky factor.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxhpo import gp
        >>> x = jnp.linspace(0.0, 1.0, 4)[:, None]
        >>> data = gp.Data(x, jnp.sin(6 * x[:, 0]), jnp.zeros(4), jnp.ones(4, bool))
        >>> hyper = gp.Hyperparameters(jnp.full(1, -1.0), jnp.zeros(()), jnp.full((), -4.0))
        >>> value, gradient = gp.log_marginal_likelihood(gp.Kernel((0,)), hyper, data, 1.0)
        >>> gradient.shape
        (3,)
    """
    where = "gp.log_marginal_likelihood"
    hyper = check_hyper(where, check_kernel(where, kernel), hyper)
    data = check_data(where, kernel, data)
    bias = real(where, "bias", bias, ()).astype(data.target.dtype)
    total, signal, slope, z = assemble(kernel, hyper, bias, data)
    factor, inverse_factor = inverse_cholesky(total)
    # K^-1 = L^-T L^-1: XLA has no inverse from a Cholesky factor (LAPACK's potri), and a product
    # with the inverse factor, which the posterior needs as well, is the next best thing.
    inverse = gram(inverse_factor)
    alpha = matmul(inverse, data.target)
    count = jnp.sum(data.mask).astype(total.dtype)
    # Eq. 5.8. A row outside the mask has target 0, covariance 1 with itself and 0 with others, so
    # the first two terms are right without a mask; only the constant counts rows.
    value = (
        -0.5 * jnp.sum(data.target * alpha)
        - jnp.sum(jnp.log(jnp.diagonal(factor)))
        - 0.5 * math.log(2.0 * math.pi) * count
    )
    # Eq. 5.9. `slope` is the derivative by the squared distance, so no square root is
    # differentiated at a distance of zero.
    half = 0.5 * (alpha[:, None] * alpha[None, :] - inverse)
    weights = half * slope
    # sum_ab w_ab (z_a - z_b)^2 = 2 sum_a z_a^2 (W 1)_a - 2 sum_a z_a (W z)_a, W symmetric
    spread = jnp.sum(z * (z * jnp.sum(weights, axis=1)[:, None] - matmul(weights, z)), axis=0)
    # d r2 / d log(lengthscale) = -2 (z_a - z_b)^2, and the sum above is twice `spread`: hence -4.
    by_lengthscale = kernel.gather(-4.0 * spread)
    by_scale = jnp.sum(half * signal)
    # Only the learned part of the noise moves with `log_noise`; `data.noise` is known.
    on_diagonal = jnp.where(data.mask, jnp.diagonal(half), 0.0)
    by_noise = jnp.exp(hyper.log_noise) * jnp.sum(on_diagonal)
    return value, Hyperparameters(by_lengthscale, by_scale, by_noise).ravel()


def negative_log_posterior(
    kernel: Kernel, theta: Array, data: Data, prior: Prior
) -> tuple[Array, Array]:
    """Minus log likelihood minus log prior, which a MAP fit minimises, and its gradient.

    Args:
        kernel: static structure of the kernel.
        theta: `[g + 2]` hyperparameters in the order of `Hyperparameters.ravel`.
        data: the observations.
        prior: the prior.

    Returns:
        `[]` value and `[g + 2]` gradient; an infinite value and a zero gradient where the
        covariance has no Cholesky factor, so that a line search backs off.
    """
    likelihood, slope = log_marginal_likelihood(kernel, unravel(theta), data, prior.bias)
    density, density_slope = prior.log_density(theta)
    value, gradient = -(likelihood + density), -(slope + density_slope)
    # XLA reports a failed Cholesky factorisation as NaN, never as an error.
    is_finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(gradient))
    return jnp.where(is_finite, value, jnp.inf), jnp.where(is_finite, gradient, 0.0)
