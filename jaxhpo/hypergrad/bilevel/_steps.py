"""The steps of which the updates of the solvers are made."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo.hypergrad.bilevel._problem import BilevelProblem
from jaxhpo.hypergrad.bilevel._solver_base import make_solver, settings_of
from jaxhpo.hypergrad.bilevel._state import Array, BilevelSolver, BilevelState, PyTree, Settings


def descend_along(rate: Any, direction: PyTree, at: PyTree) -> PyTree:
    """`at - rate direction`, leaf by leaf in the dtype of `at`."""
    return jax.tree.map(lambda d, a: a - jnp.asarray(rate).astype(a.dtype) * d, direction, at)


def add(one: PyTree, two: PyTree) -> PyTree:
    """The sum of two trees."""
    return jax.tree.map(jnp.add, one, two)


def moved(
    settings: Settings, state: BilevelState, params: PyTree, adjoint: PyTree, grad: PyTree
) -> BilevelState:
    """The next state: the hyperparameters step along `grad`."""
    free = descend_along(settings.outer(state.count), grad, state.free)
    return dataclasses.replace(
        state, free=free, params=params, adjoint=adjoint, grad=grad, count=state.count + 1
    )


def step_at_once(
    settings: Settings, state: BilevelState, inner: PyTree, outer: PyTree
) -> BilevelState:
    """SOBA's three steps, all from the state before any of them.

    Args:
        settings: the solver's settings.
        state: the state.
        inner: slope, product and cross term, as `BilevelProblem.inner_along` returns them.
        outer: derivatives by hyperparameters and parameters, as `outer_grads` returns them.

    Returns:
        The next state.
    """
    (slope, product, cross), (by_free, by_params) = inner, outer
    # w along the inner slope, v along H v + dF/dw, the hyperparameters along the cross term plus
    # dF/dh.
    params = descend_along(settings.inner(state.count), slope, state.params)
    linear = settings.linear(state.count)
    adjoint = descend_along(linear, add(product, by_params), state.adjoint)
    return moved(settings, state, params, adjoint, add(cross, by_free))


def double_loop(
    where: str,
    solve: Callable[[Settings, Array, BilevelState, PyTree], PyTree],
    problem: BilevelProblem,
    steps: tuple[Any, Any, Any],
    num_inner: int,
    num_linear: int,
) -> BilevelSolver:
    """A solver whose update is a loop of inner steps, then one for the adjoint at their end.

    Args:
        where: the factory's name, for errors.
        solve: `solve(settings, key, state, outer_slope) -> adjoint`, from a state of which the
            inner steps are done and `∂_w f` at it.
        problem: the problem.
        steps: step sizes of parameters, hyperparameters and linear system.
        num_inner: inner steps per update.
        num_linear: steps, or terms, of the linear system per update.

    Returns:
        The solver.
    """
    settings = settings_of(where, problem, *steps, num_inner=num_inner, num_linear=num_linear)
    return make_solver(where, settings, _DoubleLoop(solve))


@dataclasses.dataclass(frozen=True)
class _DoubleLoop:
    """The update of such a solver; compared by value, so that equal solvers share programs."""

    solve: Callable[[Settings, Array, BilevelState, PyTree], PyTree]

    def __call__(self, settings: Settings, key: Array, state: BilevelState) -> BilevelState:
        problem = settings.problem
        key_train, key_validation, key_linear, key_cross = jax.random.split(key, 4)
        params = _train(settings, key_train, state)
        by_free, by_params = problem.outer_grads(
            state.free, params, problem.validation_batch(key_validation)
        )
        trained = dataclasses.replace(state, params=params)
        adjoint = self.solve(settings, key_linear, trained, by_params)
        batch = problem.train_batch(key_cross)
        cross = problem.inner_along(state.free, params, adjoint, batch)[2]
        return moved(settings, state, params, adjoint, add(cross, by_free))


def _train(settings: Settings, key: Array, state: BilevelState) -> PyTree:
    """`num_inner` steps of gradient descent on the inner loss, a fresh batch each."""
    problem, rate = settings.problem, settings.inner(state.count)

    def body(params: PyTree, key: Array) -> tuple[PyTree, None]:
        slope = problem.inner_slope(state.free, params, problem.train_batch(key))
        return descend_along(rate, slope, params), None

    return jax.lax.scan(body, state.params, jax.random.split(key, settings.num_inner))[0]
