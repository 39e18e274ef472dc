"""Differential evolution: SciPy's own strategies are the oracle of the trial vectors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize._differentialevolution import DifferentialEvolutionSolver

import jaxhpo as hpo
from jaxhpo.samplers.evolutionary._de_trial import MUTATIONS, STRATEGIES, crossover_mask, mutant

P, D = 12, 5


class Fixed:
    """A generator whose uniform draws and integers are given."""

    def __init__(self, uniform, integer):
        self._uniform, self._integer = uniform, integer

    def uniform(self, size):
        return self._uniform

    def integers(self, *args, **kwargs):
        return self._integer

    randint = integers


def solver(strategy, population, scale):
    made = DifferentialEvolutionSolver(
        lambda x: 0.0, [(0.0, 1.0)] * D, strategy=strategy, init=population, recombination=0.6
    )
    made.population = population.copy()  # SciPy keeps the best member first
    made.scale = scale
    return made


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutants_are_scipys(name):
    rng = np.random.default_rng(0)
    population = rng.random((P, D))
    others, target, scale = np.asarray([3, 7, 1, 9, 4]), 5, 0.73
    theirs = solver(f"{name}bin", population, scale)
    arguments = (target, others) if name == "currenttobest1" else (others,)
    expected = theirs.mutation_func(*arguments)
    dtype = jnp.result_type(float)
    found = mutant(
        name,
        jnp.asarray(population, dtype),
        jnp.asarray(0, jnp.int32),
        jnp.asarray(target, jnp.int32),
        jnp.asarray(others, jnp.int32),
        jnp.asarray(scale, dtype),
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["bin", "exp"])
def test_crossover_is_scipys(kind, monkeypatch):
    rng = np.random.default_rng(1)
    population = rng.random((P, D))
    theirs = solver(f"rand1{kind}", population, 0.5)
    others = np.asarray([3, 7, 1, 9, 4])
    monkeypatch.setattr(theirs, "_select_samples", lambda candidate, count: others)
    moved = theirs._rand1(others)
    for start in range(D):
        uniform = rng.random(D)
        theirs.random_number_generator = Fixed(uniform.copy(), start)
        expected = theirs._mutate(5)
        mask = crossover_mask(
            kind, jnp.asarray(uniform), jnp.asarray(start, jnp.int32), jnp.asarray(0.6)
        )
        found = np.where(mask, moved, population[5])
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_names_are_scipys():
    theirs = DifferentialEvolutionSolver
    assert set(STRATEGIES) == set(theirs._binomial) | set(theirs._exponential)


def test_members_are_replaced_by_the_rules_of_constraints():
    """Feasible by value, feasible before infeasible, infeasible by violation, failures never."""
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0), "y": hpo.uniform(0.0, 1.0)})
    sampler = hpo.samplers.de(space, batch_size=6, population_size=6)
    ask, tell = jax.jit(sampler.ask), jax.jit(sampler.tell)
    key, dtype = jax.random.key(0), jnp.result_type(float)

    def outcome(value, violation):
        return hpo.Outcome(jnp.asarray(value, dtype), violation=jnp.asarray(violation, dtype))

    state, first = ask(key, sampler.init(key))
    first_news = outcome([1, 1, 1, 1, 1, np.nan], [0, 0, 2, 2, 0, 0])
    state, info = tell(key, state, first, first_news)
    np.testing.assert_array_equal(state.population[:5], first[:5])
    assert np.isinf(state.value[5])
    state, second = ask(jax.random.key(1), state)
    order = np.asarray([4, 2, 0, 5, 1, 3])
    news = outcome([2, 0, 9, 5, np.nan, 5], [0, 0, 0, 1, 0, 0])
    moved = hpo.Outcome(news.value[order], violation=news.violation[order])
    state, info = tell(key, state, second[order], moved)
    is_new = np.asarray(jnp.all(state.population == second, axis=1))
    assert is_new.tolist() == [False, True, True, True, False, True]
    np.testing.assert_array_equal(state.value, [1, 0, 9, 5, 1, 5])
    np.testing.assert_array_equal(state.violation, [0, 0, 0, 1, 0, 0])
    assert int(info.num_failed) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"population_size": 5}, "`population_size` must be at least 6, got 5"),
        ({"strategy": "best3bin"}, "`strategy` must be one of 'best1bin'"),
        ({"mutation": (0.5, 0.6, 0.7)}, "`mutation` must be a number or two of them"),
        ({"mutation": -0.5}, "`mutation` must be greater than 0"),
        ({"recombination": 1.5}, "`recombination` must be at most 1, got 1.5"),
        ({"mutation": (1.0, 0.5)}, "`mutation` must be an interval with its lower end first"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        hpo.samplers.de(hpo.Space({"x": hpo.uniform(0.0, 1.0)}), **settings)
