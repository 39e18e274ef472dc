"""Samplers made of samplers, and the choice of one."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo import samplers

SPACE = hpo.Space({"x": hpo.uniform(-2.0, 3.0), "y": hpo.uniform(0.0, 1.0)})
FINITE = hpo.Space({"a": [1, 2, 3], "b": [True, False]})


def objective(key, params):
    return (params["x"] - 1.0) ** 2 + params["y"]


def test_warm_start_knows_what_it_was_told():
    known = [{"a": 1, "b": True}, {"a": 3, "b": False}]
    sampler = samplers.warm_start(samplers.random(FINITE), FINITE, known, [1.0, 2.0])
    result = hpo.minimize(lambda key, params: params["a"], FINITE, sampler, key=0, num_trials=6)
    rows = FINITE.decode(jax.tree.map(lambda leaf: leaf[:4], result.trials.params))
    assert len({repr(row) for row in rows}) == 4
    assert all(row not in known for row in rows)
    assert np.isnan(np.asarray(result.trials.unit[4:])).all()


def test_warm_start_makes_room_for_what_it_was_told():
    unit = jax.random.uniform(jax.random.key(0), (100, 2))
    told = hpo.Outcome(unit[:, 0])
    sampler = samplers.warm_start(samplers.tpe(SPACE, capacity=8), SPACE, unit, told)
    result = hpo.minimize(objective, SPACE, sampler, key=0, num_trials=4)
    assert int(result.info.num_dropped[-1]) == 0
    assert int(result.info.num_observed[-1]) == 104


def test_warm_start_refuses_what_does_not_fit():
    sampler = samplers.random(SPACE)
    with pytest.raises(ValueError, match=r"warm_start: `points` must be of shape \[n, 2\]"):
        samplers.warm_start(sampler, SPACE, jnp.zeros((3, 1)), [0.0] * 3)
    with pytest.raises(ValueError, match="warm_start: `outcomes` must be 3 values"):
        samplers.warm_start(sampler, SPACE, jnp.zeros((3, 2)), [0.0])
    with pytest.raises(TypeError, match="warm_start: `points` must be a list of params"):
        samplers.warm_start(sampler, SPACE, {"x": [0.0, 1.0], "y": [0.0, 1.0]}, [0.0, 1.0])
    with pytest.raises(ValueError, match="warm_start: `points` must be in the unit cube"):
        samplers.warm_start(sampler, SPACE, [[1.5, 0.5]], [0.0])
    with pytest.raises(TypeError, match="warm_start: `outcomes` must be an array of real"):
        samplers.warm_start(sampler, SPACE, jnp.zeros((3, 2)), "abc")
    with pytest.raises(ValueError, match="warm_start: `points` must be at least one trial"):
        samplers.warm_start(sampler, SPACE, [], [])
    with pytest.raises(TypeError, match="warm_start: `sampler` must be a Sampler"):
        samplers.warm_start("random", SPACE, jnp.zeros((3, 2)), [0.0] * 3)


def test_mixture_asks_by_weight_and_tells_all():
    parts = [samplers.random(SPACE), samplers.pattern(SPACE, num_startup=2)]
    sampler = samplers.mixture(parts, weights=[1.0, 3.0])
    result = hpo.minimize(objective, SPACE, sampler, key=0, num_trials=200)
    asked = np.asarray(result.info.num_asked[-1])
    assert asked.sum() == 200
    assert 120 < asked[1] < 180
    for part in result.info.parts:
        assert int(part.num_observed[-1]) == 200
    assert float(result.best_value) < 1e-3


def test_mixture_refuses_what_does_not_fit():
    one = samplers.random(SPACE)
    with pytest.raises(ValueError, match="at least two samplers"):
        samplers.mixture([one])
    with pytest.raises(ValueError, match="one space and batch size"):
        samplers.mixture([one, samplers.random(SPACE, batch_size=2)])
    with pytest.raises(ValueError, match="`weights` must be greater than 0"):
        samplers.mixture([one, one], weights=[1.0, 0.0])
    with pytest.raises(TypeError, match="`samplers` must be Samplers"):
        samplers.mixture([one, "tpe"])


def test_restarts_after_patience_without_progress():
    sampler = samplers.with_restarts(samplers.pattern(SPACE, num_startup=3), SPACE, patience=7)

    def flat(key, params):
        return 1.0

    result = hpo.minimize(flat, SPACE, sampler, key=0, num_trials=40)
    restarts = np.asarray(result.info.num_restarts)
    # The first trial of a run is its best; it ends seven later.
    assert np.flatnonzero(np.diff(restarts)).tolist() == [6, 14, 22, 30, 38][: restarts[-1]]


@pytest.mark.slow
def test_restarts_repeat_nothing_on_a_finite_space():
    sampler = samplers.with_restarts(samplers.pattern(FINITE, num_startup=1), FINITE, patience=1)
    result = hpo.minimize(lambda key, params: 0.0, FINITE, sampler, key=0, num_trials=8)
    rows = np.asarray(result.trials.unit)
    assert len(np.unique(rows[:6], axis=0)) == 6
    assert np.isnan(rows[6:]).all()


@pytest.mark.slow
def test_restarts_keep_the_size_of_buffers():
    sampler = samplers.with_restarts(samplers.tpe(SPACE, capacity=16), SPACE, patience=5)
    assert sampler.resize is not None
    state = sampler.resize(sampler.init(jax.random.key(0)), 32)
    unit = jnp.full((6, 2), 0.25, jnp.result_type(float))
    after, info = sampler.tell(jax.random.key(1), state, unit, hpo.Outcome(jnp.full(6, jnp.nan)))
    assert int(info.num_restarts) == 1
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)


def test_replicates_tell_mean_and_standard_error():
    def noisy(key, params):
        return params["x"] + 2.0 * jax.random.normal(key, (), params["x"].dtype)

    told = hpo.replicates(noisy, 16)
    params = {"x": jnp.asarray(3.0)}
    outcome = told(jax.random.key(0), params)
    values = [float(noisy(key, params)) for key in jax.random.split(jax.random.key(0), 16)]
    assert float(outcome.value) == pytest.approx(np.mean(values), rel=1e-5)
    assert float(outcome.se) == pytest.approx(np.std(values, ddof=1) / 4, rel=1e-4)
    result = hpo.minimize(told, SPACE, "random", key=0, num_trials=4, batch_size=2)
    assert np.isfinite(np.asarray(result.trials.value)).all()
    assert jax.tree.structure(hpo.replicates(noisy, 16)) == jax.tree.structure(told)


def test_a_failed_replicate_fails_the_trial_and_constraints_must_always_hold():
    def sometimes(key, params):
        draw = jax.random.uniform(key)
        return hpo.Outcome(jnp.where(draw < 0.5, jnp.nan, 1.0), violation=draw - 0.9)

    outcome = hpo.replicates(sometimes, 32)(jax.random.key(0), {})
    assert np.isnan(float(outcome.value))
    draws = jax.vmap(jax.random.uniform)(jax.random.split(jax.random.key(0), 32))
    assert float(outcome.violation) == pytest.approx(float(draws.max()) - 0.9, abs=1e-6)
    with pytest.raises(ValueError, match="replicates: `count` must be at least 2"):
        hpo.replicates(sometimes, 1)


WIDE = hpo.Space({"x": hpo.uniform(0, 1, shape=(20,))})
KINDS = hpo.Space({f"k{i}": hpo.choice(list("abc")) for i in range(40)})
MIXED = hpo.Space({"x": hpo.uniform(0, 1, shape=(40,)), "k": hpo.choice(list("abc"))})
CONDITIONAL = hpo.Space(
    {"m": hpo.choice({"a": {"x": hpo.uniform(0, 1)}, "b": {"n": hpo.integer(1, 9)}})}
)


@pytest.mark.parametrize(
    ("space", "facts", "name"),
    [
        (SPACE, {"num_trials": 5}, "qmc"),
        (SPACE, {"num_trials": 3, "num_objectives": 2}, "qmc"),
        (SPACE, {"num_trials": 100}, "gp"),
        (SPACE, {}, "gp"),
        (SPACE, {"num_trials": 5000}, "cma_es"),
        (SPACE, {"num_trials": 100, "has_gradient": True}, "gradient"),
        (SPACE, {"num_trials": 100, "num_objectives": 2}, "gp_multi"),
        (SPACE, {"num_objectives": 5}, "gp_multi"),
        (SPACE, {"num_trials": 1000, "num_objectives": 2}, "nsga2"),
        (SPACE, {"num_trials": 1000, "num_objectives": 5}, "nsga3"),
        (hpo.Space({"x": hpo.uniform(0, 1, shape=(50,))}), {"num_objectives": 2}, "nsga2"),
        (FINITE, {"num_trials": 5000, "has_gradient": True}, "tpe"),
        (CONDITIONAL, {"num_trials": 5000}, "cma_es"),
        (KINDS, {"num_trials": 5000}, "tpe"),
        (KINDS, {"num_trials": 100}, "tpe"),
        (MIXED, {"num_trials": 5000}, "cma_es"),
        (MIXED, {"num_trials": 100}, "tpe"),
        (hpo.Space({"x": hpo.uniform(0, 1, shape=(50,))}), {"num_trials": 5000}, "cma_es"),
        (hpo.Space({"x": hpo.uniform(0, 1, shape=(50,))}), {"num_trials": 100}, "cma_es"),
        (hpo.Space({"n": hpo.integer(0, 9, shape=(50,))}), {}, "cma_es"),
        (hpo.Space({"n": hpo.integer(0, 9, shape=(20,))}), {"num_trials": 200}, "gp"),
        (WIDE, {"num_trials": 200}, "turbo"),
        (WIDE, {"num_trials": 90}, "gp"),
        (WIDE, {}, "gp"),
        (WIDE, {"num_trials": 600}, "cma_es"),
        (WIDE, {"num_trials": 200, "has_constraints": True}, "gp"),
        (hpo.Space({"x": hpo.uniform(0, 1, shape=(50,))}), {"num_trials": 300}, "turbo"),
    ],
)
def test_choice(space, facts, name, caplog):
    choice = samplers.choose(space, **facts)
    assert choice.name == name
    assert choice.reason.endswith(".")
    with caplog.at_level(logging.INFO, "jaxhpo"):
        sampler = samplers.auto(space, **facts)
    assert isinstance(sampler, hpo.Sampler)
    assert f"auto: {name}, because {choice.reason}" in caplog.text


@pytest.mark.parametrize(
    ("facts", "is_modelled"),
    [
        ({"num_trials": 100}, True),
        ({"num_trials": 100, "num_objectives": 2}, True),
        ({"num_trials": 5000}, False),
        ({"num_trials": 5000, "num_objectives": 2}, False),
    ],
)
def test_constraints_are_modelled_where_a_model_is_chosen(facts, is_modelled):
    choice = samplers.choose(SPACE, has_constraints=True, **facts)
    assert choice.settings.get("constrained", False) is is_modelled
    assert isinstance(samplers.auto(SPACE, has_constraints=True, **facts), hpo.Sampler)


@pytest.mark.parametrize("name", ["gp", "auto"])
def test_minimize_tells_a_sampler_by_name_that_there_are_constraints(name):
    problem = hpo.problems.g24()

    def best(sampler):
        return hpo.minimize(
            problem.objective, problem.space, sampler, key=1, num_trials=20
        ).best_value

    made = samplers.gp(problem.space, constrained=True)
    assert float(best(name)) == float(best(made))


def test_minimize_tells_auto_how_many_trials_there_are():
    found = [
        hpo.minimize(objective, SPACE, name, key=0, num_trials=5).best_value
        for name in ("auto", "qmc")
    ]
    assert float(found[0]) == float(found[1])
    many = hpo.minimize_many(
        objective, SPACE, "auto", keys=jax.random.split(jax.random.key(0), 2), num_trials=5
    )
    assert many.best_value.shape == (2,)


def test_choice_refuses_what_it_cannot_mean():
    with pytest.raises(ValueError, match=r"samplers.choose: `num_trials` must be at least 1"):
        samplers.choose(SPACE, num_trials=0)
    with pytest.raises(TypeError, match=r"samplers.choose: `has_gradient` must be True or False"):
        samplers.choose(SPACE, has_gradient=1)
