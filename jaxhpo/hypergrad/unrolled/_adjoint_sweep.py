"""Reverse sweeps of derivatives over a run that goes forward only.

Its states are recorded, or recomputed level by level; `hypergrad.reversible` runs training itself
backwards.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxhpo.hypergrad.unrolled._opened_run import Array, Carry, Real, Run


class Adjoint(NamedTuple):
    """Derivatives of the outer loss: by hyperparameters (so far) and by the state at one step."""

    hparams: Any
    real: Real


class Sweep(NamedTuple):
    """A finished reverse sweep.

    Attributes:
        loss: `[]` the outer loss.
        adjoint: the derivatives at the first step swept.
        final: the state after the last step.
        sizes: `[num_steps + 1]` size of the adjoint before each step swept, and after the last.
    """

    loss: Array
    adjoint: Adjoint
    final: Carry
    sizes: Array


def advance(run: Run, carry: Carry, first: Array, num_steps: int | Array) -> Carry:
    """Takes `num_steps` steps from step number `first` and keeps nothing."""

    def body(i: Array, carry: Carry) -> Carry:
        return run.step(run.hparams, carry, first + i)

    return jax.lax.fori_loop(0, num_steps, body, carry)


def pull(run: Run, adjoint: Adjoint, carry: Carry, t: Array) -> Adjoint:
    """Carries the adjoint from after step `t` to before it; `carry` is the state before it."""
    d_hparams, d_real = run.step_vjp(run.hparams, carry, t)(adjoint.real)
    return Adjoint(jax.tree.map(jnp.add, adjoint.hparams, d_hparams), d_real)


def start_adjoint(run: Run, final: Carry) -> tuple[Array, Adjoint]:
    """The outer loss at the last state, and its derivatives."""
    loss, d_hparams, d_real = run.loss_vjp(run.hparams, final)
    return loss, Adjoint(d_hparams, d_real)


def finish(run: Run, sweep: Sweep) -> Any:
    """Adds what the initial state contributes: the gradient by the hyperparameters."""
    initial = run.init_vjp(sweep.adjoint.real)
    return jax.tree.map(jnp.add, sweep.adjoint.hparams, initial)


def sweep_levels(
    run: Run, carry: Carry, first: int, num_steps: int, levels: tuple[int, ...]
) -> Sweep:
    """Runs forward, then back, with nested recomputation.

    Level sizes (l1, …, lk) divide the run into l1 segments of l2 segments …; only the starts of
    the segments on the way to the current step are alive, sum(levels) states. Steps beyond the
    product of the levels form a tail that is recorded on its own.

    Args:
        run: the run.
        carry: the state before step `first`.
        first: number of the first step.
        num_steps: steps to take.
        levels: sizes, outermost first, with a product of at most `num_steps`.

    Returns:
        The `Sweep`.
    """
    block, main = math.prod(levels[1:]), math.prod(levels)
    tail = num_steps - main

    def record(carry: Carry, i: Array) -> tuple[Carry, Carry]:
        begin = first + i * jnp.int32(block)
        if block == 1:
            return run.step(run.hparams, carry, begin), carry
        return advance(run, carry, begin, block), carry

    middle, saved = jax.lax.scan(record, carry, jnp.arange(levels[0], dtype=jnp.int32))
    final = advance(run, middle, jnp.int32(first + main), tail) if tail else middle
    loss, adjoint = start_adjoint(run, final)
    sizes = [run.size(adjoint.real)[None]]
    if tail:
        adjoint, part = _back_from(run, (tail,), middle, jnp.int32(first + main), adjoint)
        sizes.insert(0, part)
    adjoint, part = _back(run, levels[1:], saved, levels[0], jnp.int32(first), adjoint)
    return Sweep(loss, adjoint, final, jnp.concatenate([part, *sizes]))


def _back(
    run: Run,
    inner: tuple[int, ...],
    saved: Carry,
    num_saved: int,
    first: Array,
    adjoint: Adjoint,
) -> tuple[Adjoint, Array]:
    """Sweeps back over recorded segment starts; `inner` are the levels inside a segment."""
    block = math.prod(inner)

    def body(adjoint: Adjoint, x: tuple[Carry, Array]) -> tuple[Adjoint, Array]:
        carry, i = x
        begin = first + i * jnp.int32(block)
        if inner:
            return _back_from(run, inner, carry, begin, adjoint)
        adjoint = pull(run, adjoint, carry, begin)
        return adjoint, run.size(adjoint.real)

    numbers = jnp.arange(num_saved, dtype=jnp.int32)
    adjoint, sizes = jax.lax.scan(body, adjoint, (saved, numbers), reverse=True)
    return adjoint, sizes.reshape(-1)


def _back_from(
    run: Run, levels: tuple[int, ...], carry: Carry, first: Array, adjoint: Adjoint
) -> tuple[Adjoint, Array]:
    """Recomputes the segment starts of one level from its own start, then sweeps back."""
    num_saved, block = levels[0], math.prod(levels[1:])

    def put(i: int | Array, saved: Carry, carry: Carry) -> Carry:
        return jax.tree.map(lambda rows, row: rows.at[i].set(row), saved, carry)

    def body(i: Array, both: tuple[Carry, Carry]) -> tuple[Carry, Carry]:
        carry, saved = both
        saved = put(i, saved, carry)
        return advance(run, carry, first + i * jnp.int32(block), block), saved

    empty = jax.tree.map(lambda a: jnp.zeros((num_saved, *a.shape), a.dtype), carry)
    # The last segment's end is not needed, so it is not computed.
    carry, saved = jax.lax.fori_loop(0, num_saved - 1, body, (carry, empty))
    return _back(run, levels[1:], put(num_saved - 1, saved, carry), num_saved, first, adjoint)


def sweep_stored(run: Run, carry: Carry, first: int, num_steps: int) -> Sweep:
    """Runs forward and back with everything stored, activations included: plain autodiff.

    The adjoint's sizes come out as the derivative by a zero that is tapped into every state.
    """
    others = carry.other

    def tapped(real: Real, probe: Array) -> Real:
        return _tap(run.is_param, real, probe)

    def loss_of(hparams: Any, real: Real, probes: Array) -> tuple[Array, Carry]:
        def body(carry: Carry, x: tuple[Array, Array]) -> tuple[Carry, None]:
            t, probe = x
            return run.step(hparams, Carry(tapped(carry.real, probe), carry.other), t), None

        steps = first + jnp.arange(num_steps, dtype=jnp.int32)
        final = jax.lax.scan(body, Carry(real, others), (steps, probes[:-1]))[0]
        final = Carry(tapped(final.real, probes[-1]), final.other)
        return run.loss(hparams, final), final

    probes = jnp.zeros(num_steps + 1, run.size(carry.real).dtype)
    derivatives = jax.value_and_grad(loss_of, argnums=(0, 1, 2), has_aux=True)
    (loss, final), (d_hparams, d_real, sizes) = derivatives(run.hparams, carry.real, probes)
    return Sweep(loss, Adjoint(d_hparams, d_real), final, sizes)


def _tap(is_param: tuple[bool, ...], real: Real, probe: Array) -> Real:
    """The identity, whose derivative by `probe` is the size of the cotangent that passes."""

    @jax.custom_vjp
    def tap(real: Real, probe: Array) -> Real:
        return real

    def forward(real: Real, probe: Array) -> tuple[Real, None]:
        return real, None

    def backward(_: None, cotangent: Real) -> tuple[Real, Array]:
        parts = [part for part, flag in zip(cotangent, is_param, strict=True) if flag and part.size]
        sizes = [jnp.max(jnp.abs(part)).astype(probe.dtype) for part in parts]
        return cotangent, jnp.max(jnp.stack(sizes)) if sizes else jnp.zeros_like(probe)

    tap.defvjp(forward, backward)
    return tap(real, probe)
