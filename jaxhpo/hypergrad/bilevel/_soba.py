"""SOBA: inner variable, linear system and hyperparameters step at once on one batch."""

from __future__ import annotations

from typing import Any

import jax

from jaxhpo.hypergrad.bilevel._problem import BilevelProblem
from jaxhpo.hypergrad.bilevel._solver_base import make_solver, settings_of
from jaxhpo.hypergrad.bilevel._state import Array, BilevelSolver, BilevelState, Settings
from jaxhpo.hypergrad.bilevel._steps import step_at_once


def soba(
    problem: BilevelProblem, *, inner_step: Any, outer_step: Any, linear_step: Any = None
) -> BilevelSolver:
    """Stochastic bilevel algorithm: one step of everything, in parallel, on unbiased directions.

    Model: with `v` in place of `-H^-1 ∂_w f`, every update takes
    `w <- w - ρ ∂_w g`, `v <- v - ρ_v (∂²_{ww} g v + ∂_w f)`, `x <- x - γ (∂²_{xw} g v + ∂_x f)`,
    all at the old point and on one training and one validation batch. The price is about three
    batch gradients, whatever the number of hyperparameters. With constant steps it stays in a
    noise ball; use steps that fall as the square root of the count, or `saba`.

    Args:
        problem: from `bilevel.problem`.
        inner_step: step size of the parameters; a number (traced) or an optax schedule.
        outer_step: step size of the hyperparameters; likewise, smaller.
        linear_step: step size of the linear system; None takes `inner_step`.

    Returns:
        The solver. Example and errors: see the documentation of `hypergrad.bilevel`.

    References:
        Dagréou et al., "A framework for bilevel optimization that enables stochastic and global
        variance reduction algorithms", NeurIPS 2022.
    """
    where = "soba"
    settings = settings_of(where, problem, inner_step, outer_step, linear_step)
    return make_solver(where, settings, _update)


def _update(settings: Settings, key: Array, state: BilevelState) -> BilevelState:
    problem, (key_train, key_validation) = settings.problem, jax.random.split(key)
    batch = problem.train_batch(key_train)
    inner = problem.inner_along(state.free, state.params, state.adjoint, batch)
    batch = problem.validation_batch(key_validation)
    outer = problem.outer_grads(state.free, state.params, batch)
    return step_at_once(settings, state, inner, outer)
