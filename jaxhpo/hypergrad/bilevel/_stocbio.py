"""stocBiO: a loop of inner steps, then a hypergradient by a stochastic Neumann series."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo.hypergrad.bilevel._problem import BilevelProblem
from jaxhpo.hypergrad.bilevel._solver_base import (
    Array,
    BilevelSolver,
    BilevelState,
    PyTree,
    Settings,
    make_solver,
    settings_of,
)
from jaxhpo.hypergrad.bilevel._steps import DoubleLoop, add, descend_along


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
        The solver.

    Raises:
        TypeError: `problem` is not a problem, or a setting not a number.
        ValueError: a step size not above 0, or a count below 1.

    Example:
        >>> import jax.numpy as jnp, jaxhpo as hpo
        >>> shrink = hpo.hypergrad.bilevel.problem(
        ...     lambda h, w, x: 0.5 * jnp.mean((w - x) ** 2) + 0.5 * h["l2"] * w**2,
        ...     lambda h, w, x: 0.5 * jnp.mean((w - x) ** 2),
        ...     train=jnp.ones(8), validation=jnp.full(4, 0.5),
        ... )
        >>> solver = hpo.hypergrad.bilevel.stocbio(shrink, inner_step=0.3, outer_step=0.5)
        >>> found = hpo.hypergrad.bilevel.solve(
        ...     solver, {"l2": 0.1}, 0.0, key=0, num_updates=300, record_every=100
        ... )
        >>> round(float(found.hparams["l2"]), 3)
        1.0

    References:
        Ji, Yang, Liang, "Bilevel optimization: convergence analysis and enhanced design",
        ICML 2021.
    """
    where = "stocbio"
    settings = settings_of(
        where, problem, inner_step, outer_step, linear_step,
        num_inner=num_inner, num_linear=num_linear,
    )  # fmt: skip
    return make_solver(where, settings, DoubleLoop(_adjoint))


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
