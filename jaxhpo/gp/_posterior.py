"""The posterior of a Gaussian process: mean, variance, their gradients, and samples."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxhpo._base import Array, Record, static_field
from jaxhpo._checks import check_count, check_key
from jaxhpo._linalg import eigh, inverse_cholesky, matmul
from jaxhpo.gp._arguments import check_data, check_hyper, check_kernel, real
from jaxhpo.gp._kernels import Kernel, squared_distances
from jaxhpo.gp._model import Data, Hyperparameters, covariance, scaled_features


class Prediction(NamedTuple):
    """Latent function values at `c` points.

    Attributes:
        mean: `[c]`, or `[c, s]` if the posterior has `s` columns of targets.
        variance: `[c]`, not below zero.
    """

    mean: Array
    variance: Array


class Posterior(Record):
    """A Gaussian process given its observations.

    Attributes:
        kernel: static structure of the kernel.
        hyper: hyperparameters.
        bias: `[]` variance of the constant mean.
        scaled: `[n, F]` features of the observations over lengthscales.
        mask: `[n]` bool.
        factor: `[n, n]` lower Cholesky factor of the covariance of the observations.
        inverse_factor: `[n, n]` its inverse.
        weights: `[n]` or `[n, s]` covariance inverse times targets.
    """

    kernel: Kernel = static_field()
    hyper: Hyperparameters
    bias: Array
    scaled: Array
    mask: Array
    factor: Array
    inverse_factor: Array
    weights: Array

    @property
    def prior_variance(self) -> Array:
        """Variance of the function where nothing is known."""
        return jnp.exp(self.hyper.log_scale) + self.bias

    def retarget(self, target: Array) -> Posterior:
        """The posterior with other targets `[n]` or `[n, s]` at the same points."""
        return self.reweigh(matmul(self.inverse_factor.T, matmul(self.inverse_factor, target)))

    def reweigh(self, weights: Array) -> Posterior:
        """The posterior with other weights `[n]` or `[n, s]`."""
        return dataclasses.replace(self, weights=weights)

    def cross(self, features: Array) -> tuple[Array, Array]:
        """Covariance `[c, n]` of points `[c, F]` with the observations, and its distance slope."""
        z = scaled_features(self.kernel, self.hyper, features)
        profile, slope = self.kernel.profile_of(squared_distances(z, self.scaled))
        # The constant mean is integrated out: a variance that all points share (Rasmussen and
        # Williams, 2006, section 2.7). It does not change with distance, so the slope has no term
        # of it.
        scale = jnp.exp(self.hyper.log_scale)
        inside = self.mask[None, :]
        cross = jnp.where(inside, scale * profile + self.bias, 0.0)
        return cross, jnp.where(inside, scale * slope, 0.0)

    def predict(self, features: Array) -> Prediction:
        """Mean and variance of the latent function at points `[c, F]`."""
        features = self._points("predict", features)
        cross, _ = self.cross(features)
        # Rasmussen and Williams, 2006, eq. 2.25 and 2.26, with half = L^-1 k. A product with the
        # inverse factor instead of a triangular solve: the factor is inverted once, and thousands
        # of points are predicted with it.
        half = matmul(cross, self.inverse_factor.T)
        variance = self.prior_variance - jnp.sum(half**2, axis=1)
        # At an observation without noise the difference is zero, or below it by rounding.
        return Prediction(matmul(cross, self.weights), jnp.maximum(variance, 0.0))

    def predict_with_gradient(self, features: Array) -> tuple[Prediction, Prediction]:
        """Mean and variance at points `[c, F]`, and their gradients `[c, F]` (one column)."""
        features = self._points("predict_with_gradient", features)
        # Two pulls, one for each output; a search that needs one combination of them pulls once.
        prediction, pull = self.predict_with_pull(features)
        ones = jnp.ones_like(prediction.variance)
        zeros = jnp.zeros_like(ones)
        return prediction, Prediction(pull(ones, zeros), pull(zeros, ones))

    def predict_with_pull(self, features: Array) -> tuple[Prediction, _Pull]:
        """Mean and variance at points `[c, F]`, and the map from their cotangents to features'."""
        cross, slope = self.cross(features)
        half = matmul(cross, self.inverse_factor.T)
        variance = self.prior_variance - jnp.sum(half**2, axis=1)
        # The gradient by hand, as a pull on cotangents: automatic differentiation of the search
        # made it compile more than twice as long. Where the clip at zero is active, the gradient
        # stays that of the unclipped variance, which points away from the observation.
        prediction = Prediction(matmul(cross, self.weights), jnp.maximum(variance, 0.0))
        return prediction, _Pull(self, features, half, slope)

    def sample(self, key: Array, features: Array, num_samples: int) -> Array:
        """Joint draws of the latent function at points `[c, F]`, one column of targets.

        Args:
            key: consumed.
            features: `[c, F]`.
            num_samples: static.

        Returns:
            `[num_samples, c]`. The covariance gets a nugget of `c` roundings of the prior variance.
        """
        key = check_key("Posterior.sample", key)
        num_samples = check_count("Posterior.sample", "num_samples", num_samples, 1)
        features = self._points("sample", features)
        z = scaled_features(self.kernel, self.hyper, features)
        profile, _ = self.kernel.profile_of(squared_distances(z, z))
        cross, _ = self.cross(features)
        half = matmul(cross, self.inverse_factor.T)
        joint = jnp.exp(self.hyper.log_scale) * profile + self.bias - matmul(half, half.T)
        count = features.shape[0]
        # Rounding of sums of `count` terms is `count` units at most; 4 is a margin.
        nugget = count * jnp.finfo(joint.dtype).eps * self.prior_variance * 4.0
        # The eigenvalues of a posterior covariance reach down to rounding, where Cholesky fails.
        values, vectors = eigh(joint + nugget * jnp.eye(count, dtype=joint.dtype))
        root = vectors * jnp.sqrt(jnp.maximum(values, 0.0))[None, :]
        noise = jax.random.normal(key, (num_samples, count), joint.dtype)
        return matmul(cross, self.weights)[None, :] + matmul(noise, root.T)

    def _points(self, name: str, features: Any) -> Array:
        """Checked points, in the precision of the observations."""
        shape = ("c", len(self.kernel.groups))
        return real(f"Posterior.{name}", "features", features, shape).astype(self.scaled.dtype)


class _Pull(NamedTuple):
    """From cotangents of mean and variance to those of the features (one call, one product)."""

    posterior: Posterior
    features: Array
    half: Array
    slope: Array

    def __call__(self, by_mean: Array, by_variance: Array) -> Array:
        """Gradient `[c, F]` of `by_mean . mean + by_variance . variance`.

        `by_mean` is `[c]`, or `[c, s]` if the posterior has `s` columns.
        """
        posterior = self.posterior
        weights = posterior.weights
        is_single = by_mean.ndim == 1
        pulled = by_mean[:, None] * weights[None, :] if is_single else matmul(by_mean, weights.T)
        # d mean = weights . dk and d variance = -2 (K^-1 k) . dk: both act on the change of the
        # cross-covariance, so they are added first and multiplied by its slope once.
        solved = matmul(self.half, posterior.inverse_factor)
        g = (pulled - 2.0 * by_variance[:, None] * solved) * self.slope
        rate = posterior.kernel.spread(jnp.exp(-posterior.hyper.log_lengthscale))[None, :]
        z = self.features * rate
        # d r2 / d x = 2 (z - z_j) / lengthscale
        return 2.0 * rate * (jnp.sum(g, axis=1)[:, None] * z - matmul(g, posterior.scaled))


def condition(kernel: Kernel, hyper: Hyperparameters, data: Data, bias: Array) -> Posterior:
    """Conditions a Gaussian process on observations.

    Args:
        kernel: static structure of the kernel.
        hyper: hyperparameters, unbatched.
        data: the observations; `data.target` may have columns `[n, s]`.
        bias: `[]` variance of the constant mean.

    Returns:
        The `Posterior`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxhpo import gp
        >>> x = jnp.linspace(0.0, 1.0, 5)[:, None]
        >>> data = gp.Data(x, jnp.sin(6 * x[:, 0]), jnp.zeros(5), jnp.ones(5, bool))
        >>> hyper = gp.Hyperparameters(jnp.full(1, -1.0), jnp.zeros(()), jnp.full((), -9.0))
        >>> posterior = gp.condition(gp.Kernel((0,)), hyper, data, 1.0)
        >>> mean = posterior.predict(x).mean
        >>> bool(jnp.allclose(mean, data.target, atol=1e-2))
        True
    """
    where = "gp.condition"
    hyper = check_hyper(where, check_kernel(where, kernel), hyper)
    data = check_data(where, kernel, data, columns=True)
    bias = real(where, "bias", bias, ()).astype(data.features.dtype)
    total = covariance(kernel, hyper, bias, data)
    factor, inverse_factor = inverse_cholesky(total)
    # From right to left: two products of n² operations. The inverse itself would take n³.
    weights = matmul(inverse_factor.T, matmul(inverse_factor, data.target))
    scaled = scaled_features(kernel, hyper, data.features)
    return Posterior(kernel, hyper, bias, scaled, data.mask, factor, inverse_factor, weights)
