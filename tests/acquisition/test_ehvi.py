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


@pytest.fixture(scope="module", params=[2, 3])
def setting(request):
    """A front, its boxes, and both functions compiled once."""
    m = request.param
    front, corner = jnp.asarray(FRONTS[m], DTYPE), jnp.asarray([1.0, 1.2, 1.1][:m], DTYPE)
    boxes = acquisition.free_boxes(front, corner)

    @jax.jit
    def log_gain(mean, variance):
        return acquisition.log_ehvi(mean, variance, boxes)

    @jax.jit
    @jax.vmap
    def true_gain(point):
        both = jnp.concatenate([front, point[None]])
        return pareto.hypervolume(both, corner) - pareto.hypervolume(front, corner)

    return m, boxes, log_gain, true_gain


def test_certain_values_gain_the_volume_itself(setting):
    m, _, log_gain, true_gain = setting
    point = jnp.asarray(np.random.default_rng(0).random((64, m)) * 1.2 - 0.1, DTYPE)
    gain = true_gain(point)
    found = jnp.exp(log_gain(point, jnp.full_like(point, 1e-10)))
    np.testing.assert_allclose(found, gain, atol=3e-5)


def test_expectation_is_that_of_a_grid_of_quantiles(setting):
    m, _, log_gain, true_gain = setting
    mean = jnp.asarray([0.4, 0.5, 0.6][:m], DTYPE)
    sigma = jnp.asarray([0.3, 0.2, 0.25][:m], DTYPE)
    side = 200 if m == 2 else 36
    share = (jnp.arange(side, dtype=DTYPE) + 0.5) / side
    axes = [mu + s * jax.scipy.special.ndtri(share) for mu, s in zip(mean, sigma, strict=True)]
    grid = jnp.stack([axis.ravel() for axis in jnp.meshgrid(*axes)], axis=1)
    expected = float(jnp.mean(true_gain(grid)))
    found = float(jnp.exp(log_gain(mean, sigma**2)))
    assert found == pytest.approx(expected, rel=1e-3 if m == 2 else 1e-2)


def test_nothing_known_is_a_product_of_improvements(setting):
    m = setting[0]
    corner = jnp.asarray([1.0, 1.2, 1.1][:m], DTYPE)
    boxes = acquisition.free_boxes(jnp.full((1, m), jnp.nan, DTYPE), corner)
    mean, variance = (
        jnp.asarray([0.5, 3.0, -1.0][:m], DTYPE),
        jnp.asarray([0.2, 1.0, 2.0][:m], DTYPE),
    )
    expected = jnp.sum(acquisition.log_ei(mean, variance, corner).value)
    np.testing.assert_allclose(acquisition.log_ehvi(mean, variance, boxes), expected, rtol=1e-5)


def test_far_from_the_front_value_and_slope_are_finite_and_point_home(setting):
    m, _, log_gain, _ = setting
    mean = jnp.asarray([[30.0] * m, [300.0] * m, [0.85] * m], DTYPE)
    variance = jnp.full_like(mean, 0.5)
    value, slopes = log_gain(mean, variance), jax.vmap(jax.grad(log_gain))(mean, variance)
    assert np.isfinite(value).all()
    assert np.isfinite(slopes).all()
    assert (slopes < 0).all()
    widths = jax.vmap(jax.grad(log_gain, argnums=1))(mean, variance)
    assert (widths[:2] > 0).all()


def test_slope_is_that_of_differences(setting):
    m = setting[0]
    with jax.enable_x64(True):
        front = jnp.asarray(FRONTS[m], jnp.float64)
        boxes = acquisition.free_boxes(front, jnp.asarray([1.0, 1.2, 1.1][:m], jnp.float64))

        def gain(mean):
            return acquisition.log_ehvi(mean, jnp.full(m, 0.05, jnp.float64), boxes)

        at = jnp.asarray([0.35, 0.6, 0.7][:m], jnp.float64)
        steps = 1e-5 * jnp.eye(m, dtype=jnp.float64)
        expected = [(gain(at + step) - gain(at - step)) / 2e-5 for step in steps]
        np.testing.assert_allclose(jax.grad(gain)(at), expected, rtol=1e-5)


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match=r"free_boxes: `value` must be of shape \[n, 2\] or"):
        acquisition.free_boxes(jnp.zeros((3, 4)), jnp.ones(4))
    with pytest.raises(ValueError, match=r"`reference` must be of shape \[2\]"):
        acquisition.free_boxes(jnp.zeros((3, 2)), jnp.ones(3))
    boxes = acquisition.free_boxes(jnp.zeros((3, 2)), jnp.ones(2))
    with pytest.raises(ValueError, match=r"`mean` must be of shape \[..., 2\]"):
        acquisition.log_ehvi(jnp.zeros(3), jnp.ones(3), boxes)
