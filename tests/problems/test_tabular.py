"""Tabular tasks: what they compute, against other programs, and over what they are vmappable."""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxhpo.problems import tabular
from jaxhpo.problems.tabular import _base, _network


def cut(data, instance):
    return jax.tree.map(np.asarray, _base.split(data, jnp.asarray(instance, jnp.int32)))


def evaluated(task, instance, params, key=None):
    """The loss of a configuration given by plain values."""
    key = jax.random.key(0) if key is None else key
    instance = jnp.asarray(instance, jnp.int32)
    return _evaluate(task.evaluate)(key, instance, task.space.encode(params))


_evaluate = functools.cache(jax.jit)


@pytest.mark.parametrize("name", ["gauss", "cubic"])
def test_kernel_agrees_with_scikit_learn(name):
    from sklearn.kernel_ridge import KernelRidge

    task = tabular.problem("kernel_diabetes")
    scale = np.linspace(0.1, 0.3, 10)
    option = {"gauss": {}, "cubic": {"offset": 2.0}}[name]
    params = {"kernel": {name: option}, "scale": scale, "penalty": 0.5, "centre": True}
    parts = cut(_base.data_set("test", "diabetes"), 3)
    settings = {
        "gauss": {"kernel": "rbf", "gamma": 0.5},
        "cubic": {"kernel": "poly", "degree": 3, "gamma": 1 / 3, "coef0": 2 / 3},
    }[name]
    mean = parts.y.mean()
    model = KernelRidge(alpha=0.5, **settings).fit(parts.x * scale, parts.y - mean)
    outputs = model.predict(parts.x_validation * scale) + mean
    expected = np.mean((outputs - parts.y_validation) ** 2)
    found = evaluated(task, 3, params)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_linear_converges_to_scikit_learn():
    """The plain ridge penalty, as far as a hundred accelerated steps come."""
    from sklearn.linear_model import LogisticRegression

    task = tabular.problem("linear_wine")
    params = {
        "penalty": {"ridge": {"weight": 0.1}},
        "rate": 0.3,
        "momentum": 0.8,
        "steps": 100,
        "smoothing": 0.0,
        "power": 1.0,
        "clip": 10.0,
    }
    parts = cut(_base.data_set("test", "wine"), 1)
    model = LogisticRegression(C=1 / (0.1 * len(parts.y)), tol=1e-8, max_iter=1000)
    model.fit(parts.x, parts.y)
    log_probabilities = model.predict_log_proba(parts.x_validation)
    expected = -np.mean(log_probabilities[np.arange(len(parts.y_validation)), parts.y_validation])
    found = evaluated(task, 1, params)
    np.testing.assert_allclose(found, expected, rtol=2e-3)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_network_is_the_small_network_that_it_stands_for(optimizer):
    """No buffers: 5 units, 8 rows and 6 steps, by optax's own optimizers."""
    width, batch, steps, rate, decay, noise = 5, 8, 6, 0.05, 0.01, 0.3
    options = {"sgd": {"rate": rate, "momentum": 0.7}, "adam": {"rate": rate}}
    task, data = tabular.problem("network_wine"), _base.data_set("test", "wine")
    params = {
        "optimizer": {optimizer: options[optimizer]},
        "schedule": "cosine",
        "steps": steps,
        "batch_size": batch,
        "width": width,
        "activation": "tanh",
        "scale": 2.0,
        "decay": decay,
        "noise": noise,
    }
    key, instance = jax.random.key(5), jnp.asarray(2, jnp.int32)
    found = evaluated(task, 2, params, key)

    parts = _base.split(data, instance)
    key_init, key_train = jax.random.split(key)
    dtype = parts.x.dtype
    first = _network._weights(key_init, data, jnp.asarray(2.0, dtype), jnp.asarray(5.0, dtype))
    weights = {
        "w1": first["w1"][:, :width],
        "b1": first["b1"][:width],
        "w2": first["w2"][:width],
        "b2": first["b2"],
    }
    schedule = optax.cosine_decay_schedule(rate, steps)
    transform = {"sgd": optax.trace(0.7), "adam": optax.scale_by_adam()}[optimizer]
    chain = optax.chain(
        transform, optax.add_decayed_weights(decay), optax.scale_by_learning_rate(schedule)
    )

    def loss(weights, x, y):
        hidden = jnp.tanh(x @ weights["w1"] + weights["b1"][None])
        logits = hidden @ weights["w2"] + weights["b2"][None]
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    @jax.jit
    def train(weights):
        state = chain.init(weights)
        for t in range(steps):
            key_rows, key_noise = jax.random.split(jax.random.fold_in(key_train, t))
            shape = (_network.MAX_BATCH,)
            rows = jax.random.randint(key_rows, shape, 0, parts.x.shape[0], jnp.int32)
            draws = jax.random.normal(key_noise, (*shape, parts.x.shape[1]), dtype)
            x = (parts.x[rows] + noise * draws)[:batch]
            update, state = chain.update(
                jax.grad(loss)(weights, x, parts.y[rows][:batch]), state, weights
            )
            weights = optax.apply_updates(weights, update)
        return loss(weights, parts.x_validation, parts.y_validation)

    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        expected = train(weights)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_vmaps_over_keys_instances_and_params():
    task = tabular.problem("kernel_diabetes")
    keys = jax.random.split(jax.random.key(0), 2)
    params = task.space.sample(jax.random.key(1), 2)
    one = [jax.tree.map(lambda leaf, i=i: leaf[i], params) for i in range(2)]
    instances = jnp.arange(2, dtype=jnp.int32)
    together = jax.jit(jax.vmap(task.evaluate))(keys, instances, params)
    alone = _evaluate(task.evaluate)
    for i in range(2):
        np.testing.assert_allclose(together[i], alone(keys[i], instances[i], one[i]), rtol=1e-4)
    assert together[0] != together[1]


def test_objective_is_its_instance_and_ignores_the_key():
    task = tabular.problem("kernel_diabetes", instance=4)
    params = jax.tree.map(lambda leaf: leaf[0], task.space.sample(jax.random.key(1), 1))
    objective = jax.jit(task.objective)
    value = objective(jax.random.key(0), params)
    assert value == objective(jax.random.key(1), params)
    instance = jnp.asarray(4, jnp.int32)
    expected = _evaluate(task.evaluate)(jax.random.key(4), instance, params)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_parts_share_no_row_and_are_standardised():
    data = _base.data_set("test", "wine")
    parts = cut(data, 0)
    assert parts.x.shape == (data.num_train, 13)
    assert parts.x_validation.shape == (data.num_validation, 13)
    np.testing.assert_allclose(parts.x.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(parts.x.std(0), 1, atol=1e-4)
    rows = np.concatenate([parts.x, parts.x_validation])
    assert len(np.unique(rows.round(4), axis=0)) == len(np.unique(data.x, axis=0)) - 38
    other = cut(data, 1)
    assert not np.array_equal(parts.y, other.y)


@pytest.mark.slow
@pytest.mark.parametrize("name", tabular.NAMES)
def test_twenty_random_trials_are_not_on_the_plateau(name):
    """The best of 20 is far from what 400 find: a searcher has something to win."""
    task = tabular.problem(name)

    @jax.jit
    def values(key):
        params = task.space.sample(key, 400)
        return jax.lax.map(lambda p: task.objective(None, p), params, batch_size=20)

    found = np.asarray(values(jax.random.key(0)), np.float64)
    found = np.where(np.isfinite(found), found, np.inf)
    assert np.isfinite(found).mean() > 0.8
    first = np.median(found.reshape(20, 20).min(axis=1))
    middle = np.median(found)
    assert (first - found.min()) > 0.02 * (middle - found.min())


def test_refusals(monkeypatch):
    with pytest.raises(ValueError, match=r"tabular.problem: `name` must be one of network_digits"):
        tabular.problem("network_iris")
    with pytest.raises(ValueError, match="`instance` must be at least 0"):
        tabular.problem("linear_wine", instance=-1)
    with pytest.raises(TypeError, match="`instance`"):
        tabular.problem("linear_wine", instance=0.5)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    tabular._parts.cache_clear()
    _base.data_set.cache_clear()
    with pytest.raises(ModuleNotFoundError, match=r"problems.tabular.network: scikit-learn"):
        tabular.problem("network_wine")
