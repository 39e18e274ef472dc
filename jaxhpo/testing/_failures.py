"""Bad and odd news: failed trials, infinities, ties, duplicates, silence, strangers."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo.testing import _case, _spaces
from jaxhpo.testing._case import SamplerCase

_ROUNDS = 5
_BATCH = 3


def _check_values(case: SamplerCase, value_fn: Callable[[jax.Array], jax.Array]) -> None:
    sampler = case.make(_spaces.continuous(), _BATCH)
    state, unit = _case.drive(sampler, _case.study_key(), _ROUNDS, value_fn=value_fn)
    assert ((unit >= 0) & (unit <= 1)).all(), unit
    for leaf in jax.tree.leaves(state):
        assert leaf.dtype.kind != "f" or not np.isnan(leaf).all() or leaf.size == 0, (
            "the failures have spread over the state"
        )


def _full(unit: jax.Array, value: float) -> jax.Array:
    return jnp.full(unit.shape[0], value, unit.dtype)


def _spoil_half(value: float, unit: jax.Array) -> jax.Array:
    return jnp.where(unit[:, 0] > 0.5, value, _case.value_of(unit))


def check_all_failed(case: SamplerCase) -> None:
    """All trials fail: proposals go on."""
    _check_values(case, lambda unit: _full(unit, jnp.nan))


def check_some_failed(case: SamplerCase) -> None:
    """The trials of one half of the box fail."""
    _check_values(case, functools.partial(_spoil_half, jnp.nan))


def check_infinite(case: SamplerCase) -> None:
    """Values of either infinity count as failures."""
    for value in (jnp.inf, -jnp.inf):
        _check_values(case, functools.partial(_spoil_half, value))


def check_constant(case: SamplerCase) -> None:
    """All values are the same, or enormous."""
    _check_values(case, lambda unit: _full(unit, 1.0))
    _check_values(case, lambda unit: _full(unit, float(jnp.finfo(unit.dtype).max)))


def check_nothing_told(case: SamplerCase) -> None:
    """Asking again and again without an answer gives new points; late answers are taken."""
    sampler = case.make(_spaces.continuous(), _BATCH)
    state = _case.init(sampler, _case.study_key())
    asked = []
    for number in range(_ROUNDS):
        key = jax.random.fold_in(_case.study_key(), number)
        state, unit = _case.ask(sampler, key, state)
        asked.append(unit)
    rows = np.concatenate(asked)
    assert len(np.unique(rows, axis=0)) == len(rows), "a pending point was proposed again"
    for number, unit in enumerate(reversed(asked)):
        key = jax.random.fold_in(_case.study_key(1), number)
        state, _ = _case.tell(sampler, key, state, unit, _case.value_of(unit))
    _, unit = _case.ask(sampler, _case.study_key(2), state)
    assert not (rows[:, None] == np.asarray(unit)[None]).all(axis=2).any(), "a known point again"


def check_strangers(case: SamplerCase) -> None:
    """Points that nobody asked for are taken, duplicates among them included."""
    sampler = case.make(_spaces.continuous(), _BATCH)
    state = _case.init(sampler, _case.study_key())
    stranger = jnp.full((_BATCH, 2), 0.123, jnp.result_type(float))
    state, _ = _case.tell(sampler, _case.study_key(1), state, stranger, _case.value_of(stranger))
    _, unit = _case.drive(sampler, _case.study_key(2), _ROUNDS, state=state)
    assert ((unit >= 0) & (unit <= 1)).all(), unit


def check_padding(case: SamplerCase) -> None:
    """NaN rows in a tell change nothing."""
    sampler = case.make(_spaces.continuous(), _BATCH)
    state = _case.init(sampler, _case.study_key())
    state, unit = _case.ask(sampler, _case.study_key(1), state)
    value = _case.value_of(unit)
    plain, _ = _case.tell(sampler, _case.study_key(2), state, unit, value)
    nothing = jnp.full_like(unit, jnp.nan)
    padded = jnp.stack([unit, nothing], axis=1).reshape(-1, unit.shape[1])
    values = jnp.stack([value, jnp.full_like(value, 7.0)], axis=1).reshape(-1)
    other, _ = _case.tell(sampler, _case.study_key(2), state, padded, values)
    next_plain = _case.ask(sampler, _case.study_key(3), plain)[1]
    next_other = _case.ask(sampler, _case.study_key(3), other)[1]
    _case.assert_same(next_plain, next_other, "with and without NaN rows", _case.rounding())


CHECKS = {
    "all_failed": check_all_failed,
    "some_failed": check_some_failed,
    "infinite": check_infinite,
    "constant": check_constant,
    "nothing_told": check_nothing_told,
    "strangers": check_strangers,
    "padding": check_padding,
}
