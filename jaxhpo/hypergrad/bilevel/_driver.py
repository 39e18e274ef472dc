"""Runs a bilevel solver: the loop over its updates, one compiled program whatever the values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxhpo._checks import check_callable, check_count, check_key, describe, fail
from jaxhpo._tracing import owned
from jaxhpo.hypergrad.bilevel._state import Array, BilevelSolver, BilevelState, PyTree
from jaxhpo.hypergrad.implicit._linear_solvers import norm


class Solution(NamedTuple):
    """The result of a solver and its path; rows are taken every `record_every` updates.

    Attributes:
        hparams: the last hyperparameters.
        params: the last inner parameters.
        hparams_path: `[num_rows, ...]` hyperparameters.
        grad_norms: `[num_rows]` norm of the estimated hypergradient in free coordinates.
        metrics: `[num_rows]` what `metric` returned, or None.
        is_finite: `[]` bool, whether everything stayed finite; if not, take smaller steps.
        state: the solver's last state, to go on from.
    """

    hparams: PyTree
    params: PyTree
    hparams_path: PyTree
    grad_norms: Array
    metrics: Any
    is_finite: Array
    state: BilevelState


def solve(
    solver: BilevelSolver,
    hparams: PyTree,
    params: PyTree,
    *,
    key: Any,
    num_updates: int,
    record_every: int = 1,
    metric: Callable[[PyTree, PyTree], Any] | None = None,
) -> Solution:
    """Runs a bilevel solver from a start; one compiled loop that can be vmapped over seeds.

    Args:
        solver: from `soba`, `saba`, `stocbio`, `amigo` or `f2sa`.
        hparams: pytree of real values to start from; traced.
        params: pytree of inner parameters to start from; traced.
        key: `[]` randomness of the batches.
        num_updates: updates to take; static, at least 1.
        record_every: updates between rows of the path; static, a divisor of `num_updates`.
        metric: `metric(hparams, params)`, evaluated at every row; static.

    Returns:
        The `Solution`.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: no updates, a `record_every` that does not divide them, or a start that is not
            real or lies outside its space.

    Example:
        >>> import jax, jax.numpy as jnp, jaxhpo as hpo
        >>> bilevel = hpo.hypergrad.bilevel
        >>> shrink = bilevel.problem(
        ...     lambda h, w, x: 0.5 * jnp.mean((w - x) ** 2) + 0.5 * h["l2"] * w**2,
        ...     lambda h, w, x: 0.5 * jnp.mean((w - x) ** 2),
        ...     train=jnp.ones(8), validation=jnp.full(4, 0.5), batch_size=2,
        ...     space=hpo.Space({"l2": hpo.log_uniform(1e-2, 10.0)}),
        ... )
        >>> solver = bilevel.amigo(shrink, inner_step=0.1, outer_step=2.0)
        >>> run = lambda key: bilevel.solve(solver, {"l2": 0.1}, 0.0, key=key, num_updates=100)
        >>> jax.vmap(run)(jax.random.split(jax.random.key(0), 3)).grad_norms.shape
        (3, 100)
    """
    where = "bilevel.solve"
    if not isinstance(solver, BilevelSolver):
        raise TypeError(
            f"{where}: `solver` must come from soba, saba, stocbio, amigo or f2sa, got "
            f"{describe(solver)}."
        )
    num_updates = check_count(where, "num_updates", num_updates, 1)
    record_every = check_count(where, "record_every", record_every, 1)
    if num_updates % record_every:
        raise fail(where, "record_every", f"a divisor of the {num_updates} updates", record_every)
    if metric is not None:
        metric = owned.as_pytree(check_callable(where, "metric", metric))
    state = solver.init(hparams, params)
    rows = num_updates // record_every
    return _compiled(solver, check_key(where, key), state, (rows, record_every), metric)


def _run(
    solver: BilevelSolver,
    key: Array,
    state: BilevelState,
    shape: tuple[int, int],
    metric: Callable[[PyTree, PyTree], Any] | None,
) -> Solution:
    num_rows, record_every = shape

    def update(_: Array, state: BilevelState) -> BilevelState:
        return solver.update(jax.random.fold_in(key, state.count), state)

    def row(state: BilevelState, _: None) -> tuple[BilevelState, Any]:
        state = jax.lax.fori_loop(0, record_every, update, state)
        hparams = solver.hparams(state)
        measured = None if metric is None else metric(hparams, state.params)
        return state, (hparams, norm(jax.tree.leaves(state.grad)), measured)

    state, (path, norms, metrics) = jax.lax.scan(row, state, length=num_rows)
    leaves = jax.tree.leaves((state.free, state.params, state.adjoint))
    is_finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))
    hparams = solver.hparams(state)
    return Solution(hparams, state.params, path, norms, metrics, is_finite, state)


_compiled = owned.jit(_run, functions_in=(0, 4), static_argnums=(3,))
