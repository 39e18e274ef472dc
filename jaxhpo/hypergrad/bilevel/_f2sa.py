"""F2SA: a penalty in place of second derivatives."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo.hypergrad.bilevel._problem import BilevelProblem
from jaxhpo.hypergrad.bilevel._solver_base import make_solver, schedule, settings_of
from jaxhpo.hypergrad.bilevel._state import Array, BilevelSolver, BilevelState, PyTree, Settings
from jaxhpo.hypergrad.bilevel._steps import descend_along, moved


def f2sa(
    problem: BilevelProblem,
    *,
    inner_step: Any,
    outer_step: Any,
    penalty: Any,
    num_inner: int = 10,
) -> BilevelSolver:
    """Fully first-order stochastic approximation: two chains and a difference of gradients.

    Model: `L_σ(x) = min_y [f(x, y) + σ (g(x, y) - min_z g(x, z))]`. Every update takes `num_inner`
    steps `z <- z - ρ ∂_w g(x, z)` and `y <- y - ρ (∂_w f(x, y) / σ + ∂_w g(x, y))`, then
    `x <- x - γ (∂_x f(x, y) + σ (∂_x g(x, y) - ∂_x g(x, z)))`. There is no second derivative, so
    it fits any loss and has the smallest memory. The gradient is that of `L_σ`, off the
    hypergradient by `O(1 / σ)`; let the penalty grow for less bias, at more noise. Both chains see
    the same batches, so that their difference does not carry the noise of the batch.

    Args:
        problem: from `bilevel.problem`.
        inner_step: step size of both chains; a number (traced) or an optax schedule.
        outer_step: step size of the hyperparameters; likewise.
        penalty: the weight `σ`; a number (traced) or a schedule that grows.
        num_inner: steps of both chains per update; static, at least 1.

    Returns:
        The solver; `state.params` is the chain `z` that solves the inner problem, `state.memory`
        the penalised chain `y`. Example and errors: see the documentation of `hypergrad.bilevel`.

    References:
        Kwon et al., "A fully first-order method for stochastic bilevel optimization", ICML 2023.
    """
    where = "f2sa"
    settings = settings_of(where, problem, inner_step, outer_step, num_inner=num_inner)
    settings = dataclasses.replace(settings, penalty=schedule(where, "penalty", penalty))
    return make_solver(where, settings, _update, _remember)


def _remember(settings: Settings, free: PyTree, params: PyTree, adjoint: PyTree) -> PyTree:
    return params


def _update(settings: Settings, key: Array, state: BilevelState) -> BilevelState:
    problem, free = settings.problem, state.free
    key_loop, key_train, key_validation = jax.random.split(key, 3)
    rate = settings.inner(state.count)
    assert settings.penalty is not None
    weight = jnp.asarray(settings.penalty(state.count))

    def body(chains: tuple[PyTree, PyTree], key: Array) -> tuple[tuple[PyTree, PyTree], None]:
        z, y = chains
        key_train, key_validation = jax.random.split(key)
        batch = problem.train_batch(key_train)
        judged = problem.outer_grads(free, y, problem.validation_batch(key_validation))[1]
        pull = _mix(1 / weight, judged, problem.inner_slope(free, y, batch))
        z = descend_along(rate, problem.inner_slope(free, z, batch), z)
        return (z, descend_along(rate, pull, y)), None

    keys = jax.random.split(key_loop, settings.num_inner)
    z, y = jax.lax.scan(body, (state.params, state.memory), keys)[0]
    batch = problem.train_batch(key_train)
    gap = jax.tree.map(
        jnp.subtract, problem.inner_grads(free, y, batch)[0], problem.inner_grads(free, z, batch)[0]
    )
    by_free = problem.outer_grads(free, y, problem.validation_batch(key_validation))[0]
    state = dataclasses.replace(state, memory=y)
    return moved(settings, state, z, state.adjoint, _mix(weight, gap, by_free))


def _mix(weight: Array, one: PyTree, two: PyTree) -> PyTree:
    """`weight one + two`."""
    return jax.tree.map(lambda a, b: weight.astype(a.dtype) * a + b, one, two)
