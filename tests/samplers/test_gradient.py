"""Descents by gradients: L-BFGS beside SciPy's, bounds, restarts; nothing without gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import jaxhpo as hpo
from jaxhpo.samplers import gradient
from jaxhpo.samplers.local._lbfgs import two_loops


def test_two_loops_are_the_inverse_hessian():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(3, 3))
    hessian = root @ root.T + np.eye(3)
    with jax.enable_x64(True):
        # As many conjugate steps as dimensions: L-BFGS then is exact.
        steps = np.linalg.eigh(hessian)[1].T
        found = two_loops(
            jnp.asarray(steps), jnp.asarray(steps @ hessian), jnp.asarray([1.0, -2, 3])
        )
    np.testing.assert_allclose(found, np.linalg.solve(hessian, [1.0, -2, 3]), rtol=1e-8)


def test_as_few_evaluations_as_scipy():
    function = hpo.problems.rosenbrock(10)
    objective = hpo.with_gradient(function.objective, function.space)
    result = hpo.minimize(objective, function.space, "gradient", key=3, num_trials=200)
    reached = int(np.argmax(np.asarray(result.best_so_far) < 5.0))
    assert 0 < reached < 200

    box = [(-5.0, 10.0)] * 10
    start = np.asarray(result.trials.params["x"][0], np.float64)
    counts = []

    def value(x):
        counts.append(scipy.optimize.rosen(x))
        return counts[-1], scipy.optimize.rosen_der(x)

    scipy.optimize.minimize(value, start, jac=True, method="L-BFGS-B", bounds=box)
    theirs = int(np.argmax(np.minimum.accumulate(counts) < 5.0))
    assert reached < 2 * theirs + 20


def test_ends_on_a_bound():
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0, shape=(3,))})

    def objective(key, params):
        return jnp.sum((params["x"] - jnp.asarray([-1.0, 0.4, 3.0])) ** 2)

    told = hpo.with_gradient(objective, space)
    result = hpo.minimize(told, space, gradient(space), key=0, num_trials=30)
    np.testing.assert_allclose(result.best_params["x"], [0.0, 0.4, 1.0], atol=1e-4)


def test_lanes_find_several_minima():
    function = hpo.problems.six_hump_camel()
    objective = hpo.with_gradient(function.objective, function.space)
    sampler = gradient(function.space, batch_size=8)
    result = hpo.minimize(objective, function.space, sampler, key=0, num_trials=400)
    value = np.asarray(result.trials.value)
    first = np.asarray(result.trials.params["x0"])[value < function.minimum + 1e-4]
    assert int(result.info.num_descents[-1]) >= 8
    assert (first > 0).any()
    assert (first < 0).any()


def test_failures_shorten_the_step():
    space = hpo.Space({"x": hpo.uniform(-1.0, 1.0)})

    def objective(key, params):  # undefined beyond 0.1, where steep steps lead
        x = params["x"]
        return jnp.where(
            x > 0.1, jnp.nan, (x - 0.09) ** 2 + 0.0 * jnp.sqrt(jnp.maximum(0.1 - x, 0))
        )

    told = hpo.with_gradient(lambda key, params: objective(key, params), space)
    result = hpo.minimize(told, space, "gradient", key=1, num_trials=60)
    assert float(result.best_value) < 1e-4


def test_discrete_coordinates_are_kept_in_a_descent():
    space = hpo.Space({"kind": ["a", "b", "c"], "x": hpo.uniform(0.0, 1.0)})

    def objective(key, params):
        kind, x = params["kind"], params["x"]
        place = jnp.asarray([0.2, 0.5, 0.8], x.dtype)[kind]
        return (x - place) ** 2 - jnp.where(kind == 1, 0.1, 0.0).astype(x.dtype)

    told = hpo.with_gradient(objective, space)
    result = hpo.minimize(told, space, "gradient", key=0, num_trials=60)
    assert float(result.best_value) == pytest.approx(-0.1, abs=1e-5)


def test_refuses_what_has_no_gradient():
    space = hpo.Space({"x": hpo.uniform(-1.0, 1.0)})
    with pytest.raises(
        ValueError, match=r"gradient.tell: `outcome.gradient` must be given .*pattern"
    ):
        hpo.minimize(lambda key, params: params["x"], space, "gradient", key=0, num_trials=4)
    sampler = gradient(space)
    state = sampler.init(jax.random.key(0))
    state, unit = sampler.ask(jax.random.key(1), state)
    wrong = hpo.Outcome(jnp.zeros(1), gradient=jnp.zeros((1, 2)))
    with pytest.raises(ValueError, match=r"`outcome.gradient` must be of shape \(1, 1\)"):
        sampler.tell(jax.random.key(2), state, unit, wrong)


def test_with_gradient_is_the_derivative_in_the_unit_cube():
    space = hpo.Space(
        {"lr": hpo.log_uniform(1e-3, 1e1), "n": hpo.integer(1, 5), "b": hpo.uniform(0, 2)}
    )

    def objective(key, params):
        return (
            jnp.log(params["lr"]) ** 2 * params["n"].astype(params["lr"].dtype) + params["b"] ** 3
        )

    unit = jnp.asarray([0.7, 0.5, 0.25], jnp.result_type(float))
    params = space.from_unit(unit)
    outcome = hpo.with_gradient(objective, space)(jax.random.key(0), params)
    expected = jax.grad(lambda u: objective(None, space.from_unit(u)))(unit)
    np.testing.assert_allclose(outcome.gradient, expected, rtol=1e-4)
    assert float(outcome.gradient[1]) == 0.0
    assert float(outcome.value) == float(objective(None, params))
    at_bound = hpo.with_gradient(objective, space)(
        None, space.from_unit(jnp.asarray([0.0, 0.5, 1.0]))
    )
    assert (np.asarray(outcome.gradient)[[0, 2]] != 0).all()
    assert (np.asarray(at_bound.gradient)[[0, 2]] != 0).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_lanes": 0}, "`num_lanes` must be at least 1"),
        ({"memory": 0}, "`memory` must be at least 1"),
        ({"first_step": -1.0}, "`first_step` must be greater than 0"),
        ({"tolerance": -1.0}, "`tolerance` must be at least 0"),
    ],
)
def test_refuses_bad_settings(settings, message):
    with pytest.raises(ValueError, match=f"gradient: {message}"):
        gradient(hpo.Space({"x": hpo.uniform(0.0, 1.0)}), **settings)
