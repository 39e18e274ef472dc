"""Closed forms against quadrature in many digits, and derivatives against differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special

from jaxhpo import acquisition

ROOT_2PI = np.sqrt(2 * np.pi)
PLACES = [-300.0, -100.0, -30.0, -10.0, -5.0, -3.01, -3.0, -2.99, -1.0, 0.0, 0.7, 4.0]


def log_ei_by_quadrature(u):
    """Expected improvement of a standard normal: the integral of v phi(v - u) over v > 0."""
    # with v = x / max(1, |u|) the exponent is -u^2/2 - x^2/(2 s^2) + u x / s: no underflow
    s = max(1.0, abs(u))
    value, _ = integrate.quad(
        lambda x: x * np.exp(-(x**2) / (2 * s**2) + u * x / s - max(u, 0) ** 2 / 2),
        0, np.inf, epsabs=0, epsrel=1e-12, limit=500,
    )  # fmt: skip
    return np.log(value) - 2 * np.log(s) - u**2 / 2 + max(u, 0) ** 2 / 2 - np.log(ROOT_2PI)


@pytest.mark.parametrize("u", PLACES)
def test_log_ei_equals_quadrature(u):
    with jax.enable_x64(True):
        value = float(acquisition.log_ei(jnp.asarray(-u), jnp.asarray(1.0), jnp.asarray(0.0)).value)
    np.testing.assert_allclose(value, log_ei_by_quadrature(u), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("u", PLACES)
def test_slopes_equal_their_closed_forms(u):
    with jax.enable_x64(True):
        score = acquisition.log_ei(jnp.asarray(-u), jnp.asarray(1.0), jnp.asarray(0.0))
        pi = acquisition.log_pi(jnp.asarray(-u), jnp.asarray(1.0), jnp.asarray(0.0))
    log_phi, log_cdf = -(u**2) / 2 - np.log(ROOT_2PI), special.log_ndtr(u)
    log_h = log_ei_by_quadrature(u)
    np.testing.assert_allclose(score.by_mean, -np.exp(log_cdf - log_h), rtol=1e-9)
    np.testing.assert_allclose(score.by_variance, 0.5 * np.exp(log_phi - log_h), rtol=1e-7)
    np.testing.assert_allclose(pi.value, log_cdf, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(pi.by_mean, -np.exp(log_phi - log_cdf), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", ["log_ei", "log_pi", "ucb"])
def test_derivatives_equal_differences(name):
    function = getattr(acquisition, name)
    rng = np.random.default_rng(0)
    mean, variance = rng.normal(size=20), rng.exponential(size=20)
    with jax.enable_x64(True):
        value = jax.jit(lambda m, v: function(m, v, jnp.asarray(0.3)).value)
        score = function(jnp.asarray(mean), jnp.asarray(variance), jnp.asarray(0.3))
        h = 1e-6
        by_mean = (value(mean + h, variance) - value(mean - h, variance)) / (2 * h)
        h = 1e-6 * variance
        by_variance = (value(mean, variance + h) - value(mean, variance - h)) / (2 * h)
        np.testing.assert_allclose(score.by_mean, by_mean, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(score.by_variance, by_variance, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("u", [-1e4, -30.0, -3.0, 0.0, 30.0, 1e4])
def test_float32_is_finite_in_both_tails(u):
    u = jnp.asarray(u, jnp.float32)
    one = jnp.ones((), jnp.float32)
    for score in (acquisition.log_ei(-u, one, 0 * one), acquisition.log_pi(-u, one, 0 * one)):
        for leaf in score:
            assert leaf.dtype == jnp.float32
            assert np.isfinite(leaf)
    if abs(u) <= 30:
        for leaf in acquisition.log_ei(-u, 0 * one, 0 * one):
            assert np.isfinite(leaf)


def test_log_ei_grows_with_promise_and_doubt():
    u = np.linspace(-50, 5, 200)
    with jax.enable_x64(True):
        score = acquisition.log_ei(jnp.asarray(-u), jnp.ones(200), jnp.asarray(0.0))
        assert (np.diff(score.value) > 0).all()
        assert (np.asarray(score.by_mean) < 0).all()
        assert (np.asarray(score.by_variance) > 0).all()


def test_average_is_the_log_of_the_mean():
    rng = np.random.default_rng(0)
    mean = jnp.asarray(rng.normal(size=(5, 3)))
    value = lambda m: acquisition.average(acquisition.log_ei(m, jnp.ones_like(m), 0 * m)).value  # noqa: E731
    score = acquisition.log_ei(mean, jnp.ones_like(mean), 0 * mean)
    found = acquisition.average(score)
    expected = special.logsumexp(np.asarray(score.value), axis=1) - np.log(3)
    np.testing.assert_allclose(found.value, expected, rtol=1e-5)
    step = 1e-2
    for column in range(3):
        shift = step * jnp.eye(3, dtype=mean.dtype)[column][None]
        slope = (value(mean + shift) - value(mean - shift)) / (2 * step)
        np.testing.assert_allclose(found.by_mean[:, column], slope, rtol=2e-3, atol=1e-4)
