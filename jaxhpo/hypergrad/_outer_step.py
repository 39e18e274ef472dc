"""One step of a descent on hyperparameters: estimate, judge, move."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxhpo.hypergrad._base import Estimator, Hypergradient
from jaxhpo.hypergrad._coordinates import from_free, to_free

Array = jax.Array
PyTree = Any

TRAIL = 8
"""Accepted values that are averaged with fresh keys, since one alone may be low by chance."""


class Trail(NamedTuple):
    """The last accepted values, and the point at which their mean was smallest."""

    values: Array
    best: PyTree
    best_mean: Array


class Loop(NamedTuple):
    """The loop's state: the last trusted point, the way from it, and the best one."""

    point: PyTree
    anchor: PyTree
    direction: PyTree
    scale: Array
    opt_state: PyTree
    best: PyTree
    best_value: Array
    trail: Trail
    memory: PyTree


def begin_loop(
    estimator: Estimator, optimizer: Any, key: Array, hparams: Any, space: Any, num_trail: int
) -> Loop:
    """The state before the first step, from hyperparameters inside their space."""
    start = to_free(space, hparams)
    infinite = jnp.asarray(jnp.inf, jax.eval_shape(estimator, key, hparams).value.dtype)
    recent = jnp.full(min(TRAIL, num_trail), infinite)
    return Loop(
        point=start,
        anchor=start,
        direction=jax.tree.map(jnp.zeros_like, start),
        scale=jnp.ones((), infinite.dtype),
        opt_state=strong(optimizer.init(start)),
        best=start,
        best_value=infinite,
        trail=Trail(recent, start, infinite),
        memory=estimator.init(key, hparams),
    )


class Step(NamedTuple):
    """What a step found at the point where the loop stood.

    Attributes:
        hparams: the point.
        out: the hypergradient there.
        grads: in free coordinates.
        accepted: `[]` bool, whether it is trusted.
    """

    hparams: PyTree
    out: Hypergradient
    grads: PyTree
    accepted: Array


def outer_step(
    estimator: Estimator, optimizer: Any, key: Array, space: Any, limit: Array, loop: Loop
) -> tuple[Loop, Step]:
    """Estimates the hypergradient where the loop stands, and moves on or half the way back.

    Args:
        estimator: of the hypergradient.
        optimizer: an optax transformation.
        key: of this training run.
        space: of the hyperparameters, or None.
        limit: `[]` largest trusted growth of the adjoint, in logarithms.
        loop: where the descent stands.

    Returns:
        Where it stands then, and what was found.
    """
    hparams, pullback = jax.vjp(lambda free: from_free(space, free), loop.point)
    out, memory = estimator.update(key, hparams, loop.memory)
    grads = pullback(out.grad)[0]
    accepted = _is_trusted(out, grads, limit)
    loop = loop._replace(memory=_where(accepted, memory, loop.memory))
    return _move(optimizer, loop, out.value, grads, accepted), Step(hparams, out, grads, accepted)


def _is_trusted(out: Hypergradient, grads: Any, limit: Array) -> Array:
    finite = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves((out.value, grads))]
    trusted = jnp.all(jnp.stack(finite))
    growth = out.diagnostics.log_growth
    if growth is not None:
        trusted &= growth <= limit.astype(growth.dtype)
    if out.diagnostics.reversal_ok is not None:
        trusted &= out.diagnostics.reversal_ok
    return trusted


def _move(optimizer: Any, loop: Loop, value: Array, grads: Any, accepted: Array) -> Loop:
    """A step from a trusted point; from any other, half the way back to the last trusted one."""
    clean = jax.tree.map(lambda g: jnp.where(accepted, g, jnp.zeros_like(g)), grads)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        updates, opt_state = optimizer.update(clean, loop.opt_state, loop.point)
    updates = jax.tree.map(lambda u, p: u.astype(p.dtype), updates, loop.point)
    anchor = _where(accepted, loop.point, loop.anchor)
    direction = _where(accepted, updates, loop.direction)
    scale = jnp.where(accepted, jnp.ones_like(loop.scale), loop.scale / 2)
    is_best = accepted & (value < loop.best_value)
    return Loop(
        point=jax.tree.map(lambda a, d: a + scale.astype(a.dtype) * d, anchor, direction),
        anchor=anchor,
        direction=direction,
        scale=scale,
        opt_state=_where(accepted, strong(opt_state), loop.opt_state),
        best=_where(is_best, loop.point, loop.best),
        best_value=jnp.where(is_best, value, loop.best_value),
        trail=_where(accepted, _followed(loop.trail, value, loop.point), loop.trail),
        memory=loop.memory,
    )


def _followed(trail: Trail, value: Array, point: Any) -> Trail:
    """The trail with one more value."""
    values = jnp.append(trail.values[1:], value.astype(trail.values.dtype))
    mean = jnp.mean(values)
    is_best = mean < trail.best_mean
    best = _where(is_best, point, trail.best)
    return Trail(values, best, jnp.where(is_best, mean, trail.best_mean))


def _where(flag: Array, new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(flag, a, b), new, old)


def strong(tree: Any) -> Any:
    """Drops weak types, which would change under the loop."""
    return jax.tree.map(lambda a: jax.lax.convert_element_type(a, jnp.result_type(a)), tree)
