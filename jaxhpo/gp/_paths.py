"""Draws of whole functions from a posterior: cheap to evaluate anywhere, with gradients."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxhpo._base import Array
from jaxhpo._checks import check_count, check_key, describe
from jaxhpo._linalg import matmul
from jaxhpo.gp._arguments import real
from jaxhpo.gp._posterior import Posterior

NUM_WAVES = 512
"""Random features of a prior draw; its covariance is off by about the root of their inverse."""

_FREEDOM = 5
"""The spectral density of a Matérn kernel of smoothness 5/2 is Student's with so many degrees."""


class Paths(NamedTuple):
    """Functions drawn from a posterior, `s` side by side.

    Attributes:
        posterior: whose weights `[n, s]` correct the prior draws at the observations.
        frequency: `[w, F]` of the waves, for features over lengthscales.
        phase: `[w]`.
        amplitude: `[w, s]`.
        level: `[s]` constant of each draw.
    """

    posterior: Posterior
    frequency: Array
    phase: Array
    amplitude: Array
    level: Array

    def __call__(self, features: Array) -> Array:
        """Values `[c, s]` at points `[c, F]`."""
        cross, _ = self.posterior.cross(features)
        return self._prior(features) + matmul(cross, self.posterior.weights)

    def with_gradient(self, features: Array) -> tuple[Array, Array]:
        """Values `[c]` and gradients `[c, F]` of the first function."""
        prediction, pull = self.posterior.predict_with_pull(features)
        by_mean = jnp.zeros_like(prediction.mean).at[:, 0].set(1.0)
        angle, rate = self._angle(features), self._rate
        slope = matmul(-jnp.sin(angle) * self.amplitude[:, 0][None, :], self.frequency)
        value = self._prior(features)[:, 0] + prediction.mean[:, 0]
        return value, slope * rate[None, :] + pull(by_mean, jnp.zeros_like(value))

    @property
    def _rate(self) -> Array:
        posterior = self.posterior
        return posterior.kernel.spread(jnp.exp(-posterior.hyper.log_lengthscale))

    def _angle(self, features: Array) -> Array:
        return matmul(features * self._rate[None, :], self.frequency.T) + self.phase[None, :]

    def _prior(self, features: Array) -> Array:
        return matmul(jnp.cos(self._angle(features)), self.amplitude) + self.level[None, :]


def draw_paths(
    key: Array, posterior: Posterior, noise: Array, num_paths: int, num_waves: int = NUM_WAVES
) -> Paths:
    """Draws functions from a posterior by Matheron's rule.

    A prior draw is a sum of random waves; what it misses at the observations, noise included, is
    corrected as the posterior mean would correct it. Far from the data the draws vary as the prior
    does, at the data as the posterior does.

    Args:
        key: consumed.
        posterior: with weights `[n]`, or `[n, s]` of which the first column is taken.
        noise: `[n]` noise variance of each observation.
        num_paths: static.
        num_waves: static; random features of the prior draws.

    Returns:
        The `Paths`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxhpo import gp
        >>> x = jnp.linspace(0.0, 1.0, 5)[:, None]
        >>> data = gp.Data(x, jnp.sin(6 * x[:, 0]), jnp.zeros(5), jnp.ones(5, bool))
        >>> hyper = gp.Hyperparameters(jnp.full(1, -1.0), jnp.zeros(()), jnp.full((), -9.0))
        >>> posterior = gp.condition(gp.Kernel((0,)), hyper, data, 1.0)
        >>> paths = gp.draw_paths(jax.random.key(0), posterior, jnp.full(5, 1e-4), 16)
        >>> bool(jnp.abs(paths(x) - data.target[:, None]).max() < 0.1)
        True

    References:
        Wilson et al., "Efficiently sampling functions from Gaussian process posteriors", 2020,
        https://arxiv.org/abs/2002.09309. Rahimi and Recht, "Random features for large-scale kernel
        machines", 2007.
    """
    where = "gp.draw_paths"
    keys = jax.random.split(check_key(where, key), 6)
    given: Any = posterior
    if not isinstance(given, Posterior):
        raise TypeError(f"{where}: `posterior` must be a gp.Posterior, got {describe(given)}.")
    num_paths = check_count(where, "num_paths", num_paths, 1)
    num_waves = check_count(where, "num_waves", num_waves, 1)
    n, num_features = posterior.scaled.shape
    noise = real(where, "noise", noise, (n,)).astype(posterior.scaled.dtype)
    dtype = posterior.scaled.dtype
    frequency = _normal(keys[0], (num_waves, num_features), dtype)
    if posterior.kernel.profile == "matern52":
        chi2 = jnp.sum(_normal(keys[1], (num_waves, _FREEDOM), dtype) ** 2, axis=1)
        frequency = frequency * jnp.sqrt(_FREEDOM / chi2)[:, None]
    phase = 2.0 * jnp.pi * jax.random.uniform(keys[2], (num_waves,), jnp.float32).astype(dtype)
    scale = jnp.sqrt(2.0 * jnp.exp(posterior.hyper.log_scale) / num_waves)
    amplitude = scale * _normal(keys[3], (num_waves, num_paths), dtype)
    level = jnp.sqrt(posterior.bias) * _normal(keys[4], (num_paths,), dtype)
    paths = Paths(posterior, frequency, phase, amplitude, level)
    angle = matmul(posterior.scaled, frequency.T) + phase[None, :]
    prior = matmul(jnp.cos(angle), amplitude) + level[None, :]
    errors = jnp.sqrt(noise)[:, None] * _normal(keys[5], (n, num_paths), dtype)
    missed = jnp.where(posterior.mask[:, None], prior + errors, 0.0)
    weights = posterior.weights if posterior.weights.ndim == 1 else posterior.weights[:, 0]
    corrected = weights[:, None] - posterior.retarget(missed).weights
    return paths._replace(posterior=posterior.reweigh(corrected))


def _normal(key: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    """Normal draws; 64 random bits cannot be drawn where float64 is on locally alone."""
    return jax.random.normal(key, shape, jnp.float32).astype(dtype)
