"""The parts of a Gaussian process: data in masked rows, hyperparameters, a prior on them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxhpo._base import Array, setting
from jaxhpo._checks import check_count, check_dtype, check_positive
from jaxhpo.gp._kernels import Kernel, squared_distances


class Data(NamedTuple):
    """Observations in a buffer of fixed capacity. Rows outside the mask change nothing.

    Attributes:
        features: `[n, F]` what the model sees of the points; finite in every row.
        target: `[n]` what was observed, of about unit scale; 0 outside the mask.
        noise: `[n]` known noise variance of each row beside the learned one.
        mask: `[n]` bool, which rows hold an observation.
    """

    features: Array
    target: Array
    noise: Array
    mask: Array


class Hyperparameters(NamedTuple):
    """Logarithms of what is fitted; leading axes are batch axes.

    Attributes:
        log_lengthscale: `[g]` one per group of features.
        log_scale: `[]` log of the signal variance.
        log_noise: `[]` log of the noise variance.
    """

    log_lengthscale: Array
    log_scale: Array
    log_noise: Array

    def ravel(self) -> Array:
        """One vector `[g + 2]`."""
        tail = jnp.stack([self.log_scale, self.log_noise], axis=-1)
        return jnp.concatenate([self.log_lengthscale, tail], axis=-1)


def unravel(theta: Array) -> Hyperparameters:
    """The inverse of `Hyperparameters.ravel`."""
    return Hyperparameters(theta[..., :-2], theta[..., -2], theta[..., -1])


class Prior(NamedTuple):
    """Independent normal distributions of the logarithms, and the bounds that a fit keeps.

    Attributes:
        mean: `[g + 2]` in the order of `Hyperparameters.ravel`.
        sd: `[g + 2]`.
        lower: `[g + 2]`.
        upper: `[g + 2]`.
        bias: `[]` variance of the constant mean function.
    """

    mean: Array
    sd: Array
    lower: Array
    upper: Array
    bias: Array

    def log_density(self, theta: Array) -> tuple[Array, Array]:
        """Log density up to a constant, and its gradient `[g + 2]`."""
        z = (theta - self.mean) / self.sd
        return -0.5 * jnp.sum(z**2, axis=-1), -z / self.sd


def default_prior(
    num_groups: int, dtype: Any = None, *, noise_floor: float = 1e-8, num_dims: int | None = None
) -> Prior:
    """The dimension-scaled prior that the `gp` sampler uses for standardised targets.

    Lengthscales grow with the square root of the dimension, so that the prior variance of the
    difference of two random points does not depend on it (Hvarfner, Hellsten and Nardi, "Vanilla
    Bayesian optimization performs great in high dimensions", 2024, https://arxiv.org/abs/2402.02229).

    Args:
        num_groups: `g`.
        dtype: of the arrays; None is the default float dtype.
        noise_floor: smallest noise variance; at least 1e-4 where the linear algebra is float32.
        num_dims: of the space, with which lengthscales grow; None is `num_groups`.

    Returns:
        The prior.
    """
    num_groups = check_count("gp.default_prior", "num_groups", num_groups, 0)
    if num_dims is not None:
        num_dims = check_count("gp.default_prior", "num_dims", num_dims, 0)
    noise_floor = check_positive("gp.default_prior", "noise_floor", noise_floor)
    dtype = check_float_dtype("gp.default_prior", "dtype", dtype)
    log_d = 0.5 * math.log(max(num_groups if num_dims is None else num_dims, 1))
    floor = math.log(float(noise_floor))
    g = num_groups
    return Prior(
        mean=setting([LENGTHSCALE_MEAN + log_d] * g + [0.0, NOISE_MEAN], dtype),
        sd=setting([LENGTHSCALE_SD] * g + [SCALE_SD, NOISE_SD], dtype),
        lower=setting([math.log(0.02)] * g + [math.log(0.05), floor], dtype),
        upper=setting([math.log(50.0) + log_d] * g + [math.log(20.0), 0.0], dtype),
        bias=setting(BIAS, dtype),
    )


def check_float_dtype(where: str, argument: str, dtype: Any) -> Any:
    """Requires a floating dtype, or None for the default one."""
    if dtype is None:
        return jnp.result_type(float)
    return check_dtype(where, argument, dtype)


# By `benchmarks/gp_regret.py`: less regret on Ackley-10 and fewer studies stuck on Hartmann-6 than
# with means of -1 and -12, and elsewhere no difference beyond the spread.
LENGTHSCALE_MEAN = -1.4
LENGTHSCALE_SD = 1.0
SCALE_SD = 0.5
NOISE_MEAN = -7.0
NOISE_SD = 3.0
BIAS = 1.0


def covariance(kernel: Kernel, hyper: Hyperparameters, bias: Array, data: Data) -> Array:
    """Covariance `[n, n]` of the observations; identity in the rows outside the mask.

    Args:
        kernel: structure of the kernel; static.
        hyper: its hyperparameters.
        bias: `[]` variance that all observations share.
        data: the observations.
    """
    return assemble(kernel, hyper, bias, data)[0]


def assemble(
    kernel: Kernel, hyper: Hyperparameters, bias: Array, data: Data
) -> tuple[Array, Array, Array, Array]:
    """Covariance of the observations and the parts of it that its gradient needs.

    Returns:
        `[n, n]` covariance, `[n, n]` signal part (scale times profile), `[n, n]` its slope in the
        squared distance, both zero outside the mask, and `[n, F]` features over lengthscales.
    """
    z = scaled_features(kernel, hyper, data.features)
    r2 = squared_distances(z, z)
    eye = jnp.eye(z.shape[0], dtype=bool)
    r2 = jnp.where(eye, 0.0, r2)
    both = data.mask[:, None] & data.mask[None, :]
    profile, slope = kernel.profile_of(r2)
    scale = jnp.exp(hyper.log_scale)
    signal = jnp.where(both, scale * profile, 0.0)
    slope = jnp.where(both, scale * slope, 0.0)
    diagonal = jnp.where(data.mask, jnp.exp(hyper.log_noise) + data.noise, 1.0)
    total = jnp.where(both, signal + bias, 0.0) + jnp.where(eye, diagonal[:, None], 0.0)
    return total, signal, slope, z


def scaled_features(kernel: Kernel, hyper: Hyperparameters, features: Array) -> Array:
    """Features `[c, F]` divided by their lengthscales."""
    return features * kernel.spread(jnp.exp(-hyper.log_lengthscale))[None, :]
