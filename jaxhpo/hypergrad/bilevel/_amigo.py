"""AmIGO: loops of inner steps and of linear steps, both started where the last update ended."""

from __future__ import annotations

from typing import Any

import jax

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
        >>> solver = hpo.hypergrad.bilevel.amigo(shrink, inner_step=0.3, outer_step=0.5)
        >>> found = hpo.hypergrad.bilevel.solve(
        ...     solver, {"l2": 0.1}, 0.0, key=0, num_updates=300, record_every=100
        ... )
        >>> round(float(found.hparams["l2"]), 3)
        1.0

    References:
        Arbel and Mairal, "Amortized implicit differentiation for stochastic bilevel optimization",
        ICLR 2022.
    """
    where = "amigo"
    settings = settings_of(
        where, problem, inner_step, outer_step, linear_step,
        num_inner=num_inner, num_linear=num_linear,
    )  # fmt: skip
    return make_solver(where, settings, DoubleLoop(_adjoint))


def _adjoint(settings: Settings, key: Array, state: BilevelState, outer_slope: PyTree) -> PyTree:
    problem, rate = settings.problem, settings.linear(state.count)

    def body(v: PyTree, key: Array) -> tuple[PyTree, None]:
        batch = problem.train_batch(key)
        product = problem.inner_along(state.free, state.params, v, batch)[1]
        return descend_along(rate, add(product, outer_slope), v), None

    keys = jax.random.split(key, settings.num_linear)
    return jax.lax.scan(body, state.adjoint, keys)[0]
