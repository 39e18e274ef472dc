"""Expected gain in dominated volume: against volumes, products, quadrature and chance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhpo import acquisition, pareto

DTYPE = jnp.result_type(float)
FRONTS = {
    2: [[0.1, 0.9], [0.3, 0.5], [0.4, 0.45], [0.8, 0.1], [0.9, 0.9], [np.nan, 0.0], [0.2, 3.0]],
    3: [[0.1, 0.9, 0.5], [0.5, 0.5, 0.2], [0.9, 0.1, 0.9], [0.3, 0.3, 0.8], [0.9, 0.95, 0.9]],
}


CORNER = [1.0, 1.2, 1.1]


@pytest.fixture(scope="module", params=[2, 3])
def setting(request):
    """A front, its reference point, and the functions of it, compiled once."""
    m = request.param
    front, corner = jnp.asarray(FRONTS[m], DTYPE), jnp.asarray(CORNER[:m], DTYPE)
    boxes_of = jax.jit(acquisition.free_boxes)

    @jax.jit
    def log_gain(mean, variance, front=front):
        return acquisition.log_ehvi(mean, variance, boxes_of(front, corner))

    @jax.jit
    @jax.vmap
    def true_gain(point):
        both = jnp.concatenate([front, point[None]])
        return pareto.hypervolume(both, corner) - pareto.hypervolume(front, corner)

    @jax.jit
    @jax.vmap
    def slopes(mean, variance):
        return jax.grad(log_gain, argnums=(0, 1))(mean, variance)

    return m, log_gain, true_gain, slopes


def test_certain_values_gain_the_volume_itself(setting):
    m, log_gain, true_gain, _ = setting
    point = jnp.asarray(np.random.default_rng(0).random((64, m)) * 1.2 - 0.1, DTYPE)
    found = jnp.exp(log_gain(point, jnp.full_like(point, 1e-10)))
    np.testing.assert_allclose(found, true_gain(point), atol=3e-5)


def test_expectation_is_that_of_quadrature(setting):
    m, log_gain, true_gain, _ = setting
    mean, sigma = np.asarray([0.4, 0.5, 0.6][:m]), np.asarray([0.3, 0.2, 0.25][:m])
    nodes = np.linspace(-5, 5, 241 if m == 2 else 61)
    weight = np.exp(-0.5 * nodes**2)
    grid = np.stack(np.meshgrid(*[nodes] * m), axis=-1).reshape(-1, m)
    density = np.prod(np.meshgrid(*[weight / weight.sum()] * m), axis=0).ravel()
    expected = float(density @ np.asarray(true_gain(jnp.asarray(mean + sigma * grid, DTYPE))))
    found = float(jnp.exp(log_gain(jnp.asarray(mean, DTYPE), jnp.asarray(sigma**2, DTYPE))))
    assert found == pytest.approx(expected, rel=1e-3 if m == 2 else 5e-3)


def test_nothing_known_is_a_product_of_improvements(setting):
    m, log_gain, _, _ = setting
    nothing = jnp.full((len(FRONTS[m]), m), jnp.nan, DTYPE)
    mean = jnp.asarray([0.5, 3.0, -1.0][:m], DTYPE)
    variance = jnp.asarray([0.2, 1.0, 2.0][:m], DTYPE)
    expected = jnp.sum(acquisition.log_ei(mean, variance, jnp.asarray(CORNER[:m], DTYPE)).value)
    np.testing.assert_allclose(log_gain(mean, variance, nothing), expected, rtol=1e-5)


def test_one_objective_is_expected_improvement():
    value = jnp.asarray([[0.5], [0.2], [jnp.nan], [9.0]], DTYPE)
    boxes = acquisition.free_boxes(value, jnp.ones(1, DTYPE))
    mean, variance = jnp.asarray([0.4], DTYPE), jnp.asarray([0.3], DTYPE)
    expected = acquisition.log_ei(mean[0], variance[0], jnp.asarray(0.2, DTYPE)).value
    found = jax.jit(acquisition.log_ehvi)(mean, variance, boxes)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_far_from_the_front_value_and_slope_are_finite_and_point_home(setting):
    m, log_gain, _, slopes = setting
    mean = jnp.asarray([[30.0] * m, [300.0] * m, [0.85] * m], DTYPE)
    variance = jnp.full_like(mean, 0.5)
    assert np.isfinite(log_gain(mean, variance)).all()
    by_mean, by_variance = slopes(mean, variance)
    assert np.isfinite(by_mean).all()
    assert (by_mean < 0).all()
    assert (by_variance[:2] > 0).all()


def test_slope_is_that_of_differences(setting):
    m, log_gain, _, slopes = setting
    at = jnp.asarray([0.35, 0.6, 0.7][:m], DTYPE)
    variance = jnp.full(m, 0.05, DTYPE)
    is_double = jnp.finfo(DTYPE).bits == 64
    width = 1e-5 if is_double else 1e-2
    steps = width * jnp.eye(m, dtype=DTYPE)
    variances = jnp.stack([variance] * m)
    above, below = (log_gain(at[None] + shift, variances) for shift in (steps, -steps))
    expected = (above - below) / (2 * width)
    tolerance = 1e-5 if is_double else 1e-2
    by_mean = slopes(at[None], variance[None])[0][0]
    np.testing.assert_allclose(by_mean, expected, rtol=tolerance)


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match=r"free_boxes: `value` must be of shape \[n, m\], m"):
        acquisition.free_boxes(jnp.zeros((3, 4)), jnp.ones(4))
    with pytest.raises(ValueError, match=r"`reference` must be of shape \[2\]"):
        acquisition.free_boxes(jnp.zeros((3, 2)), jnp.ones(3))
    boxes = acquisition.free_boxes(jnp.zeros((3, 2)), jnp.ones(2))
    with pytest.raises(ValueError, match=r"`mean` must be of shape \[..., 2\]"):
        acquisition.log_ehvi(jnp.zeros(3), jnp.ones(3), boxes)
