"""Random search: the space's own distribution, without replacement where it is finite."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxhpo as hpo


def _draws(sampler, num_studies, seed=0):
    """First batch of many independent studies: `[num_studies, q, d]`."""

    def one(key):
        return sampler.ask(key, sampler.init(key))[1]

    keys = jax.random.split(jax.random.key(seed), num_studies)
    return np.asarray(jax.jit(jax.vmap(one))(keys))


def test_continuous_draws_are_uniform():
    space = hpo.Space({"x": hpo.uniform(0.0, 3.0), "y": hpo.log_uniform(1.0, 10.0)})
    unit = _draws(hpo.samplers.random(space, batch_size=4), 500).reshape(-1, 2)
    for column in unit.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(unit.T)[0, 1]) < 4 / np.sqrt(len(unit))


def test_constrained_draws_are_uniform_on_what_is_allowed():
    space = hpo.Space(
        {"x": hpo.uniform(0.0, 1.0), "y": hpo.uniform(0.0, 1.0)},
        constraints=[lambda values: values["x"] + values["y"] < 0.5],
    )
    unit = _draws(hpo.samplers.random(space), 3000).reshape(-1, 2)
    assert (unit.sum(axis=1) < 0.5).all()
    # In the triangle (sum / side)^2 and x / sum are uniform.
    total = unit.sum(axis=1)
    assert stats.kstest((total / 0.5) ** 2, "uniform").pvalue > 1e-3
    assert stats.kstest(unit[:, 0] / total, "uniform").pvalue > 1e-3


def test_draws_without_replacement_follow_the_weights():
    # The order of successive draws: p(a, b, c) = w_a · w_b / (1 - w_a) for weights w.
    weights = np.asarray([0.15, 0.25, 0.6])
    space = hpo.Space({"c": hpo.choice(["a", "b", "c"], weights=list(weights))})
    unit = _draws(hpo.samplers.random(space, batch_size=3), 4000)
    order = np.asarray(space.levels(jnp.asarray(unit)))[..., 0]
    orders = list(itertools.permutations(range(3)))
    observed = [int((order == np.asarray(o)).all(axis=1).sum()) for o in orders]
    expected = [4000 * weights[a] * weights[b] / (1 - weights[a]) for a, b, _ in orders]
    assert sum(observed) == 4000
    assert stats.chisquare(observed, expected).pvalue > 1e-3


def test_rare_options_come_last_but_come():
    space = hpo.Space({"c": hpo.choice(["rare", "common", "rarer"], weights=[1e-7, 1.0, 1e-9])})
    unit = _draws(hpo.samplers.random(space, batch_size=4), 200)
    order = np.asarray(space.levels(jnp.asarray(unit[:, :3])))[..., 0]
    assert (order[:, 0] == 1).all()
    assert (np.sort(order, axis=1) == np.arange(3)).all()
    assert np.isnan(unit[:, 3]).all()


def test_rows_follow_fold_in_whatever_the_batch():
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0)})
    key = jax.random.key(5)
    rows = [
        hpo.samplers.random(space, batch_size=q).ask(key, hpo.samplers.random(space).init(key))[1]
        for q in (2, 5)
    ]
    np.testing.assert_array_equal(rows[0], rows[1][:2])


@pytest.mark.parametrize("name", ["random", "qmc"])
def test_hashed_spaces_never_repeat(name):
    # 2^21 configurations, beyond what is enumerated, of which the objective's batch takes 3,000.
    space = hpo.Space(
        {"x": hpo.integer(1, 2**7, shape=(3,))},
        constraints=[lambda values: values["x"][0] != values["x"][1]],
    )
    sampler = hpo.samplers.get(name, space)
    result = hpo.minimize(
        lambda key, params: jnp.sum(params["x"]).astype(jnp.result_type(float)),
        space,
        sampler,
        key=1,
        num_trials=3000,
    )
    points = np.asarray(result.trials.params["x"])
    assert (result.trials.status == hpo.Status.COMPLETE).all()
    assert len(np.unique(points, axis=0)) == 3000
    assert (points[:, 0] != points[:, 1]).all()


@pytest.mark.parametrize("name", ["random", "qmc"])
def test_impossible_constraints_give_up(name):
    space = _shut(hpo.Space({"x": hpo.uniform(0.0, 1.0)}, constraints=[_below_one]))
    sampler = hpo.samplers.get(name, space, batch_size=2)
    key = jax.random.key(0)
    state, unit = jax.jit(sampler.ask)(key, sampler.init(key))
    assert np.isnan(unit).all()
    again = jax.jit(sampler.ask)(key, state)[1]
    assert np.isnan(again).all()


def _below_one(values):
    return values["x"] < 1.0


def _shut(space):
    """The same space with bounds that leave nothing allowed; bounds are not structure."""
    leaves, structure = jax.tree.flatten(space)
    assert leaves == [0.0, 1.0]
    return jax.tree.unflatten(structure, [3.0, 4.0])


@pytest.mark.parametrize("factory", [hpo.samplers.random, hpo.samplers.qmc, hpo.samplers.grid])
def test_bad_arguments(factory):
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0)})
    with pytest.raises(TypeError, match="`space` must be a Space, got {}"):
        factory({})
    with pytest.raises(ValueError, match="`batch_size` must be at least 1, got 0"):
        factory(space, batch_size=0)
    with pytest.raises(TypeError, match="`batch_size` must be an integer"):
        factory(space, batch_size=1.5)
    with pytest.raises(ValueError, match="`space` must be one with a dimension that is not fixed"):
        factory(hpo.Space({"x": hpo.fixed(1.0)}))


@pytest.mark.parametrize("name", ["random", "qmc", "grid"])
def test_bad_tells(name):
    sampler = hpo.samplers.get(name, hpo.Space({"x": hpo.uniform(0.0, 1.0)}))
    key = jax.random.key(0)
    state = sampler.init(key)
    with pytest.raises(ValueError, match=rf"{name}.tell: `unit` must be of shape \[q, 1\]"):
        sampler.tell(key, state, jnp.zeros((2, 3)), hpo.Outcome(jnp.zeros(2)))
    with pytest.raises(ValueError, match=rf"{name}.tell: `outcome.value` must be of shape \[2\]"):
        sampler.tell(key, state, jnp.zeros((2, 1)), hpo.Outcome(jnp.zeros(3)))


def test_names():
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0)})
    for name in hpo.samplers.names():
        assert isinstance(hpo.samplers.get(name, space, batch_size=2), hpo.Sampler)
    ready = hpo.samplers.random(space)
    assert hpo.samplers.get(ready, space) is ready
    known = ", ".join(hpo.samplers.names())
    with pytest.raises(ValueError, match=f"`name` must be one of {known}, got 'annealing'"):
        hpo.samplers.get("annealing", space)
    with pytest.raises(TypeError, match="`name` must be a name or a Sampler, got 3"):
        hpo.samplers.get(3, space)
    with pytest.raises(TypeError, match="got a ready sampler"):
        hpo.samplers.get(ready, space, batch_size=2)
