"""Posterior, samples, fit, warp and precision against independent answers."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from jaxhpo import gp
from tests.gp import problems

KERNEL = gp.Kernel((0, 1))


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def test_prediction_equals_scikit_learn(float64):
    x, y = problems.smooth(18, 2)
    hyper = problems.hyper(2)
    points = np.random.default_rng(2).uniform(size=(7, 2))
    base = Matern(np.exp(hyper.log_lengthscale), nu=2.5)
    kernel = ConstantKernel(np.exp(hyper.log_scale)) * base + WhiteKernel(np.exp(hyper.log_noise))
    model = GaussianProcessRegressor(kernel, alpha=0.0, optimizer=None).fit(x, y)
    mean, sd = model.predict(points, return_std=True)
    posterior = problems.condition(KERNEL, hyper, problems.data(x, y), 0.0)
    found = problems.predict(posterior, jnp.asarray(points))
    np.testing.assert_allclose(found.mean, mean, rtol=1e-9, atol=1e-9)
    # scikit-learn's deviation is of an observation, ours of the function
    np.testing.assert_allclose(found.variance + np.exp(hyper.log_noise), sd**2, atol=1e-9)


def test_masked_rows_bias_and_columns_equal_dense_numpy(float64):
    x, y = problems.smooth(9, 2)
    hyper = problems.hyper(2)
    points = np.random.default_rng(2).uniform(size=(5, 2))
    cross = problems.signal(points, x, hyper) + 0.5
    solved = np.linalg.solve(problems.dense(x, hyper) + 0.5, np.c_[y, y**2])
    data = problems.padded(x, y, 4)
    posterior = problems.condition(KERNEL, hyper, data, 0.5)
    columns = jnp.stack([data.target, data.target**2], axis=1)
    found = problems.predict(posterior.retarget(columns), jnp.asarray(points))
    np.testing.assert_allclose(found.mean, cross @ solved, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(
        problems.predict(posterior, jnp.asarray(points)).mean, (cross @ solved)[:, 0], atol=1e-10
    )
    variance = np.exp(hyper.log_scale) + 0.5
    variance -= np.einsum(
        "ij,ij->i", cross, np.linalg.solve(problems.dense(x, hyper) + 0.5, cross.T).T
    )
    np.testing.assert_allclose(found.variance, variance, rtol=1e-9)


@pytest.mark.parametrize("profile", ["matern52", "rbf"])
def test_gradients_equal_autodiff_and_are_finite_at_observations(float64, profile):
    x, y = problems.smooth(9, 2)
    kernel = gp.Kernel((0, 1), profile)
    posterior = problems.condition(kernel, problems.hyper(2), problems.data(x, y), 1.0)
    points = jnp.asarray(np.random.default_rng(2).uniform(size=(5, 2)))
    _, gradient = problems.with_gradient(posterior, points)
    for name in ("mean", "variance"):
        by_hand = getattr(gradient, name)
        auto = jax.vmap(jax.grad(lambda p, n=name: getattr(posterior.predict(p[None]), n)[0]))
        np.testing.assert_allclose(by_hand, auto(points), rtol=1e-8, atol=1e-9)
        at_data = getattr(problems.with_gradient(posterior, jnp.asarray(x))[1], name)
        assert np.isfinite(at_data).all()


def test_samples_have_the_posterior_moments(float64):
    x, y = problems.smooth(5, 2)
    posterior = problems.condition(KERNEL, problems.hyper(2), problems.data(x, y), 1.0)
    points = jnp.asarray(np.random.default_rng(2).uniform(size=(4, 2)))
    draws = posterior.sample(jax.random.key(0), points, 20_000)
    expected = problems.predict(posterior, points)
    error = 5 / np.sqrt(20_000)
    np.testing.assert_allclose(
        draws.mean(axis=0), expected.mean, atol=error * np.sqrt(expected.variance.max())
    )
    np.testing.assert_allclose(draws.var(axis=0), expected.variance, rtol=2 * error)


def test_a_fit_is_as_good_as_scikit_learns_best_of_ten(float64):
    x, y = problems.smooth(25, 2)
    prior = gp.default_prior(2)
    flat = prior._replace(sd=jnp.full(4, 1e6), bias=jnp.zeros(()))
    starts = jnp.stack([prior.mean, prior.mean - 1.0, prior.mean + 1.0])
    fit = jax.jit(lambda starts: gp.fit(KERNEL, problems.data(x, y), flat, starts, max_evals=200))
    found = fit(starts)
    bounds = [np.exp([low, up]) for low, up in zip(flat.lower, flat.upper, strict=True)]
    kernel = ConstantKernel(1.0, bounds[2]) * Matern([1, 1], bounds[:2], nu=2.5)
    kernel += WhiteKernel(1e-4, bounds[3])
    model = GaussianProcessRegressor(kernel, alpha=0.0, n_restarts_optimizer=10, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # an optimum on a bound
        model.fit(x, y)
    best = model.log_marginal_likelihood_value_
    assert found.log_posterior > best - 1e-2, (found.log_posterior, best)
    alone = [fit(start[None]) for start in starts]
    assert found.num_evals == sum(one.num_evals for one in alone)


def test_a_warm_start_needs_fewer_evaluations(float64):
    x, y = problems.smooth(25, 2)
    prior = gp.default_prior(2)
    fit = jax.jit(lambda starts: gp.fit(KERNEL, problems.data(x, y), prior, starts, max_evals=100))
    cold = fit(prior.mean[None])
    warm = fit(cold.hyper.ravel()[None])
    assert 2 * int(warm.num_evals) < int(cold.num_evals)
    assert warm.log_posterior >= cold.log_posterior - 1e-6


def test_box_search_finds_a_corner_and_a_curved_valley(float64):
    def rosenbrock(x):
        value = 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
        return value, jax.grad(lambda x: 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2)(x)

    @jax.jit
    def search(upper):
        return gp.minimize_box(
            rosenbrock,
            jnp.asarray([-1.2, 1.0]),
            jnp.full(2, -2.0),
            upper,
            max_evals=300,
            tolerance=1e-8,
            inverse=jnp.ones(2),
            max_step=0.5,
        )

    inside = search(jnp.full(2, 2.0))
    np.testing.assert_allclose(inside.x, 1.0, atol=1e-6)
    assert inside.is_converged
    at_bound = search(jnp.asarray([0.5, 2.0]))
    np.testing.assert_allclose(at_bound.x, [0.5, 0.25], atol=1e-6)
    fixed = search(jnp.asarray([-1.2, 2.0]))
    assert fixed.x[0] == -1.2
    np.testing.assert_allclose(fixed.x[1], 1.44, atol=1e-6)


@pytest.mark.parametrize("batched", [lambda search: search, jax.vmap], ids=["lanes", "vmap"])
def test_lanes_are_decoupled(float64, batched):
    def quartic(x):
        return jnp.sum(x**4 - x**2, axis=-1), 4 * x**3 - 2 * x

    @jax.jit
    def search(start):
        bounds = jnp.full(start.shape, 2.0)
        return gp.minimize_box(
            quartic, start, -bounds, bounds,
            max_evals=60, tolerance=1e-9, inverse=jnp.ones(2), max_step=1.0,
        )  # fmt: skip

    starts = jnp.asarray([[0.1, 0.2], [-1.5, 1.9], [0.7071, -0.7]])
    together = batched(search)(starts)
    alone = [search(start) for start in starts]
    assert len({int(one.num_evals) for one in alone}) > 1  # they do not end together
    for i, one in enumerate(alone):
        np.testing.assert_allclose(together.x[i], one.x, atol=1e-12)
        np.testing.assert_allclose(together.gradient[i], one.gradient, atol=1e-12)
        assert together.num_evals[i] == one.num_evals
        assert together.is_converged[i] == one.is_converged


@pytest.mark.parametrize("max_evals", [0, 1, 3, 40])
def test_a_lane_that_fails_or_ends_leaves_the_others_alone(float64, max_evals):
    def barrier(x):  # NaN below zero, which a search steps into
        return jnp.sum(x - 0.1 * jnp.log(x), axis=-1), 1.0 - 0.1 / x

    @jax.jit
    def search(start):
        bounds = jnp.full(start.shape, 2.0)
        return gp.minimize_box(
            barrier, start, -bounds, bounds,
            max_evals=max_evals, tolerance=1e-9, inverse=jnp.full(2, 5.0), max_step=1.0,
        )  # fmt: skip

    starts = jnp.asarray([[1.5, 0.3], [-1.0, 0.5], [0.2, 0.2], [0.01, 0.01], [jnp.nan, 1.0]])
    lanes, mapped = search(starts), jax.vmap(search)(starts)
    for i, start in enumerate(starts):
        alone = search(start)
        for found in (lanes, mapped):
            assert found.num_evals[i] == alone.num_evals
            assert found.is_converged[i] == alone.is_converged
            np.testing.assert_allclose(found.x[i], alone.x, atol=1e-12)
            np.testing.assert_allclose(found.value[i], alone.value, rtol=1e-9, atol=1e-12)
    if max_evals == 40:
        np.testing.assert_allclose(lanes.x[jnp.asarray([0, 2, 3])], 0.1, atol=1e-6)
    assert not bool(jnp.isfinite(lanes.value[1]))


def hard_targets():
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(12, 2))
    clusters = np.concatenate([x[:4], x[:4] + 1e-9, x[:4]])
    y = problems.smooth(12, 2)[1]
    return {
        "duplicates that agree": (np.tile(x[:4], (3, 1)), np.tile(y[:4], 3)),
        "duplicates that differ": (np.tile(x[:4], (3, 1)), y),
        "clusters": (clusters, np.tile(y[:4], 3)),
        "constant": (x, np.zeros(12)),
        "one point": (x[:1], np.zeros(1)),
    }


@pytest.mark.parametrize("name", hard_targets())
def test_fit_and_prediction_stay_finite(float64, name):
    x, y = hard_targets()[name]
    data, prior = problems.padded(x, y, 3), gp.default_prior(2)
    fit = jax.jit(lambda data: gp.fit(KERNEL, data, prior, prior.mean[None], max_evals=60))
    found = fit(data)
    posterior = problems.condition(KERNEL, found.hyper, data, prior.bias)
    prediction, gradient = problems.with_gradient(posterior, data.features)
    for leaf in jax.tree.leaves((found.hyper, prediction, gradient)):
        assert np.isfinite(leaf).all()
    assert (prediction.variance <= posterior.prior_variance * (1 + 1e-9)).all()


def test_float32_with_a_nugget_is_near_float64():
    x, y = problems.smooth(40, 2)
    x[20:] = x[0] + 1e-4 * x[20:]
    hyper = problems.hyper(2)._replace(log_noise=np.log(1e-3))
    points = np.random.default_rng(2).uniform(size=(5, 2))
    found = []
    for is_on in (False, True):
        with jax.enable_x64(is_on):
            cast = jax.tree.map(lambda a: jnp.asarray(a, float), hyper)
            posterior = problems.condition(KERNEL, cast, problems.data(x, y), 1.0)
            found.append(jax.tree.map(np.asarray, problems.predict(posterior, jnp.asarray(points))))
    np.testing.assert_allclose(found[0].mean, found[1].mean, atol=5e-3)
    np.testing.assert_allclose(found[0].variance, found[1].variance, atol=5e-3)
