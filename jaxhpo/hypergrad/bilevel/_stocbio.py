"""stocBiO: a loop of inner steps, then a hypergradient by a stochastic Neumann series."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo.hypergrad.bilevel._problem import BilevelProblem
from jaxhpo.hypergrad.bilevel._state import Array, BilevelSolver, BilevelState, PyTree, Settings
from jaxhpo.hypergrad.bilevel._steps import add, descend_along, double_loop


def stocbio(
    problem: BilevelProblem,
    *,
    inner_step: Any,
    outer_step: Any,
    linear_step: Any = None,
    num_inner: int = 10,
    num_linear: int = 10,
) -> BilevelSolver:
    """Stochastic bilevel optimizer: warm-started inner steps, and a Neumann series from scratch.

    Model: every update takes `num_inner` steps `w <- w - ρ ∂_w g`, then
    `v = -ρ_v Σ_k Π_{j<=k} (I - ρ_v ∂²_{ww} g_j) ∂_w f` over `k = 0 … num_linear` with a fresh
    batch for each factor, and `x <- x - γ (∂²_{xw} g v + ∂_x f)`. The series is cut, so the
    direction keeps a bias of `(1 - ρ_v μ)^(num_linear + 1)`.

    Args:
        problem: from `bilevel.problem`.
        inner_step: step size of the parameters; a number (traced) or an optax schedule.
        outer_step: step size of the hyperparameters; likewise.
        linear_step: step size of the series, below 1 over the largest curvature; None takes
            `inner_step`.
        num_inner: inner steps per update; static, at least 1.
        num_linear: Hessian products per update; static, at least 1.

    Returns:
        The solver. Example and errors: see the documentation of `hypergrad.bilevel`.

    References:
        Ji, Yang, Liang, "Bilevel optimization: convergence analysis and enhanced design",
        ICML 2021.
    """
    steps = (inner_step, outer_step, linear_step)
    return double_loop("stocbio", _adjoint, problem, steps, num_inner, num_linear)


def _adjoint(settings: Settings, key: Array, state: BilevelState, outer_slope: PyTree) -> PyTree:
    problem, rate = settings.problem, settings.linear(state.count)

    def body(loop: tuple[PyTree, PyTree], key: Array) -> tuple[tuple[PyTree, PyTree], None]:
        power, total = loop
        batch = problem.train_batch(key)
        product = problem.inner_along(state.free, state.params, power, batch)[1]
        power = descend_along(rate, product, power)
        return (power, add(total, power)), None

    keys = jax.random.split(key, settings.num_linear)
    total = jax.lax.scan(body, (outer_slope, outer_slope), keys)[0][1]
    return jax.tree.map(lambda a: -jnp.asarray(rate).astype(a.dtype) * a, total)
