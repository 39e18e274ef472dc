"""Expected improvement of a scalarisation: against closed forms, chance and differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhpo import acquisition

DTYPE = jnp.result_type(float)
M = 5
SCALE = acquisition.Chebyshev(
    jnp.asarray([1.0, 0.3, 2.0, 0.7, 1.3], DTYPE), jnp.asarray([-1.0, 0.0, 0.5, -0.3, 0.1], DTYPE)
)


@jax.jit
def log_gain(mean, variance, best):
    return acquisition.log_chebyshev_ei(mean, variance, SCALE, best)


def row(seed):
    rng = np.random.default_rng(seed)
    mean, variance = rng.normal(0.5, 0.7, M), rng.uniform(0.01, 1.0, M) ** 2
    return jnp.asarray(mean, DTYPE), jnp.asarray(variance, DTYPE)


@pytest.mark.parametrize("best", [-1.0, 0.5, 1.0, 3.0, 20.0])
def test_one_objective_is_plain_expected_improvement(best):
    alone = acquisition.Chebyshev(jnp.ones(1, DTYPE), jnp.zeros(1, DTYPE))
    mean, variance = jnp.linspace(-3.0, 3.0, 13, dtype=DTYPE), jnp.full(13, 0.25, DTYPE)
    best = jnp.asarray(best, DTYPE)
    found = acquisition.log_chebyshev_ei(mean[:, None], variance[:, None], alone, best)
    expected = acquisition.log_ei(mean, variance, best).value
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_chance_agrees(seed):
    mean, variance = row(seed)
    draws = np.random.default_rng(9).normal(size=(400_000, M))
    value = np.asarray(SCALE(jnp.asarray(np.asarray(mean) + np.sqrt(variance) * draws, DTYPE)))
    for best in np.quantile(value, [0.05, 0.5, 0.95]):
        gains = np.maximum(best - value, 0.0)
        found = float(jnp.exp(log_gain(mean, variance, jnp.asarray(best, DTYPE))))
        assert abs(found - gains.mean()) < 5 * gains.std() / np.sqrt(len(gains)) + 1e-6


def test_one_sharp_objective_among_vague_ones():
    """Widths that differ a thousandfold still fit one set of nodes."""
    mean = jnp.zeros(M, DTYPE)
    variance = jnp.asarray([1e-6, 1.0, 1.0, 1.0, 1.0], DTYPE) ** 2
    value = np.asarray(
        SCALE(jnp.asarray(np.random.default_rng(3).normal(size=(400_000, M)), DTYPE)
              * jnp.sqrt(variance)[None])
    )  # fmt: skip
    best = float(np.quantile(value, 0.5))
    gains = np.maximum(best - value, 0.0)
    found = float(jnp.exp(log_gain(mean, variance, jnp.asarray(best, DTYPE))))
    assert abs(found / gains.mean() - 1.0) < 0.02


def test_slopes_are_those_of_differences():
    with jax.enable_x64(True):
        scale = acquisition.Chebyshev(*(jnp.asarray(np.asarray(f, np.float64)) for f in SCALE))
        mean, variance = (jnp.asarray(np.asarray(a, np.float64)) for a in row(4))
        gain = lambda a, b, best: acquisition.log_chebyshev_ei(a, b, scale, best)  # noqa: E731
        function, steps = jax.jit(jax.vmap(gain, (0, 0, None))), 1e-6 * jnp.eye(M)
        slopes_of = jax.jit(jax.grad(gain, argnums=(0, 1)))
        means, variances = jnp.tile(mean, (M, 1)), jnp.tile(variance, (M, 1))
        for best in (-3.0, 0.8, 5.0):
            by_mean = function(means + steps, variances, best)
            by_mean -= function(means - steps, variances, best)
            by_variance = function(means, variances + steps, best)
            by_variance -= function(means, variances - steps, best)
            slopes = slopes_of(mean, variance, best)
            np.testing.assert_allclose(slopes[0], by_mean / 2e-6, rtol=2e-3, atol=1e-5)
            np.testing.assert_allclose(slopes[1], by_variance / 2e-6, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("distance", [10.0, 30.0, 1e3])
def test_far_from_any_improvement_value_and_slope_are_finite(distance):
    mean, variance = jnp.full(M, distance, DTYPE), jnp.full(M, 1.0, DTYPE)
    value, slope = jax.value_and_grad(log_gain)(mean, variance, jnp.asarray(-1.0, DTYPE))
    assert np.isfinite(value)
    assert np.isfinite(slope).all()
    assert (slope <= 0).all()
    assert (slope < 0).any()
