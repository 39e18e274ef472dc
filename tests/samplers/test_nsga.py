"""NSGA-II and NSGA-III: who survives, whose children come, in which order news may arrive."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo.samplers.evolutionary import _nsga2, _nsga3
from jaxhpo.samplers.evolutionary._nsga_rounds import Members
from jaxhpo.samplers.evolutionary._nsga_variation import crossed, mutated, swapped

SPACE = hpo.Space({"x": hpo.uniform(-1.0, 3.0), "y": hpo.uniform(0.0, 1.0)})
DTYPE = jnp.result_type(float)


def members(value, violation=None):
    value = jnp.asarray(value, DTYPE)
    n = value.shape[0]
    violation = jnp.zeros(n, DTYPE) if violation is None else jnp.asarray(violation, DTYPE)
    number = jnp.arange(n, dtype=jnp.int32)
    return Members(jnp.zeros((n, 2), DTYPE), value, violation, number, jnp.asarray(n, jnp.int32))


def settings(sampler):
    return sampler.ask.args[0]


def test_survivors_are_those_of_optuna():
    from optuna.samplers.nsgaii._elite_population_selection_strategy import (
        NSGAIIElitePopulationSelectionStrategy,
    )
    from optuna.trial import create_trial

    p = 12
    survive = jax.jit(_nsga2._survive)
    chosen = settings(hpo.samplers.nsga2(SPACE, population_size=p, offspring_size=p))
    theirs = NSGAIIElitePopulationSelectionStrategy(population_size=p)
    import optuna

    study = optuna.create_study(directions=["minimize"] * 2)
    for seed in range(4):
        value = np.random.default_rng(seed).normal(size=(2 * p, 2))
        trials = [create_trial(values=row.tolist()) for row in value]
        for number, trial in enumerate(trials):
            trial.number = number
        expected = {trial.number for trial in theirs(study, trials)}
        order, fitness = survive(chosen, members(value))
        assert set(np.asarray(order[:p]).tolist()) == expected
        np.testing.assert_array_equal(np.asarray(fitness)[np.asarray(order)], np.arange(2 * p))


def test_feasible_survive_before_infeasible_and_unused_rows_last():
    value = [[9.0, 9.0], [0.0, 0.0], [1.0, 1.0], [5.0, 5.0], [jnp.nan, jnp.nan]]
    violation = [0.0, 2.0, 1.0, 0.0, 0.0]
    for module, factory in ((_nsga2, hpo.samplers.nsga2), (_nsga3, hpo.samplers.nsga3)):
        chosen = settings(factory(SPACE, num_objectives=2, population_size=4))
        order, _ = jax.jit(module._survive)(chosen, members(value, violation))
        assert order.tolist() == [3, 0, 2, 1, 4]


def test_each_direction_keeps_its_nearest_member():
    # A dense arc of the unit circle and one lonely end of it; scales differ a thousandfold.
    angle = np.concatenate([[0.0], np.linspace(0.7, np.pi / 2, 23)])
    value = np.stack([np.cos(angle), 1000 * np.sin(angle)], axis=1)
    sampler = hpo.samplers.nsga3(SPACE, num_objectives=2, divisions=7, population_size=8)
    order, _ = jax.jit(_nsga3._survive)(settings(sampler), members(value))
    kept = set(np.asarray(order[:8]).tolist())
    rows = hpo.pareto.reference_directions(2, 7)
    away = np.abs(angle[:, None] - np.arctan2(rows[:, 1], rows[:, 0])[None, :])
    niche = away.argmin(axis=1)
    nearest = {int(np.where(niche == k, away[:, k], 9).argmin()) for k in set(niche.tolist())}
    assert len(nearest) == 6  # the lonely end's, and those of the arc
    assert nearest <= kept


def test_survival_in_a_flat_or_tiny_front_is_finite():
    chosen = settings(hpo.samplers.nsga3(SPACE, num_objectives=3, divisions=3, population_size=5))
    survive = jax.jit(_nsga3._survive)
    for value in (np.ones((9, 3)), 1e-12 * np.random.default_rng(0).random((9, 3))):
        order, _ = survive(chosen, members(value))
        assert sorted(order.tolist()) == list(range(9))


def test_default_directions():
    for m, rows in ((2, 50), (3, 91), (4, 84), (5, 70)):
        assert settings(hpo.samplers.nsga3(SPACE, num_objectives=m)).directions.shape == (rows, m)


def test_children_lie_in_the_cube_around_their_parents():
    noise = jax.random.uniform(jax.random.key(0), (4000, 3, 1), DTYPE)
    one, other, eta = jnp.full(1, 0.2, DTYPE), jnp.full(1, 0.5, DTYPE), jnp.asarray(15.0, DTYPE)
    none = jnp.zeros(1, bool)
    child = np.asarray(jax.vmap(lambda n: crossed(n, one, other, none, eta))(noise))
    assert ((child >= 0) & (child <= 1)).all()
    assert abs(child.mean() - 0.35) < 0.01  # both parents alike
    assert 0.4 < np.isin(child, np.asarray([0.2, 0.5], child.dtype)).mean() < 0.6
    kinds = jax.vmap(lambda n: crossed(n, one, other, ~none, eta))(noise)
    assert set(np.unique(kinds)) == set(np.asarray([0.2, 0.5], child.dtype))
    taken = swapped(noise[:, 0, 0], jnp.zeros(4000, DTYPE), jnp.ones(4000, DTYPE), 0.25)
    assert abs(float(taken.mean()) - 0.25) < 0.03


def test_mutation_stays_near_and_changes_something():
    noise = jax.random.uniform(jax.random.key(1), (4000, 3, 2), DTYPE)
    point, eta = jnp.asarray([0.02, 0.5], DTYPE), jnp.asarray(20.0, DTYPE)
    redrawn = jnp.asarray([False, True])

    def one(noise, probability):
        return mutated(noise, jnp.asarray(0, jnp.int32), point, redrawn, eta, probability)

    child = np.asarray(jax.vmap(one, in_axes=(0, None))(noise, jnp.asarray(0.5, DTYPE)))
    assert ((child >= 0) & (child <= 1)).all()
    assert (child[:, 0] != np.asarray(point[0])).mean() > 0.99
    assert np.abs(child[:, 0] - 0.02).mean() < 0.1
    changed = child[:, 1] != 0.5
    assert 0.45 < changed.mean() < 0.55
    assert np.abs(child[changed, 1].mean() - 0.5) < 0.03
    still = jax.vmap(one, in_axes=(0, None))(noise, jnp.asarray(0.0, DTYPE))
    assert (np.asarray(still[:, 1]) == 0.5).all()


@pytest.fixture(scope="module")
def small():
    """A small NSGA-II and its functions, compiled once."""
    sampler = hpo.samplers.nsga2(SPACE, population_size=4, batch_size=3)
    return sampler, jax.jit(sampler.init), jax.jit(sampler.ask), jax.jit(sampler.tell)


def values(unit):
    return jnp.stack([unit[:, 0] ** 2, (unit[:, 0] - 1) ** 2 + unit[:, 1]], axis=1)


def test_a_late_answer_takes_its_own_place(small):
    _, init, ask, tell = small
    key = jax.random.key(0)
    state, first = ask(key, init(key))
    state, second = ask(jax.random.fold_in(key, 1), state)
    in_order, _ = tell(key, state, first, hpo.Outcome(values(first)))
    in_order, _ = tell(key, in_order, second, hpo.Outcome(values(second)))
    both = jnp.concatenate([second, first])
    at_once, info = jax.jit(small[0].tell)(key, state, both, hpo.Outcome(values(both)))
    for one, other in zip(jax.tree.leaves(in_order), jax.tree.leaves(at_once), strict=True):
        np.testing.assert_array_equal(one, other)
    assert (at_once.number == -1).all()
    assert int(info.num_observed) == 6
    assert int(info.num_feasible) == 4


def test_failures_never_join_and_violations_lose(small):
    _, init, ask, tell = small
    key = jax.random.key(0)
    state = init(key)
    for number in range(6):
        state, unit = ask(jax.random.fold_in(key, number), state)
        value = values(unit).at[0, 1].set(jnp.nan)
        violation = jnp.asarray([[-1.0, -1.0], [-1.0, 2.0], [-1.0, -1.0]], DTYPE)
        state, info = tell(key, state, unit, hpo.Outcome(value, violation=violation))
    assert int(info.num_failed) == 6
    assert int(info.num_feasible) == 4
    assert np.isfinite(state.members.value[:4]).all()


def test_what_the_factories_refuse():
    with pytest.raises(ValueError, match="nsga2: `crossover` must be one of 'sbx', 'uniform'"):
        hpo.samplers.nsga2(SPACE, crossover="blx")
    with pytest.raises(ValueError, match="nsga3: `divisions` must be at least 1"):
        hpo.samplers.nsga3(SPACE, divisions=0)
    with pytest.raises(ValueError, match="`mutation_probability` must be at most 1"):
        hpo.samplers.nsga2(SPACE, mutation_probability=1.5)
    with pytest.raises(ValueError, match="`population_size` must be at least 4"):
        hpo.samplers.nsga2(SPACE, population_size=3)
    with pytest.raises(ValueError, match="`num_objectives` must be at least 1"):
        hpo.samplers.nsga2(SPACE, num_objectives=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nsga2", "nsga3"])
def test_the_front_of_zdt1_is_reached(name):
    problem = hpo.problems.zdt1(5)
    result = hpo.minimize(problem.objective, problem.space, name, key=0, num_trials=2000)
    front = result.trials.value[result.front]
    corner = jnp.asarray(problem.reference, front.dtype)
    whole = hpo.pareto.hypervolume(jnp.asarray(problem.front(1000), front.dtype), corner)
    assert hpo.pareto.hypervolume(front, corner) > 0.98 * whole
