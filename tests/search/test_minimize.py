"""The pure loop: what it records, what it refuses, and how seldom it compiles."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo.search._minimize import _segments, trial_keys

SPACE = hpo.Space({"x": hpo.uniform(-2.0, 3.0), "y": hpo.log_uniform(1e-2, 1e2)})
FINITE = hpo.Space({"n": hpo.integer(1, 5)})


def quadratic(key, params):
    return (params["x"] - 1.0) ** 2 + jnp.log(params["y"]) ** 2


def noisy(key, params):
    return params["x"] + jax.random.normal(key, (), params["x"].dtype)


def test_result_is_consistent():
    result = hpo.minimize(quadratic, SPACE, "qmc", key=0, num_trials=37, batch_size=5)
    trials = result.trials
    assert trials.value.shape == result.best_so_far.shape == trials.status.shape == (37,)
    assert trials.unit.shape == (37, 2)
    assert trials.status.dtype == jnp.int32
    np.testing.assert_array_equal(trials.params["x"], SPACE.from_unit(trials.unit)["x"])
    np.testing.assert_allclose(
        trials.value, jax.vmap(lambda p: quadratic(None, p))(trials.params), rtol=1e-4
    )
    np.testing.assert_array_equal(result.best_so_far, np.minimum.accumulate(trials.value))
    best = int(jnp.argmin(trials.value))
    assert result.best_value == trials.value[best] == result.best_so_far[-1]
    assert result.best_params["y"] == trials.params["y"][best]
    assert result.best_params["y"].shape == ()
    assert result.info.num_observed.tolist() == [5, 10, 15, 20, 25, 30, 35, 37]


@pytest.mark.parametrize("name", ["random", "qmc"])
def test_batch_size_changes_neither_draws_nor_noise(name):
    results = [
        hpo.minimize(noisy, SPACE, name, key=4, num_trials=9, batch_size=q) for q in (None, 2, 9)
    ]
    for other in results[1:]:
        np.testing.assert_array_equal(results[0].trials.unit, other.trials.unit)
        np.testing.assert_allclose(results[0].trials.value, other.trials.value, rtol=1e-5)


def test_trial_keys_decide():
    result = hpo.minimize(noisy, SPACE, "random", key=4, num_trials=3)
    key_trials = jax.random.split(jax.random.key(4))[1]
    for number in range(3):
        keys = trial_keys(key_trials, number)
        params = jax.tree.map(lambda leaf, number=number: leaf[number], result.trials.params)
        expected = noisy(keys.objective, params)
        np.testing.assert_allclose(result.trials.value[number], expected, rtol=1e-5, atol=1e-5)


def test_a_batching_sampler_keeps_its_batches():
    sampler = hpo.samplers.qmc(SPACE, batch_size=4)
    single = hpo.samplers.qmc(SPACE)
    for q in (None, 4, 8):
        result = hpo.minimize(quadratic, SPACE, sampler, key=1, num_trials=10, batch_size=q)
        expected = hpo.minimize(quadratic, SPACE, single, key=1, num_trials=10)
        np.testing.assert_array_equal(result.trials.unit, expected.trials.unit)
    with pytest.raises(ValueError, match="`batch_size` must be a multiple of the 4 points"):
        hpo.minimize(quadratic, SPACE, sampler, key=1, num_trials=10, batch_size=6)


@pytest.mark.parametrize("q", [1, 3])
def test_failed_and_infeasible_trials_are_never_best(q):
    def objective(key, params):
        n = params["n"].astype(jnp.result_type(float))
        value = jnp.select([n == 1, n == 2, n == 3], [jnp.nan, -jnp.inf, -50.0], n)
        violation = jnp.stack([n - 4.5, jnp.where(n == 3, 1.0, -1.0)])
        return hpo.Outcome(value, violation=violation)

    result = hpo.minimize(objective, FINITE, "grid", key=0, num_trials=7, batch_size=q)
    status = [int(s) for s in result.trials.status]
    assert status == [2, 2, 4, 1, 4, 0, 0]
    assert int(result.best_params["n"]) == 4
    assert result.best_value == 4.0
    np.testing.assert_array_equal(result.best_so_far[:4], [np.inf, np.inf, np.inf, 4.0])
    assert np.isnan(result.trials.value[5:]).all()
    assert np.isnan(result.trials.unit[5:]).all()
    assert result.info.num_observed[-1] == 5
    assert result.info.num_failed[-1] == 2
    assert result.info.status[-1] == hpo.Status.EMPTY


def test_nothing_completed():
    result = hpo.minimize(lambda key, params: jnp.nan, SPACE, "qmc", key=0, num_trials=3)
    assert np.isinf(result.best_value)
    assert result.best_params["x"] == result.trials.params["x"][0]
    assert (result.trials.status == hpo.Status.FAILED).all()


def test_nothing_is_evaluated_for_an_empty_row():
    seen = []

    def objective(key, params):
        jax.debug.callback(lambda n: seen.append(int(n)), params["n"])
        return params["n"]

    result = hpo.minimize(objective, FINITE, "grid", key=0, num_trials=9)
    jax.block_until_ready(result)
    jax.effects_barrier()
    assert sorted(seen) == [1, 2, 3, 4, 5]
    assert result.best_value == 1.0


def test_raise_on_failure():
    def objective(key, params):
        return jnp.where(params["n"] == 2, jnp.nan, params["n"].astype(jnp.result_type(float)))

    with pytest.raises(RuntimeError, match="1 of 5 trials failed, the first of them trial 1: the"):
        hpo.minimize(objective, FINITE, "grid", key=0, num_trials=5, raise_on_failure=True)
    hpo.minimize(objective, FINITE, "grid", key=0, num_trials=1, raise_on_failure=True)
    with pytest.raises(ValueError, match="`raise_on_failure` must be False under a transformation"):
        jax.jit(
            lambda key: hpo.minimize(
                objective, FINITE, "grid", key=key, num_trials=1, raise_on_failure=True
            )
        )(jax.random.key(0))


def test_another_space_of_equal_structure_does_not_compile_again():
    traces = []

    def objective(key, params):
        traces.append(1)
        return params["x"] ** 2

    def run(low, key, num_trials=5):
        space = hpo.Space({"x": hpo.uniform(low, low + 3.0)})
        sampler = hpo.samplers.qmc(space)
        return hpo.minimize(objective, space, sampler, key=key, num_trials=num_trials)

    first = run(-1.0, 0)
    assert len(traces) == 1
    second = run(10.0, 1)
    assert len(traces) == 1
    assert 10.0 <= second.best_params["x"] <= 13.0
    assert -1.0 <= first.best_params["x"] <= 2.0
    run(0.0, 0, num_trials=6)
    assert len(traces) == 2


def test_under_vmap_and_jit():
    keys = jax.random.split(jax.random.key(0), 3)

    def run(key):
        return hpo.minimize(noisy, SPACE, "random", key=key, num_trials=6)

    batched = jax.jit(jax.vmap(run))(keys)
    assert batched.best_so_far.shape == (3, 6)
    for number, key in enumerate(keys):
        single = run(key)
        np.testing.assert_array_equal(batched.trials.unit[number], single.trials.unit)
        np.testing.assert_allclose(batched.best_value[number], single.best_value, rtol=1e-5)


def test_vmap_over_what_the_objective_closes_over():
    def best(target):
        result = hpo.minimize(
            lambda key, params: (params["x"] - target) ** 2, SPACE, "qmc", key=0, num_trials=128
        )
        return result.best_params["x"]

    targets = jnp.asarray([-1.5, 0.0, 2.2])
    np.testing.assert_allclose(jax.vmap(best)(targets), targets, atol=0.1)


def test_vmap_over_bounds():
    def best(low):
        space = hpo.Space({"x": hpo.uniform(low, low + 1.0)})
        sampler = hpo.samplers.qmc(space)
        result = hpo.minimize(lambda key, params: params["x"], space, sampler, key=0, num_trials=32)
        return result.best_value

    lows = jnp.asarray([-5.0, 7.0])
    found = jax.vmap(best)(lows)
    assert ((found >= lows) & (found < lows + 0.1)).all()


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Shifted:
    """An objective that is itself a pytree: its array is an argument, not a constant."""

    shift: jax.Array

    def __call__(self, key, params):
        Shifted.traces += 1
        return (params["x"] - self.shift) ** 2


def test_a_pytree_objective_does_not_compile_again():
    Shifted.traces = 0
    for shift in (0.5, 2.0):
        objective = Shifted(jnp.asarray(shift))
        result = hpo.minimize(objective, SPACE, "qmc", key=0, num_trials=128)
        assert abs(result.best_params["x"] - shift) < 0.1
    assert Shifted.traces == 1


def test_an_objective_that_cannot_be_hashed():
    class Unhashable:
        __hash__ = None

        def __call__(self, key, params):
            return params["x"]

    result = hpo.minimize(Unhashable(), SPACE, "qmc", key=0, num_trials=2)
    assert result.trials.value.shape == (2,)


@pytest.mark.parametrize("key", [7, np.int64(7), jax.random.key(7), jax.random.PRNGKey(7)])
def test_keys_of_every_kind(key):
    result = hpo.minimize(noisy, SPACE, "random", key=key, num_trials=3)
    expected = hpo.minimize(noisy, SPACE, "random", key=jax.random.key(7), num_trials=3)
    np.testing.assert_array_equal(result.trials.value, expected.trials.value)


@pytest.mark.parametrize("returned", [1, 2.5, np.float32(1.0), jnp.asarray(3), jnp.bfloat16(2.0)])
def test_real_scalars_of_every_kind(returned):
    result = hpo.minimize(lambda key, params: returned, SPACE, "qmc", key=0, num_trials=1)
    assert result.best_value == float(returned)
    assert result.best_value.dtype == jnp.result_type(float)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (
            lambda params: params["x"][None, None],
            "a scalar or a vector of real numbers as `value`, got shape (1, 1)",
        ),
        (lambda params: jnp.zeros(0), "a scalar or a vector of real numbers as `value`, got shape"),
        (
            lambda params: hpo.Outcome(jnp.zeros(2), se=params["x"]),
            "one number per objective of real numbers as `se`, got shape ()",
        ),
        (lambda params: None, "a real scalar or an Outcome, got `value` NoneType None"),
        (lambda params: params, "a real scalar or an Outcome, got `value` dict"),
        (lambda params: "low", "a real scalar or an Outcome, got `value` str 'low'"),
        (lambda params: params["x"] > 0, "as `value`, got shape () and dtype bool"),
        (
            lambda params: jax.lax.complex(params["x"], params["x"]),
            "as `value`, got shape () and dtype comp",
        ),
        (
            lambda params: hpo.Outcome(params["x"], gradient=params["x"]),
            "of shape (2,) of real numbers as `gradient`, got shape ()",
        ),
        (
            lambda params: hpo.Outcome(params["x"], violation=jnp.zeros((2, 2))),
            "a scalar or vector of real numbers as `violation`, got shape (2, 2)",
        ),
    ],
)
def test_what_an_objective_must_not_return(returned, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        hpo.minimize(lambda key, params: returned(params), SPACE, "qmc", key=0, num_trials=2)


def test_an_objective_that_is_not_traceable():
    def objective(key, params):
        return 1.0 if params["x"] > 0 else 2.0

    needs = r"minimize: `objective` needs `params\['x'\]` as a Python number .*jnp\.where"
    with pytest.raises(TypeError, match=needs) as caught:
        hpo.minimize(objective, SPACE, "qmc", key=0, num_trials=2)
    note = caught.value.__notes__[0]
    assert "`objective` raised while JAX traced objective(key, params)" in note
    assert "For an ordinary Python objective use Study." in note


def test_an_objective_that_raises_keeps_its_error():
    with pytest.raises(KeyError, match="learning_rate") as caught:
        hpo.minimize(lambda key, params: params["learning_rate"], SPACE, "qmc", key=0, num_trials=2)
    assert "'x': 'f" in caught.value.__notes__[0]


def test_bad_arguments():
    def run(objective=quadratic, space=SPACE, sampler="qmc", key=0, num_trials=2, batch_size=None):
        hpo.minimize(
            objective, space, sampler, key=key, num_trials=num_trials, batch_size=batch_size
        )

    with pytest.raises(TypeError, match="minimize: `objective` must be callable, got 3"):
        run(objective=3)
    with pytest.raises(TypeError, match="minimize: `space` must be a Space, got {}"):
        run(space={})
    with pytest.raises(ValueError, match="`sampler` must be .*qmc, random.*, got 'annealing'"):
        run(sampler="annealing")
    with pytest.raises(TypeError, match="must be a Sampler or its name"):
        run(sampler=hpo.samplers.random)
    with pytest.raises(ValueError, match="minimize: `num_trials` must be at least 1, got 0"):
        run(num_trials=0)
    with pytest.raises(ValueError, match="minimize: `batch_size` must be at least 1, got 0"):
        run(batch_size=0)
    with pytest.raises(TypeError, match="minimize: `key` must be a key"):
        run(key="seed")
    with pytest.raises(ValueError, match="`sampler` must be made for this space of 2 dimensions"):
        run(sampler=hpo.samplers.qmc(FINITE))
    static = hpo.Space({"width": hpo.static([8, 16])})
    with pytest.raises(TypeError, match="no static dimension.*use Study or population.sweep"):
        run(space=static)


def test_conditional_spaces_and_vectors():
    space = hpo.Space(
        {
            "model": hpo.choice({"a": {"w": hpo.uniform(0.0, 1.0, shape=(3,))}, "b": {}}),
            "k": ["p", "q"],
        }
    )

    def objective(key, params):
        of_a = jnp.sum(params["model"].options[0]["w"])
        return jnp.where(params["model"].index == 0, of_a, 10.0)

    result = hpo.minimize(objective, space, "random", key=0, num_trials=40, batch_size=8)
    assert int(result.best_params["model"].index) == 0
    assert space.decode(result.best_params)["model"]["a"].keys() == {"w"}
    assert result.best_value < 2.0


@pytest.mark.parametrize("rounds", [1, 3, 63, 250, 1000])
@pytest.mark.parametrize("q", [1, 16, 100, 4096])
def test_segments_cover_all_rounds_once(rounds, q):
    # Batches that do not divide the first capacity once made the search for segments endless.
    sampler = hpo.samplers.qmc(SPACE)._replace(resize=lambda state, capacity: state)
    segments = _segments(rounds, q, sampler)
    assert [number for first, last in segments for number in range(first, last)] == list(
        range(rounds)
    )
    assert all(first < last for first, last in segments)


def two_values(key, params):
    x = params["x"]
    return jnp.stack([x**2, (x - 2.0) ** 2])


def test_several_objectives_have_a_front_and_a_best_of_each():
    def objective(key, params):
        value = two_values(key, params)
        value = jnp.where(params["x"] > 2.5, jnp.nan, value)
        return hpo.Outcome(value, violation=0.5 - params["x"])

    result = hpo.minimize(objective, SPACE, "qmc", key=0, num_trials=40, batch_size=8)
    value, x = np.asarray(result.trials.value), np.asarray(result.trials.params["x"])
    assert value.shape == result.best_so_far.shape == (40, 2)
    is_complete = (x >= 0.5) & (x <= 2.5)
    np.testing.assert_array_equal(result.trials.status == hpo.Status.COMPLETE, is_complete)
    np.testing.assert_array_equal(result.trials.status == hpo.Status.FAILED, x > 2.5)
    no_better = [
        not any((value[j] <= value[i]).all() and (value[j] < value[i]).any() for j in range(40)
                if is_complete[j])
        for i in range(40)
    ]  # fmt: skip
    np.testing.assert_array_equal(result.front, is_complete & no_better)
    rows = np.where(is_complete[:, None], value, np.inf)
    np.testing.assert_array_equal(result.best_so_far, np.minimum.accumulate(rows))
    np.testing.assert_array_equal(result.best_value, rows.min(axis=0))
    np.testing.assert_array_equal(result.best_params["x"], x[rows.argmin(axis=0)])


def test_a_vector_of_one_objective_is_a_scalar():
    def scalar(key, params):
        return hpo.Outcome(params["x"] ** 2, se=params["x"])

    def vector(key, params):
        return hpo.Outcome((params["x"] ** 2)[None], se=params["x"][None])

    one, other = (hpo.minimize(f, SPACE, "qmc", key=0, num_trials=4) for f in (scalar, vector))
    assert one.front is other.front is None
    assert jax.tree.structure(one) == jax.tree.structure(other)
    np.testing.assert_array_equal(one.trials.value, other.trials.value)


def test_several_objectives_under_vmap_and_without_any_success():
    def run(key):
        return hpo.minimize(
            lambda k, p: jnp.full(3, jnp.nan), SPACE, "random", key=key, num_trials=5
        )

    result = jax.vmap(run)(jax.random.split(jax.random.key(0), 2))
    assert result.front.shape == (2, 5)
    assert not result.front.any()
    assert np.isinf(result.best_value).all()
    assert result.best_params["x"].shape == (2, 3)


def test_a_sampler_of_one_objective_names_those_of_several():
    calls = []

    def objective(key, params):
        calls.append(1)
        return two_values(key, params)

    expected = r"`sampler` must take 2 objectives, such as .*nsga2 or .*; grid, qmc, random"
    for name in ("de", "cma_es"):
        with pytest.raises(ValueError, match=expected):
            hpo.minimize(objective, SPACE, name, key=0, num_trials=5)
    assert len(calls) == 2  # traced, and nothing ran
    three = hpo.samplers.nsga2(SPACE, num_objectives=3)
    with pytest.raises(ValueError, match=r"of shape \[q, 3\], since num_objectives=3"):
        hpo.minimize(objective, SPACE, three, key=0, num_trials=5)


def test_a_sampler_by_name_is_made_for_the_objectives_there_are():
    def shapes(objective):
        return jax.eval_shape(lambda: hpo.minimize(objective, SPACE, "nsga2", key=0, num_trials=3))

    three = shapes(lambda k, p: jnp.stack([p["x"], -p["x"], p["y"]]))
    assert three.trials.value.shape == (3, 3)
    assert shapes(quadratic).front is None
    many = jax.eval_shape(
        lambda keys: hpo.minimize_many(
            two_values, SPACE, "nsga2", keys=keys, num_trials=3, layout="vmap"
        ),
        jax.random.split(jax.random.key(0), 2),
    )
    assert many.front.shape == (2, 3)
