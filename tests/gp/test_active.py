"""The scalable path: which rows a model of bounded size is given."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo import Outcome
from jaxhpo.samplers.bayesian._active_rows import active_rows
from jaxhpo.samplers.bayesian._targets import Table

BOX = hpo.Space({"x": hpo.uniform(-2.0, 3.0), "y": hpo.uniform(0.0, 4.0)})
SMALL = {"num_candidates": 64, "num_lanes": 3}


def table(n, told, seed=0):
    features = jax.random.uniform(jax.random.key(seed), (n, 2))
    value = jnp.sum((features - 0.3) ** 2, axis=1).at[3].set(jnp.nan)
    rows = jnp.arange(n)
    zero = jnp.zeros(n)
    return Table(features, value, zero, zero, rows < told, (rows >= told) & (rows < told + 2))


def test_all_rows_stay_while_they_fit_and_in_their_order():
    whole = table(100, 60)
    active, number = active_rows(whole, whole.is_observed, 5, 64)
    np.testing.assert_array_equal(number[:62], np.arange(62))
    np.testing.assert_array_equal(np.flatnonzero(active.is_observed), np.arange(60))
    np.testing.assert_array_equal(np.flatnonzero(active.is_pending), [60, 61])


def test_the_best_the_nearest_the_newest_the_first_and_the_pending_stay():
    whole = table(100, 90)
    active, number = active_rows(whole, whole.is_observed, 5, 32)
    kept = set(np.asarray(number).tolist())
    value = np.where(np.arange(100) < 90, np.nan_to_num(np.asarray(whole.value), nan=9.0), 9.0)
    best = np.argsort(value)[:8]
    features = np.asarray(whole.features)
    away = np.sum((features - features[best[0]]) ** 2, axis=1)
    near = np.argsort(np.where(np.arange(100) < 90, away, 9.0))[:8]
    for rows in (best, near, range(5), range(86, 92)):
        assert kept >= set(map(int, rows))
    assert (np.diff(np.asarray(number)) > 0).all()
    np.testing.assert_array_equal(active.value, whole.value[number])


@pytest.mark.slow
def test_a_small_model_of_a_long_history_finds_the_bottom():
    sampler = hpo.samplers.gp(BOX, capacity=256, num_active=32, **SMALL)
    ask, tell = jax.jit(sampler.ask), jax.jit(sampler.tell)
    key, known = jax.random.key(0), jax.random.uniform(jax.random.key(1), (200, 2))
    bowl = lambda unit: Outcome(jnp.sum((unit - 0.3) ** 2, axis=1))  # noqa: E731
    state, _ = sampler.tell(key, sampler.init(key), known, bowl(known))
    values = []
    for i in range(8):
        state, unit = ask(jax.random.fold_in(key, i), state)
        outcome = bowl(unit)
        state, info = tell(key, state, unit, outcome)
        values.append(float(outcome.value[0]))
    assert min(values) < 1e-5 < float(bowl(known).value.min())
    assert int(info.num_dropped) == 0
    assert int(info.num_observed) == 208
