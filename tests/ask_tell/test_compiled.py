"""The driver of samplers on the host: what is told with the next ask, and what is not told."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo._base import Sampler
from jaxhpo.ask_tell import HostSampler, SamplerSpec, _compiled
from jaxhpo.ask_tell._compiled import Driver

SPACE = hpo.Space({"x": hpo.uniform(0.0, 1.0)})


class Counts(NamedTuple):
    """How often a sampler was asked and told."""

    asks: jax.Array
    tells: jax.Array


def counting():
    """A sampler whose tell is not idle where nothing is told; its points are its counts."""

    def ask(key, state):
        state = state._replace(asks=state.asks + 1)
        return state, jnp.stack([jnp.stack([state.asks * 0.1 + state.tells * 0.01])])

    def tell(key, state, unit, outcome):
        return state._replace(tells=state.tells + 1), None

    wrap = jax.tree_util.Partial
    return Sampler(wrap(lambda key: Counts(jnp.zeros(()), jnp.zeros(()))), wrap(ask), wrap(tell))


@pytest.mark.parametrize("rows", [1, 3])
def test_what_was_told_comes_before_the_next_ask_once(rows):
    driver = Driver(counting(), SPACE, (0,), 1)
    points = [driver.ask(0)[0], driver.ask(1)[0]]
    driver.tell(2, np.zeros((rows, 1)), np.zeros(rows), None)
    points += [driver.ask(2)[0], driver.ask(3)[0]]
    np.testing.assert_allclose(np.ravel(points), [0.1, 0.2, 0.31, 0.41], atol=1e-6)


def test_the_first_ask_has_room_for_a_whole_batch():
    spec = SamplerSpec("here", lambda space: hpo.samplers.tpe(space, batch_size=80), {})
    engine = HostSampler(spec, SPACE, 0, "here", 1)
    assert engine.ask(0) is not None
    assert int(engine._proposer._driver._state.rows.num_rows) == 80
    assert int(engine._proposer._driver._state.rows.num_dropped) == 0


def test_more_room_is_one_program(caplog):
    sampler = hpo.samplers.tpe(SPACE, batch_size=3)
    driver = Driver(sampler, SPACE, (0,), 1)
    driver.ask(0)
    with jax.log_compiles(), caplog.at_level("WARNING"):
        driver.ensure_capacity(1000)
    compiled = [line for line in caplog.messages if line.startswith("Finished XLA compilation")]
    assert len(compiled) <= 1
    assert driver.ask(1)[0].shape == (3, 1)


def test_the_compiler_does_less_for_samplers_that_run_as_fast_with_it():
    options = {
        name: _compiled._options(getattr(hpo.samplers, name)(SPACE).ask)
        for name in ("random", "tpe", "gp", "turbo", "cma_es")
    }
    assert options.pop("cma_es") == ()
    fewer = {"xla_disable_hlo_passes": "tree_reduction_rewriter"}
    if jax.version.__version_info__ < (0, 11):
        fewer["xla_cpu_use_fusion_emitters"] = False
    assert [dict(option) for option in options.values()] == [fewer] * len(options)
    assert _compiled._options(counting().ask) == ()
