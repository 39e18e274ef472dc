"""Functions drawn from a posterior have its moments, and slopes that are theirs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhpo import gp

COUNT = 4096


@pytest.fixture(scope="module", params=["matern52", "rbf"])
def drawn(request):
    x = jax.random.uniform(jax.random.key(1), (9, 2))
    mask = jnp.arange(9) < 7
    data = gp.Data(x, jnp.where(mask, jnp.sin(6 * x[:, 0]), 0.0), jnp.full(9, 0.01), mask)
    hyper = gp.Hyperparameters(jnp.asarray([-1.0, -0.3]), jnp.asarray(0.2), jnp.asarray(-5.0))
    posterior = gp.condition(gp.Kernel((0, 1), request.param), hyper, data, 0.5)
    noise = jnp.exp(hyper.log_noise) + data.noise
    paths = jax.jit(gp.draw_paths, static_argnums=(3, 4))(
        jax.random.key(2), posterior, noise, COUNT, 1024
    )
    return posterior, paths


def test_moments_are_those_of_the_posterior(drawn):
    posterior, paths = drawn
    points = jax.random.uniform(jax.random.key(3), (20, 2), minval=-0.5, maxval=1.5)
    value = np.asarray(paths(points))
    mean, variance = (np.asarray(v) for v in posterior.predict(points))
    error = np.sqrt(variance.max() / COUNT)
    np.testing.assert_allclose(value.mean(axis=1), mean, atol=5 * error)
    # Random waves alone are off by some percent, beside the draws' own error.
    np.testing.assert_allclose(value.var(axis=1), variance, rtol=0.2, atol=0.02)


def test_gradients_are_those_of_the_first_function(drawn):
    _, paths = drawn
    points = jax.random.uniform(jax.random.key(4), (6, 2))
    value, gradient = paths.with_gradient(points)
    np.testing.assert_allclose(value, paths(points)[:, 0], rtol=1e-4, atol=1e-4)
    expected = jax.vmap(jax.grad(lambda point: paths(point[None])[0, 0]))(points)
    np.testing.assert_allclose(gradient, expected, rtol=2e-3, atol=2e-3)
