"""What `random` draws on the host are the points of its program, and nothing is compiled."""

import jax
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo import samplers
from jaxhpo.ask_tell import _compiled
from jaxhpo.ask_tell._host_draws import HostDraws, uniform

PLAIN = {
    "continuous": {f"x{i}": hpo.uniform(-1.0, 3.0) for i in range(6)},
    "mixed": {
        "lr": hpo.log_uniform(1e-5, 1.0),
        "layers": hpo.integer(1, 7),
        "kind": hpo.choice(["a", "b", "c"]),
        "noise": hpo.normal(0.0, 2.0, shape=3),
        "step": hpo.quantized(0.0, 1.0, 0.1),
    },
}
OTHERS = {
    "finite": {"a": [1, 2, 3]},
    "logarithmic grid": {"n": hpo.integer(1, 1000, log=True), "x": hpo.uniform(0.0, 1.0)},
    "conditional": {"m": hpo.choice([{"x": hpo.uniform(0.0, 1.0)}, {"y": hpo.uniform(0.0, 1.0)}])},
}


def driver_of(space, **settings):
    sampler = samplers.random(space, **settings)
    return _compiled.Driver(sampler, space, (5, 9), 1)


@pytest.mark.parametrize("name", PLAIN)
def test_the_points_are_those_of_the_program(name, monkeypatch):
    space = hpo.Space(PLAIN[name])
    driver = driver_of(space)
    assert driver._draws is not None
    monkeypatch.setattr(HostDraws, "of", lambda *_: None)
    program = driver_of(space)
    for number, asks, block in ((0, 1, 1), (1, 1, 1), (7, 32, 32), (2**31 + 5, 3, 4)):
        unit, values = driver.ask(number, asks, block)
        expected, _ = program.ask(number, asks, block)
        np.testing.assert_array_equal(unit, expected)
        assert (unit.dtype, unit.shape) == (expected.dtype, (asks, space.num_dims))
        assert len(jax.tree.leaves(values)[0]) == asks


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_uniform_numbers_are_those_of_jax(dtype):
    with jax.enable_x64(dtype is np.float64):
        keys = jax.random.split(jax.random.key(3), 50)
        found = uniform(np.asarray(jax.random.key_data(keys)), 11, np.dtype(dtype))
        expected = jax.vmap(lambda key: jax.random.uniform(key, (11,), dtype))(keys)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", OTHERS)
def test_other_spaces_are_left_to_the_program(name):
    assert driver_of(hpo.Space(OTHERS[name]))._draws is None


def test_other_samplers_and_other_keys_are_left_to_the_program():
    space = hpo.Space(PLAIN["mixed"])
    assert driver_of(space, batch_size=2)._draws is None
    assert _compiled.Driver(samplers.qmc(space), space, (0,), 1)._draws is None
    with jax.default_prng_impl("rbg"):
        assert driver_of(space)._draws is None


def test_a_study_of_random_compiles_nothing(caplog):
    space = hpo.Space({"a": hpo.uniform(0.0, 1.0), "b": hpo.integer(0, 90)})
    with jax.log_compiles(), caplog.at_level("WARNING"):
        study = hpo.Study(space, "random", storage=None, seed=1)
        study.optimize(lambda params: params["a"] + params["b"], num_trials=70, progress=False)
        study.tell(study.ask(), 1.0)
    assert not caplog.messages
    assert len(study.trials) == 71
