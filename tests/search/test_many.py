"""Many studies as one program are the studies one by one."""

import jax
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo.search import _many

SPACE = hpo.Space({"x": hpo.uniform(-2.0, 3.0), "y": hpo.log_uniform(1e-2, 1e2)})
KEYS = jax.random.split(jax.random.key(3), 3)


def objective(key, params):
    return (params["x"] - 1.0) ** 2 + jax.random.normal(key, (), params["x"].dtype)


@pytest.mark.parametrize("layout", ["map", "vmap", "auto"])
def test_each_study_is_that_of_minimize(layout):
    many = hpo.minimize_many(objective, SPACE, "qmc", keys=KEYS, num_trials=12, layout=layout)
    for i in range(len(KEYS)):
        one = hpo.minimize(objective, SPACE, "qmc", key=KEYS[i], num_trials=12)
        np.testing.assert_allclose(many.trials.value[i], one.trials.value, rtol=1e-5)
        np.testing.assert_allclose(many.best_value[i], one.best_value, rtol=1e-5)


def test_the_layout_follows_sampler_and_backend(monkeypatch):
    forgets, remembers = hpo.samplers.random(SPACE), hpo.samplers.gp(SPACE)
    assert (_many.chosen_layout(forgets), _many.chosen_layout(remembers)) == ("vmap", "map")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert _many.chosen_layout(remembers) == "vmap"


def test_it_compiles_once():
    before = _many._run_many._cache_size()
    for keys in (KEYS, KEYS[::-1]):
        hpo.minimize_many(objective, SPACE, "random", keys=keys, num_trials=5)
    assert _many._run_many._cache_size() - before == 1


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"keys": 3}, TypeError, "`keys` must be an array of keys"),
        ({"keys": KEYS[0]}, ValueError, r"`keys` must be of shape \[s\]"),
        ({"keys": KEYS[:0]}, ValueError, r"`keys` must be of shape \[s\]"),
        ({"layout": "loop"}, ValueError, "`layout` must be one of auto, map, vmap"),
        ({"num_trials": 0}, ValueError, "`num_trials` must be at least 1"),
    ],
)
def test_bad_arguments_are_named(settings, error, message):
    settings = {"keys": KEYS, "num_trials": 4} | settings
    with pytest.raises(error, match=message):
        hpo.minimize_many(objective, SPACE, "random", **settings)
