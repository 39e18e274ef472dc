"""Exact forward-mode hypergradients: one tangent per hyperparameter travels along with the run."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo._checks import check_count
from jaxhpo.hypergrad._arguments import check_run
from jaxhpo.hypergrad._base import Array, Estimator, Hypergradient, Traits
from jaxhpo.hypergrad.unrolled._adjoint_sweep import advance
from jaxhpo.hypergrad.unrolled._opened_run import Carry, explained, open_run
from jaxhpo.training import Training

_TRAITS = Traits(
    exact=True,
    time="1 + 1.25 H runs",
    memory="H S, whatever T",
    cannot="a function with a custom reverse rule (jax.custom_vjp)",
)


def forward(training: Training, *, num_steps: int, batch_tangents: int | None = None) -> Estimator:
    """Exact hypergradient of the finite run, by tangents that travel forward.

    Model: `Z_0 = ∂_λ init`, `Z_{t+1} = ∂_s step Z_t + ∂_λ step`, gradient `∂_s L Z_T + ∂_λ L`.
    The best choice for one to three hyperparameters and for very long runs: nothing is stored.
    It also passes a `while_loop` in the step.

    Args:
        training: the run.
        num_steps: steps of the run; static.
        batch_tangents: tangents that travel together; static; None takes all. Fewer need less
            memory and one plain run more a batch.

    Raises:
        ValueError: no steps; on a call, a hyperparameter that is not real, or a function with a
            custom reverse rule inside the run.

    Example:
        >>> import jaxhpo as hpo
        >>> task = hpo.problems.valley()
        >>> estimator = hpo.hypergrad.forward(task.training, num_steps=200)
        >>> round(float(estimator(0, task.hparams).grad["x"]), 3)
        -1.778

    References:
        Franceschi et al., "Forward and reverse gradient-based hyperparameter optimization", 2017.
    """
    where = "forward"
    num_steps = check_run(where, training, num_steps)
    if batch_tangents is not None:
        batch_tangents = check_count(where, "batch_tangents", batch_tangents, 1)

    def evaluate(key: Array, hparams: Any) -> Hypergradient:
        with explained(where):
            run = open_run(where, training, key, hparams, mixed=False)

            def value_of(hparams: Any) -> tuple[Array, Carry]:
                at = run._replace(hparams=hparams)
                final = advance(at, run.init(hparams), jnp.int32(0), num_steps)
                return run.loss(hparams, final), final

            def along(tangent: Any) -> tuple[Array, Carry, Array]:
                value, slope, final = jax.jvp(value_of, (hparams,), (tangent,), has_aux=True)
                return value, final, slope

            value, final, slopes = _slopes(along, basis(hparams), batch_tangents)
            grad = as_tree(slopes, hparams)
        return Hypergradient(value, grad, run.state(final))

    return Estimator(where, training, num_steps, _TRAITS, evaluate)


def _slopes(along: Any, basis: Any, batch: int | None) -> tuple[Array, Carry, Array]:
    """Directional derivatives along every row of the basis."""
    count = jax.tree.leaves(basis)[0].shape[0]
    if batch is None or batch >= count:
        return jax.vmap(along, out_axes=(None, None, 0))(basis)
    first = jax.tree.map(lambda rows: rows[:batch], basis)
    rest = jax.tree.map(lambda rows: rows[batch:], basis)
    value, final, head = jax.vmap(along, out_axes=(None, None, 0))(first)
    tail = jax.lax.map(lambda tangent: along(tangent)[2], rest, batch_size=batch)
    return value, final, jnp.concatenate([head, tail])


def basis(hparams: Any) -> Any:
    """One unit tangent for every number in the hyperparameters, along a new leading axis."""
    leaves, treedef = jax.tree.flatten(hparams)
    count, start, rows = sum(leaf.size for leaf in leaves), 0, []
    for leaf in leaves:
        block = jnp.eye(count, leaf.size, -start, dtype=leaf.dtype)
        rows.append(block.reshape(count, *leaf.shape))
        start += leaf.size
    return jax.tree.unflatten(treedef, rows)


def as_tree(slopes: Array, hparams: Any) -> Any:
    """Gives the flat slopes the shape and dtype of the hyperparameters."""
    leaves, treedef = jax.tree.flatten(hparams)
    parts, start = [], 0
    for leaf in leaves:
        part = slopes[start : start + leaf.size]
        parts.append(part.reshape(leaf.shape).astype(leaf.dtype))
        start += leaf.size
    return jax.tree.unflatten(treedef, parts)
