"""The contract's form: names, shapes, and a state that keeps its type."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._base import PyTree, Sampler
from jaxhpo.testing import _case, _spaces
from jaxhpo.testing._case import SamplerCase

_PARAMETERS = {
    "init": ["key"],
    "ask": ["key", "state"],
    "tell": ["key", "state", "unit", "outcome"],
}


def check_signatures(case: SamplerCase) -> None:
    """The three functions have the contracted parameter names, and the sampler is a pytree."""
    sampler = case.make(_spaces.continuous())
    assert isinstance(sampler, Sampler), f"the factory returned {type(sampler).__name__}"
    for name, expected in _PARAMETERS.items():
        found = list(inspect.signature(getattr(sampler, name)).parameters)
        assert found == expected, f"{name} takes {found}, not {expected}"
    leaves = jax.tree.leaves(sampler)
    assert all(isinstance(leaf, jax.Array | np.ndarray | float | int) for leaf in leaves), leaves


def check_round_trip(case: SamplerCase) -> None:
    """A round gives `[q, d]` points in [0, 1], in the default float dtype, batch sizes 1 and 3."""
    space = _spaces.continuous()
    for q in (1, 3):
        _, unit = _case.drive(case.make(space, q), _case.study_key(), 2)
        assert unit.shape == (2, q, space.num_dims), unit.shape
        assert unit.dtype == jnp.result_type(float), unit.dtype
        assert ((unit >= 0) & (unit <= 1)).all(), unit


def check_state_is_stable(case: SamplerCase) -> None:
    """Structure, shapes, dtypes and strong types of the state survive a round; no key is in it."""
    for make_space in (_spaces.continuous, _spaces.discrete):
        sampler = case.make(make_space(), 2)
        key = _case.study_key()
        states: list[Any] = [jax.eval_shape(sampler.init, key)]
        state, unit = jax.eval_shape(sampler.ask, key, states[0])
        value = jax.ShapeDtypeStruct(unit.shape[:1], unit.dtype)
        outcome = jax.eval_shape(_case.outcome_of, unit, value)
        states += [state, jax.eval_shape(sampler.tell, key, state, unit, outcome)[0]]
        first = _types(states[0])
        for state in states[1:]:
            assert _types(state) == first, f"the state went from {first} to {_types(state)}"
        for _, dtype, weak_type in first[1]:
            assert not weak_type, "the state holds a weakly typed number"
            assert not jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key), "the state holds a key"


def check_scan_and_cond(case: SamplerCase) -> None:
    """A study runs inside `lax.scan`, and a tell inside `lax.cond`."""
    sampler = case.make(_spaces.continuous(), 3)
    key = _case.study_key()

    def step(state: PyTree, number: jax.Array) -> tuple[PyTree, jax.Array]:
        key_ask, key_tell = jax.random.split(jax.random.fold_in(key, number))
        state, unit = sampler.ask(key_ask, state)
        outcome = _case.outcome_of(unit, _case.value_of(unit))
        state = jax.lax.cond(
            number >= 0,
            lambda state: sampler.tell(key_tell, state, unit, outcome)[0],
            lambda state: state,
            state,
        )
        return state, unit

    start = _case.init(sampler, _case.init_key(key))
    _, unit = jax.lax.scan(step, start, jnp.arange(4))
    _, expected = _case.drive(sampler, key, 4)
    _case.assert_same(unit, expected, "scan and host loop", _case.rounding())


def check_info(case: SamplerCase) -> None:
    """`tell` reports a status code in `info`."""
    sampler = case.make(_spaces.continuous())
    state, unit = _case.ask(sampler, _case.study_key(1), _case.init(sampler, _case.study_key(0)))
    status = _case.tell(sampler, _case.study_key(2), state, unit, _case.value_of(unit))[1].status
    assert status.dtype == jnp.int32, f"info.status is {status.dtype}"
    assert status.shape == (), f"info.status has shape {status.shape}"


def check_keys_are_checked(case: SamplerCase) -> None:
    """`init`, `ask` and `tell` refuse what is no key, by name; old-style keys are keys."""
    sampler, key = case.make(_spaces.continuous()), _case.study_key()
    raw = jax.random.key_data(key)
    state = jax.eval_shape(sampler.init, raw)
    state, unit = jax.eval_shape(sampler.ask, raw, state)
    value = jax.ShapeDtypeStruct(unit.shape[:1], unit.dtype)
    outcome = jax.eval_shape(_case.outcome_of, unit, value)
    several = jax.random.split(key, 2)
    for wrong in (None, "key", 0.5, True, np.zeros(2), several):
        for name, rest in (("init", ()), ("ask", (state,)), ("tell", (state, unit, outcome))):
            said = _error_of(functools.partial(getattr(sampler, name), wrong), rest)
            assert said is not None, f"{name} took {wrong!r} for a key"
            assert "`key` must be" in said, f"{name}({wrong!r}) said: {said}"


def _error_of(function: Callable[..., Any], args: tuple[Any, ...]) -> str | None:
    try:
        jax.eval_shape(function, *args)
    except (TypeError, ValueError) as error:
        return str(error)
    return None


def _types(state: PyTree) -> tuple[Any, list[tuple[Any, ...]]]:
    leaves, structure = jax.tree.flatten(state)
    return structure, [(leaf.shape, leaf.dtype, leaf.weak_type) for leaf in leaves]


CHECKS = {
    "signatures": check_signatures,
    "round_trip": check_round_trip,
    "state_is_stable": check_state_is_stable,
    "scan_and_cond": check_scan_and_cond,
    "info": check_info,
    "keys_are_checked": check_keys_are_checked,
}
