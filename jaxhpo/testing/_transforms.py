"""The same numbers however the functions are transformed, and none traced twice."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._base import PyTree, Sampler
from jaxhpo.search import minimize
from jaxhpo.testing import _case, _spaces
from jaxhpo.testing._case import SamplerCase


def _study(sampler: Sampler, key: jax.Array) -> tuple[PyTree, jax.Array]:
    """Two rounds; the keys are those of `drive`."""

    def step(state: PyTree, number: jax.Array) -> tuple[PyTree, jax.Array]:
        key_ask, key_tell = jax.random.split(jax.random.fold_in(key, number))
        state, unit = sampler.ask(key_ask, state)
        state, _ = sampler.tell(key_tell, state, unit, _case.outcome_of(unit, _case.value_of(unit)))
        return state, unit

    return jax.lax.scan(step, sampler.init(_case.init_key(key)), jnp.arange(2))


def check_jit_equals_eager(case: SamplerCase) -> None:
    """Jitted and plain calls agree."""
    sampler, key = case.make(_spaces.continuous()), _case.study_key()
    state = sampler.init(_case.init_key(key))
    key_ask, key_tell = jax.random.split(jax.random.fold_in(key, 0))
    state, unit = sampler.ask(key_ask, state)
    state, _ = sampler.tell(key_tell, state, unit, _case.outcome_of(unit, _case.value_of(unit)))
    jitted = _case.drive(sampler, key, 1)
    _case.assert_same((state, unit[None]), jitted, "jit and eager", _case.rounding())


def check_vmap_equals_loop(case: SamplerCase) -> None:
    """Studies under `vmap` over keys agree with studies one by one."""
    for make_space in (_spaces.continuous, _spaces.discrete):
        sampler = case.make(make_space())
        keys = jax.random.split(_case.study_key(), 3)
        _, batched = jax.jit(jax.vmap(_study, in_axes=(None, 0)))(sampler, keys)
        single = np.stack([_case.drive(sampler, key, 2)[1] for key in keys])
        _case.assert_same(batched, single, "vmap and loop", _case.rounding())


def check_keys_decide(case: SamplerCase) -> None:
    """One key gives one study; another key gives another one, if the sampler is random."""
    sampler = case.make(_spaces.continuous(), 3)
    _, first = _case.drive(sampler, _case.study_key(0), 3)
    _, again = _case.drive(sampler, _case.study_key(0), 3)
    _case.assert_same(first, again, "two runs of one key")
    _, other = _case.drive(sampler, _case.study_key(1), 3)
    assert (first != other).any() == case.is_random, "another key's proposals"
    if case.is_random:
        rows = first.reshape(-1, first.shape[-1])
        assert len(np.unique(rows, axis=0)) == len(rows), "rows of one study repeat"


def check_key_reuse(case: SamplerCase) -> None:
    """JAX's key-reuse checker finds nothing."""
    sampler = case.make(_spaces.continuous(), 3)
    with jax.debug_key_reuse(True):
        jax.eval_shape(jax.jit(_study), sampler, _case.study_key())


def check_traced_once(case: SamplerCase) -> None:
    """Ten rounds, growing history and other bounds trace `ask` and `tell` once each."""
    traces = {"ask": 0, "tell": 0}

    def count_ask(sampler: Sampler, key: jax.Array, state: PyTree) -> Any:
        traces["ask"] += 1
        return sampler.ask(key, state)

    def count_tell(sampler: Sampler, key: jax.Array, state: PyTree, unit: jax.Array) -> Any:
        traces["tell"] += 1
        return sampler.tell(key, state, unit, _case.outcome_of(unit, _case.value_of(unit)))

    jit_ask, jit_tell = jax.jit(count_ask), jax.jit(count_tell)
    for shift in (0.0, 5.0):
        sampler = case.make(_spaces.continuous(shift), 3)
        state = _case.init(sampler, _case.study_key())
        for number in range(10):
            key = jax.random.fold_in(_case.study_key(), number)
            state, unit = jit_ask(sampler, key, state)
            state, _ = jit_tell(sampler, key, state, unit)
    assert traces == {"ask": 1, "tell": 1}, traces


def check_minimize_traces_once(case: SamplerCase) -> None:
    """`minimize` traces the objective once for two keys and two boxes, also under `vmap`."""
    traces = []

    def objective(key: jax.Array, params: PyTree) -> jax.Array:
        traces.append(1)
        return params["x"] ** 2 + params["y"]

    for shift in (0.0, 5.0):
        space = _spaces.continuous(shift)
        sampler = case.make(space)
        for seed in (0, 1):
            minimize(case.objective(objective, space), space, sampler, key=seed, num_trials=4)
    assert len(traces) == 1, f"{len(traces)} traces of the objective"
    keys = jax.random.split(_case.study_key(), 2)
    told = case.objective(objective, space)
    run = jax.vmap(lambda key: minimize(told, space, sampler, key=key, num_trials=4))
    assert jax.eval_shape(run, keys).best_value.shape == (2,)
    assert len(traces) <= 2, f"{len(traces)} traces of the objective with vmap"


def check_closures_freed(case: SamplerCase) -> None:
    """After `minimize`, nothing keeps the objective alive, nor the arrays it closes over."""
    space = _spaces.continuous()

    def made() -> Any:
        data = jnp.ones(3)

        def objective(key: jax.Array, params: PyTree) -> jax.Array:
            return params["x"] * jnp.sum(data) + params["y"]

        return objective, data

    objective, data = made()
    told = case.objective(objective, space)
    jax.block_until_ready(minimize(told, space, case.make(space), key=0, num_trials=2))
    left = weakref.ref(objective), weakref.ref(data)
    del objective, data, told
    gc.collect()
    assert left[0]() is None, "the objective is kept"
    assert left[1]() is None, "an array that the objective closes over is kept"


CHECKS = {
    "jit_equals_eager": check_jit_equals_eager,
    "vmap_equals_loop": check_vmap_equals_loop,
    "keys_decide": check_keys_decide,
    "key_reuse": check_key_reuse,
    "traced_once": check_traced_once,
    "minimize_traces_once": check_minimize_traces_once,
    "closures_freed": check_closures_freed,
}
