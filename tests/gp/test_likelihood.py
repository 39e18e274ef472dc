"""The likelihood and its gradient against scikit-learn and dense float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel

from jaxhpo import gp
from tests.gp import problems


@pytest.mark.parametrize("profile", ["matern52", "rbf"])
def test_value_and_gradient_equal_scikit_learn(profile):
    x, y = problems.smooth(20, 3)
    hyper = problems.hyper(3)
    ls = np.exp(np.asarray(hyper.log_lengthscale))
    base = RBF(ls) if profile == "rbf" else Matern(ls, nu=2.5)
    kernel = ConstantKernel(np.exp(hyper.log_scale)) * base + WhiteKernel(np.exp(hyper.log_noise))
    model = GaussianProcessRegressor(kernel, alpha=0.0, optimizer=None).fit(x, y)
    expected, slope = model.log_marginal_likelihood(kernel.theta, eval_gradient=True)
    with jax.enable_x64(True):
        value, gradient = problems.likelihood(
            gp.Kernel((0, 1, 2), profile), hyper, problems.data(x, y), 0.0
        )
        np.testing.assert_allclose(value, expected, rtol=1e-9)
        # scikit-learn's order: scale, lengthscales, noise
        np.testing.assert_allclose(gradient, np.r_[slope[1:-1], slope[0], slope[-1]], rtol=1e-8)


def test_bias_and_known_noise_equal_dense_numpy():
    x, y = problems.smooth(15, 2)
    hyper = problems.hyper(2)
    noise = np.linspace(0.0, 0.3, 15)
    total = problems.dense(x, hyper) + 0.7 + np.diag(noise)
    sign, logdet = np.linalg.slogdet(total)
    expected = -0.5 * (y @ np.linalg.solve(total, y) + logdet + 15 * np.log(2 * np.pi))
    with jax.enable_x64(True):
        data = problems.data(x, y, noise)
        value, _ = problems.likelihood(gp.Kernel((0, 1)), hyper, data, 0.7)
    assert sign == 1
    np.testing.assert_allclose(value, expected, rtol=1e-10)


@pytest.mark.parametrize("groups", [(0, 1, 2), (0, 1, 1)])
def test_gradient_equals_finite_differences(groups):
    x, y = problems.smooth(12, 3)
    kernel = gp.Kernel(groups)
    with jax.enable_x64(True):
        data = problems.data(x, y)
        prior = gp.default_prior(kernel.num_groups)
        theta = problems.hyper(kernel.num_groups).ravel()
        f = jax.jit(lambda theta: gp.negative_log_posterior(kernel, theta, data, prior))
        _, gradient = f(theta)
        for i in range(theta.size):
            step = 1e-5 * (np.arange(theta.size) == i)
            slope = (f(theta + step)[0] - f(theta - step)[0]) / 2e-5
            np.testing.assert_allclose(gradient[i], slope, rtol=1e-6, atol=1e-7)


def test_rows_outside_the_mask_change_nothing():
    x, y = problems.smooth(10, 2)
    hyper, kernel = problems.hyper(2), gp.Kernel((0, 1))
    with jax.enable_x64(True):
        plain = problems.likelihood(kernel, hyper, problems.data(x, y), 1.0)
        padded = problems.likelihood(kernel, hyper, problems.padded(x, y, 7), 1.0)
        for one, other in zip(plain, padded, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12)


def test_order_of_observations_does_not_matter():
    x, y = problems.smooth(10, 2)
    order = np.random.default_rng(0).permutation(10)
    hyper, kernel = problems.hyper(2), gp.Kernel((0, 1))
    with jax.enable_x64(True):
        one = problems.likelihood(kernel, hyper, problems.data(x, y), 1.0)
        other = problems.likelihood(kernel, hyper, problems.data(x[order], y[order]), 1.0)
        np.testing.assert_allclose(one[0], other[0], rtol=1e-12)
        np.testing.assert_allclose(one[1], other[1], rtol=1e-10)


def test_no_cholesky_factor_is_an_infinite_value_and_no_gradient():
    x = np.zeros((6, 2))
    with jax.enable_x64(True):
        data = problems.data(x, np.arange(6.0))
        prior = gp.default_prior(2)
        theta = jnp.asarray([0.0, 0.0, 0.0, -200.0])
        value, gradient = jax.jit(
            lambda theta: gp.negative_log_posterior(gp.Kernel((0, 1)), theta, data, prior)
        )(theta)
    assert float(value) == np.inf
    assert (np.asarray(gradient) == 0).all()


def test_hamming_distance_of_scaled_one_hot_columns():
    codes = np.asarray([0, 1, 2, 0])
    onehot = np.eye(3)[codes] * np.sqrt(0.5)
    r2 = gp.squared_distances(jnp.asarray(onehot), jnp.asarray(onehot))
    np.testing.assert_allclose(r2, codes[:, None] != codes[None, :], atol=1e-6)


@pytest.mark.parametrize(
    ("kwargs", "argument"), [({"profile": "cubic"}, "profile"), ({"groups": (0, 2)}, "groups")]
)
def test_a_bad_kernel_is_refused(kwargs, argument):
    with pytest.raises(ValueError, match=f"`{argument}` must be"):
        gp.Kernel(**{"groups": (0, 1), **kwargs})
