"""`minimize` beside SciPy's: bounds hold or are refused, gradients are JAX's, starts are lanes."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from jaxhpo.integrations.scipy import as_method, minimize


def rosenbrock(x):
    return 100.0 * (x[1] - x[0] ** 2) ** 2 + (1.0 - x[0]) ** 2


def outside(x):
    """Smallest at (3, -2), outside [0, 1]²."""
    return (x[0] - 3.0) ** 2 + (x[1] + 2.0) ** 2


def waves(x):
    return jnp.sum(x**2 + 10.0 * (1.0 - jnp.cos(2.0 * jnp.pi * x)))


def python_only(x):
    return (math.sin(float(x[0])) - 0.5) ** 2 + float(x[1]) ** 2


BOX = [(0.0, 1.0), (0.0, 1.0)]


@pytest.mark.parametrize("method", ["BFGS", "L-BFGS-B", "tnc", "SLSQP", "Nelder-Mead"])
def test_bounds_hold(method):
    result = minimize(outside, [0.5, 0.5], bounds=BOX, method=method)
    assert isinstance(result, optimize.OptimizeResult)
    assert result.success
    np.testing.assert_allclose(result.x, [1.0, 0.0], atol=1e-4)
    np.testing.assert_allclose(result.fun, 8.0, atol=1e-3)


def test_bounds_of_one_side_and_bounds_objects():
    half = minimize(outside, [0.5, 0.5], bounds=[(None, 2.0), (None, None)], method="BFGS")
    np.testing.assert_allclose(half.x, [2.0, -2.0], atol=1e-5)
    box = minimize(outside, [0.5, 0.5], bounds=optimize.Bounds([0, 0], [1, 1]), method="BFGS")
    np.testing.assert_allclose(box.x, [1.0, 0.0])


def test_as_good_as_scipy_with_fewer_evaluations():
    ours = minimize(rosenbrock, [-1.2, 1.0], method="BFGS")
    theirs = optimize.minimize(rosenbrock, [-1.2, 1.0], method="BFGS")
    assert ours.success
    assert ours.fun <= theirs.fun + 1e-10
    assert ours.nfev < theirs.nfev, "SciPy spends evaluations on differences"
    np.testing.assert_allclose(ours.jac, 0.0, atol=1e-5)


def test_starts_run_as_one_program():
    calls = []

    def counted(x):
        calls.append(x)
        return waves(x)

    result = minimize(
        counted, [4.2, -3.1], bounds=[(-5.0, 5.0)] * 2, method="BFGS", num_starts=40, seed=1
    )
    assert len(calls) <= 4, "traces, whatever the number of starts"
    assert result.starts.x.shape == (40, 2)
    assert result.fun == result.starts.fun.min()
    assert result.fun < 3.0 < result.starts.fun[0], "one start ends in a local minimum"
    assert ((result.starts.x >= -5.0) & (result.starts.x <= 5.0)).all()


def test_gradients_come_from_jax():
    calls = []

    def counted(x):
        calls.append(x)
        return rosenbrock(x)

    result = minimize(counted, [-1.2, 1.0], method="L-BFGS-B", bounds=[(-2, 2), (-2, 2)])
    np.testing.assert_allclose(result.x, 1.0, atol=1e-3)
    assert len(calls) <= 3 < result.nfev, "traced, then compiled"
    newton = minimize(rosenbrock, [-1.2, 1.0], method="trust-exact", jac="jax")
    np.testing.assert_allclose(newton.x, 1.0, atol=1e-5)


def test_other_gradients_and_arguments():
    scaled = minimize(lambda x, a: (x[0] - a) ** 2, [0.0], args=(3.0,), method="BFGS")
    np.testing.assert_allclose(scaled.x, 3.0, atol=1e-6)
    pair = minimize(lambda x: (float(x[0] ** 2), 2 * x), [1.0], jac=True, method="L-BFGS-B")
    np.testing.assert_allclose(pair.x, 0.0, atol=1e-6)
    own = minimize(lambda x, a: float(x[0] ** 2), [1.0], (1,), jac=lambda x, a: 2 * x, method="CG")
    np.testing.assert_allclose(own.x, 0.0, atol=1e-6)
    circle = {"type": "eq", "fun": lambda x: x[0] ** 2 + x[1] ** 2 - 1}
    tied = minimize(outside, [1.0, 0.0], constraints=circle)
    np.testing.assert_allclose(np.hypot(*tied.x), 1.0, atol=1e-5)


def test_python_functions_fall_back_to_differences():
    result = minimize(python_only, [1.0, 1.0], bounds=[(0, 2), (-1, 1)])
    np.testing.assert_allclose(result.x, [math.pi / 6, 0.0], atol=1e-3)
    assert minimize(python_only, [1.0, 1.0], method="BFGS").success


def test_results_that_are_none():
    never = minimize(lambda x: x[0] * jnp.nan, [1.0], method="BFGS")
    assert (never.success, never.x.tolist()) == (False, [1.0])
    assert "NaN" in never.message
    flat = minimize(lambda x: jnp.round(x[0]), [1.2], method="BFGS")
    assert "gradient is zero" in flat.message


@pytest.mark.parametrize("method", [pytest.param("tpe", marks=pytest.mark.slow), "qmc"])
def test_samplers_are_methods(method):
    box = [(-1.0, 2.0), (-1.0, 1.0)]
    result = minimize(python_only, [2.0, 1.0], method=method, bounds=box, options={"maxiter": 40})
    assert (result.success, result.nfev) == (True, 40)
    assert result.trials.x.shape == (40, 2)
    np.testing.assert_array_equal(result.trials.x[0], [2.0, 1.0])
    assert result.fun == result.trials.fun.min() < 0.1
    again = minimize(python_only, [2.0, 1.0], method=method, bounds=box, options={"maxiter": 40})
    np.testing.assert_array_equal(again.trials.x, result.trials.x)


def test_samplers_over_integers_to_the_last_point():
    result = minimize(
        lambda x: abs(x[0] - 2) if x[0] else math.nan, None, method="random", bounds=[(0, 3)],
        integrality=True,
    )  # fmt: skip
    assert (result.x.tolist(), result.nfev) == ([2.0], 4)
    assert "Every point" in result.message


def test_scipy_calls_our_methods():
    given = dict(x0=[0.5, 0.5], bounds=BOX)
    local = optimize.minimize(outside, method=as_method("BFGS", num_starts=3), **given)
    np.testing.assert_allclose(local.x, [1.0, 0.0])
    seen = []

    def stop(intermediate_result):
        seen.append(intermediate_result.fun)
        if len(seen) == 5:
            raise StopIteration

    search = optimize.minimize(
        outside, method=as_method("qmc", seed=2), options={"maxiter": 30}, callback=stop, **given
    )
    assert len(seen) == search.nfev == 5
    assert not search.success


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (dict(method="CG", bounds=BOX), ValueError, "`bounds` must be None with method='cg'"),
        (dict(method="tpe"), ValueError, "`bounds` must be finite pairs"),
        (dict(method="tpe", bounds=[(0, None)] * 2), ValueError, "bounded on both sides"),
        (dict(method="tpe", bounds=BOX, jac="jax"), ValueError, "`jac` must be None"),
        (dict(method="tpe", bounds=[(2, 3)] * 2), ValueError, "`x0` must be within the bounds"),
        (dict(method="BFGS", bounds=[(2, 3)] * 2), ValueError, "`x0` must be within the bounds"),
        (dict(method="BFGS", bounds=[(0, 1)]), ValueError, "`bounds` must be 2 pairs"),
        (dict(method="BFGS", callback=print), ValueError, "`callback` must be None"),
        (dict(method="BFGS", options={"eps": 1}), ValueError, "among gtol and maxiter"),
        (dict(method="annealing"), ValueError, "`method` must be 'BFGS'"),
        (dict(method="BFGS", constraints={"type": "eq", "fun": sum}), ValueError, "`constraints`"),
        (dict(method="BFGS", num_starts=0), ValueError, "`num_starts` must be at least 1"),
    ],
)
def test_bad_input(given, error, message):
    with pytest.raises(error, match=message):
        minimize(outside, [0.5, 0.5], **given)


def test_functions_that_cannot_be_traced():
    with pytest.raises(TypeError, match="must be traceable by JAX with jac='jax'"):
        minimize(python_only, [0.5, 0.5], jac="jax")
    with pytest.raises(TypeError, match="take 'L-BFGS-B' otherwise"):
        minimize(python_only, [0.5, 0.5], method="BFGS", bounds=BOX)
    with pytest.raises(TypeError, match="settings must be among"):
        as_method("BFGS", starts=3)
