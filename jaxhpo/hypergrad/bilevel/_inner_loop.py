"""Inner loops of the double-loop solvers."""

from __future__ import annotations

import jax

from jaxhpo.hypergrad.bilevel._solver_base import (
    Array,
    BilevelState,
    PyTree,
    Settings,
    descend_along,
)


def train(settings: Settings, key: Array, state: BilevelState) -> PyTree:
    """`num_inner` steps of gradient descent on the inner loss, a fresh batch each."""
    problem, rate = settings.problem, settings.inner(state.count)

    def body(params: PyTree, key: Array) -> tuple[PyTree, None]:
        slope = problem.inner_slope(state.free, params, problem.train_batch(key))
        return descend_along(rate, slope, params), None

    return jax.lax.scan(body, state.params, jax.random.split(key, settings.num_inner))[0]
