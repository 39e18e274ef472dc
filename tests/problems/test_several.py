"""Problems of several objectives and with constraints: what they claim to know must be so."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo import problems

SEVERAL = [
    problems.zdt1(5),
    problems.zdt2(5),
    problems.zdt3(5),
    problems.zdt4(5),
    problems.zdt6(5),
    problems.dtlz1(),
    problems.dtlz2(4),
    problems.dtlz7(),
    problems.bnh(),
    problems.osy(),
    problems.c2_dtlz2(),
]
ONE = [
    problems.gramacy(),
    problems.g04(),
    problems.g06(),
    problems.g08(),
    problems.g09(),
    problems.g24(),
]


QUICK = {"zdt3", "dtlz7", "osy", "dtlz1", "c2_dtlz2", "g09", "gramacy"}


def listed(problems):
    """Each is a program of its own; most are marked slow."""

    def one(problem):
        marks = [] if problem.name in QUICK else [pytest.mark.slow]
        return pytest.param(problem, id=problem.name, marks=marks)

    return [one(problem) for problem in problems]


def draws(problem, n, seed=0):
    low, high = np.asarray(problem.low), np.asarray(problem.high)
    return low + (high - low) * np.random.default_rng(seed).random((n, problem.num_dims))


@pytest.mark.parametrize("problem", listed(SEVERAL))
def test_front_has_the_ends_that_are_claimed_and_nothing_dominates_it(problem):
    front = problem.front(2000)
    assert front.shape[1] == problem.num_objectives
    assert 500 < len(front) < 4000
    scale = np.asarray(problem.nadir) - np.asarray(problem.ideal)
    np.testing.assert_allclose((front.min(axis=0) - problem.ideal) / scale, 0, atol=2e-2)
    np.testing.assert_allclose((front.max(axis=0) - problem.nadir) / scale, 0, atol=2e-2)
    assert (np.asarray(problem.reference) >= problem.nadir).all()

    x = jnp.asarray(draws(problem, 2000), jnp.result_type(float))
    value = np.asarray(jax.jit(jax.vmap(problem.evaluate))(x))
    if problem.violation is not None:
        value = value[np.asarray(jax.vmap(problem.violation)(x) <= 0).all(axis=1)]
    assert np.isfinite(value).all()
    better = (value[:, None, :] < front[None] - 1e-4 * scale).all(axis=2)
    assert not better.any(), f"{better.any(axis=1).sum()} draws dominate the front"


OPTIMAL = {
    "zdt1": lambda t: [t, 0, 0, 0, 0],
    "zdt2": lambda t: [t, 0, 0, 0, 0],
    "zdt4": lambda t: [t, 0, 0, 0, 0],
    "zdt6": lambda t: [t, 0, 0, 0, 0],
    "dtlz1": lambda t: [t, 1 - t, *[0.5] * 5],
    "dtlz2": lambda t: [t, 1 - t, t**2, *[0.5] * 10],
    "bnh": lambda t: [5 * t, min(5 * t, 3)],
    "c2_dtlz2": lambda t: [t, t, *[0.5] * 10],
}


@pytest.mark.parametrize("problem", listed([one for one in SEVERAL if one.name in OPTIMAL]))
def test_optimal_points_lie_on_the_front(problem):
    front = problem.front(20_000 if problem.num_objectives == 4 else 4000)
    scale = np.asarray(problem.nadir) - np.asarray(problem.ideal)
    points = jnp.asarray(
        [OPTIMAL[problem.name](t) for t in np.linspace(0, 1, 21)], jnp.result_type(float)
    )
    value = np.asarray(jax.vmap(problem.evaluate)(points), np.float64)
    if problem.violation is not None:
        feasible = np.asarray(jax.vmap(problem.violation)(points) <= 1e-4).all(axis=1)
        assert feasible.sum() >= 8
        value = value[feasible]
    gap = np.abs((value[:, None, :] - front[None]) / scale).max(axis=2).min(axis=1)
    assert gap.max() < 0.05, gap


@pytest.mark.parametrize("problem", listed(ONE))
def test_minimizer_is_feasible_and_reaches_the_minimum(problem):
    with jax.enable_x64(True):
        best = jnp.asarray(problem.minimizer, jnp.float64)
        assert float(jnp.max(problem.violation(best))) < 1e-5
        np.testing.assert_allclose(float(problem.evaluate(best)), problem.minimum, rtol=1e-5)
        x = jnp.asarray(draws(problem, 20_000))
        value, violation = jax.vmap(problem.evaluate)(x), jax.vmap(problem.violation)(x)
        feasible = jnp.all(violation <= 0, axis=1)
        assert float(jnp.min(jnp.where(feasible, value, jnp.inf))) >= problem.minimum


def test_a_problem_is_an_objective():
    for problem in (problems.bnh(), problems.dtlz2(3, 4)):
        run = jax.eval_shape(
            lambda problem=problem: hpo.minimize(
                problem.objective, problem.space, "random", key=0, num_trials=8
            )
        )
        assert run.front.shape == (8,)
        assert run.trials.value.shape == (8, problem.num_objectives)


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="zdt1: `num_dims` must be at least 2"):
        problems.zdt1(1)
    with pytest.raises(ValueError, match="dtlz2: `num_dims` must be at least 3"):
        problems.dtlz2(3, 2)
