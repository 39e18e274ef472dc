"""What must not matter: where the box lies, the order of tells, interruptions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._base import PyTree
from jaxhpo.search import minimize
from jaxhpo.space import Space
from jaxhpo.testing import _case, _spaces
from jaxhpo.testing._case import SamplerCase

_ROUNDS = 8


def check_box(case: SamplerCase) -> None:
    """Shifting and stretching the box moves the proposals with it."""
    _, here = _case.drive(case.make(_spaces.continuous(), 3), _case.study_key(), _ROUNDS)
    moved = _spaces.continuous(shift=-40.0, scale=0.5)
    _, there = _case.drive(case.make(moved, 3), _case.study_key(), _ROUNDS)
    tolerance = 0.0 if case.is_scale_free else 1e-3
    _case.assert_same(here, there, "two boxes", tolerance)


def check_order_of_tells(case: SamplerCase) -> None:
    """The order of the rows in a tell does not matter."""
    sampler = case.make(_spaces.continuous(), 3)
    state, _ = _case.drive(sampler, _case.study_key(), 1)
    state, unit = _case.ask(sampler, _case.study_key(1), state)
    order = jnp.asarray([2, 0, 1])
    following = []
    for rows in (unit, unit[order]):
        told, _ = _case.tell(sampler, _case.study_key(2), state, rows, _case.value_of(rows))
        following.append(_case.ask(sampler, _case.study_key(3), told)[1])
    _case.assert_same(following[0], following[1], "two orders of one tell", _case.rounding())


def check_resume(case: SamplerCase) -> None:
    """A fresh state that is told the history goes on as the uninterrupted run does."""
    if not case.resumes_exactly:
        return
    _check_resume(case, _spaces.continuous(), 1)
    for make_space in (_spaces.continuous, _spaces.constrained, _spaces.discrete):
        _check_resume(case, make_space(), 3)


def _check_resume(case: SamplerCase, space: Space, q: int) -> None:
    sampler, key = case.make(space, q), _case.study_key()
    _, whole = _case.drive(sampler, key, _ROUNDS)
    half = _ROUNDS // 2
    history = whole[:half].reshape(-1, space.num_dims)
    padding = np.full((2, space.num_dims), np.nan, history.dtype)
    told = jnp.asarray(np.concatenate([history, padding]))
    state: PyTree = _case.init(sampler, _case.init_key(key))
    state, _ = _case.tell(sampler, _case.study_key(5), state, told, _case.value_of(told))
    _, rest = _case.drive(sampler, key, _ROUNDS - half, start=half, state=state)
    _case.assert_same(whole[half:], rest, f"resumed and uninterrupted, batches of {q}")


def check_batches(case: SamplerCase) -> None:
    """`minimize` proposes the same trials in batches as one by one, if values do not matter."""
    if not case.is_batch_invariant:
        return
    space = _spaces.continuous()
    sampler = case.make(space)

    def objective(key: jax.Array, params: PyTree) -> jax.Array:
        return params["x"] + jax.random.normal(key, (), params["x"].dtype)

    one, four = (
        minimize(objective, space, sampler, key=3, num_trials=10, batch_size=q) for q in (1, 4)
    )
    _case.assert_same(one.trials.unit, four.trials.unit, "batches of 1 and 4")
    _case.assert_same(
        one.trials.value, four.trials.value, "values in batches of 1 and 4", _case.rounding()
    )


CHECKS = {
    "box": check_box,
    "order_of_tells": check_order_of_tells,
    "resume": check_resume,
    "batches": check_batches,
}
