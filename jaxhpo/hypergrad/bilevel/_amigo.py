"""AmIGO: loops of inner steps and of linear steps, both started where the last update ended."""

from __future__ import annotations

from typing import Any

import jax

from jaxhpo.hypergrad.bilevel._problem import BilevelProblem
from jaxhpo.hypergrad.bilevel._state import Array, BilevelSolver, BilevelState, PyTree, Settings
from jaxhpo.hypergrad.bilevel._steps import add, descend_along, double_loop


def amigo(
    problem: BilevelProblem,
    *,
    inner_step: Any,
    outer_step: Any,
    linear_step: Any = None,
    num_inner: int = 10,
    num_linear: int = 10,
) -> BilevelSolver:
    """Amortised implicit gradient: both inner problems are solved a little further every update.

    Model: every update takes `num_inner` steps `w <- w - ρ ∂_w g`, then `num_linear` steps
    `v <- v - ρ_v (∂²_{ww} g v + ∂_w f)` on fresh training batches and one validation batch, then
    `x <- x - γ (∂²_{xw} g v + ∂_x f)`. Since `v` is kept, its error vanishes as the outer steps
    shrink, where that of `stocbio` stays.

    Args:
        problem: from `bilevel.problem`.
        inner_step: step size of the parameters; a number (traced) or an optax schedule.
        outer_step: step size of the hyperparameters; likewise.
        linear_step: step size of the linear system; None takes `inner_step`.
        num_inner: inner steps per update; static, at least 1.
        num_linear: linear steps per update; static, at least 1.

    Returns:
        The solver. Example and errors: see the documentation of `hypergrad.bilevel`.

    References:
        Arbel and Mairal, "Amortized implicit differentiation for stochastic bilevel optimization",
        ICLR 2022.
    """
    steps = (inner_step, outer_step, linear_step)
    return double_loop("amigo", _adjoint, problem, steps, num_inner, num_linear)


def _adjoint(settings: Settings, key: Array, state: BilevelState, outer_slope: PyTree) -> PyTree:
    problem, rate = settings.problem, settings.linear(state.count)

    def body(v: PyTree, key: Array) -> tuple[PyTree, None]:
        batch = problem.train_batch(key)
        product = problem.inner_along(state.free, state.params, v, batch)[1]
        return descend_along(rate, add(product, outer_slope), v), None

    keys = jax.random.split(key, settings.num_linear)
    return jax.lax.scan(body, state.adjoint, keys)[0]
