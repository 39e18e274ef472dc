"""The run of `reversible`: SGD with momentum in fixed point, forward and then step by step back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxhpo.hypergrad._base import Array, Diagnostics, Hypergradient
from jaxhpo.hypergrad.reversible._fixed_point_arithmetic import (
    Ints,
    are_below,
    exchange,
    fix,
    largest,
    steps_per_word,
    to_real,
)
from jaxhpo.hypergrad.unrolled._adjoint_sweep import Adjoint, advance, start_adjoint
from jaxhpo.hypergrad.unrolled._opened_run import Carry, Run
from jaxhpo.hypergrad.unrolled._unrolled import log_growth


class _Point(NamedTuple):
    """Fixed-point training: parameters, velocity and the word of digits not yet written out."""

    params: Ints
    velocity: Ints
    digits: Ints


class Dynamics(NamedTuple):
    """`slopes(hparams, params, t) -> (gradient leaves, learning rate)`, and the exact decay."""

    slopes: Callable[[Any, list[Array], Array], tuple[list[Array], Array]]
    numerator: int
    denominator: int
    dtypes: list[Any]
    digits: int
    """Binary digits after the point."""

    def real(self, ints: Ints) -> list[Array]:
        """Fixed-point leaves in the training's own types."""
        return to_real(ints, self.dtypes, self.digits)


def run_there_and_back(
    run: Run, dynamics: Dynamics, params: list[Array], num_steps: int
) -> Hypergradient:
    """Trains in fixed point, differentiates on the way back, and checks both ways."""
    # Chunks of equal length, each with one word of digits per parameter: how often words are
    # written is known before the run, so shapes are static (Maclaurin et al. push digits as they
    # come).
    chunks = math.ceil(num_steps / steps_per_word(dynamics.numerator, dynamics.denominator))
    chunk = math.ceil(num_steps / chunks)
    # Two steps, since the velocity matters from the second one on.
    is_same, params = _probe(run, dynamics, params, min(2, num_steps))
    with jax.enable_x64(True):
        begin = _fixed_start(params, dynamics.digits)
        end, words, fits = _forward(run, dynamics, begin, num_steps, chunks, chunk)
        is_sound = is_same & fits
        final_params = dynamics.real(end.params)
    final = _with_params(
        run, [jnp.where(is_sound, p, jnp.full_like(p, jnp.nan)) for p in final_params]
    )
    # The loss is that of the fixed-point run: value and gradient belong to one function.
    value, start = start_adjoint(run, final)
    is_param = run.is_param
    by_params = [a for a, flag in zip(start.real, is_param, strict=True) if flag]
    size = run.size(start.real)
    with jax.enable_x64(True):
        back = _backward(
            run, dynamics, end, words, Adjoint(start.hparams, by_params), num_steps, chunk
        )
        point, adjoint, sizes = back
        # A slip anywhere shows at the start, bit for bit: gradients are computed again on the way
        # back, and a device that sums in another order gives other bits.
        is_back = _is_start(point, params, dynamics.digits)
    reversal_ok = is_back & is_sound
    cotangents = iter(adjoint.real)
    real = [
        next(cotangents) if flag else jnp.zeros_like(leaf)
        for leaf, flag in zip(run.start.real, is_param, strict=True)
    ]
    total = jax.tree.map(jnp.add, adjoint.hparams, run.init_vjp(real))
    # A wrong gradient would go unnoticed; NaN does not.
    grad = jax.tree.map(lambda g: jnp.where(reversal_ok, g, jnp.full_like(g, jnp.nan)), total)
    sizes = jnp.concatenate([sizes, size[None]])
    diagnostics = Diagnostics(log_growth(sizes), sizes, reversal_ok=reversal_ok)
    return Hypergradient(value, grad, run.state(final), diagnostics)


def _probe(
    run: Run, dynamics: Dynamics, params: list[Array], count: int
) -> tuple[Array, list[Array]]:
    """Whether the first steps are those of the training, and where the run then begins.

    If they are not, the start is NaN: the value of another run would be wrong. That the run waits
    for the answer also keeps the memory of both from adding up.
    """
    with jax.enable_x64(True):
        begin = _fixed_start(params, dynamics.digits)
        point, fits = _steps(run, dynamics, begin, jnp.int32(0), jnp.int32(count))
        ours = dynamics.real(point.params)
    is_same = fits & _same_steps(run, ours, count, 2.0**-dynamics.digits)

    def spoiled(params: list[Array]) -> list[Array]:
        return [jnp.full_like(p, jnp.nan) for p in params]

    # A branch, not a selection: the start is then kept as it is, not as what it was made from.
    return is_same, jax.lax.cond(is_same, lambda params: params, spoiled, params)


def _fixed_start(params: list[Array], digits: int) -> _Point:
    fixed = [fix(p, digits) for p in params]
    zero = [jnp.zeros_like(p) for p in fixed]
    return _Point(fixed, zero, [z.astype(jnp.uint32) for z in zero])


def _is_start(point: _Point, params: list[Array], digits: int) -> Array:
    """Whether a reversed run came back; the start is rounded anew, so that it need not be kept."""
    same = [jnp.all(a == fix(b, digits)) for a, b in zip(point.params, params, strict=True)]
    empty = [jnp.all(a == 0) for a in (*point.velocity, *point.digits)]
    return jnp.all(jnp.stack([*same, *empty]))


def _move(rate: Array, velocity: Ints) -> Ints:
    """The step of the parameters: a function of the new velocity, so it can be taken back."""
    # In float64 whatever the training's type: both ways must round alike.
    scale = rate.astype(jnp.float64)
    return [jnp.rint(v.astype(jnp.float64) * scale).astype(jnp.int64) for v in velocity]


def _step(run: Run, dynamics: Dynamics, point: _Point, t: Array) -> tuple[_Point, Array]:
    """One step of momentum, and whether all its numbers have a place in fixed point."""
    grads, rate = dynamics.slopes(run.hparams, dynamics.real(point.params), t)
    n, d = dynamics.numerator, dynamics.denominator
    pairs = [
        exchange(v, digits, d, n) for v, digits in zip(point.velocity, point.digits, strict=True)
    ]
    velocity = [v + fix(g, dynamics.digits) for (v, _), g in zip(pairs, grads, strict=True)]
    move = _move(rate, velocity)
    params = [p - m for p, m in zip(point.params, move, strict=True)]
    # At every step, since an int64 that overflows wraps around silently.
    bound = largest(dynamics.digits)
    whole = int(bound * 2.0**dynamics.digits)
    fits = are_below(grads, bound) & are_below([*velocity, *params, *move], whole)
    fits = fits & jnp.isfinite(rate)
    return _Point(params, velocity, [digits for _, digits in pairs]), fits


def _steps(
    run: Run, dynamics: Dynamics, point: _Point, first: Array, stop: Array
) -> tuple[_Point, Array]:
    def body(t: Array, loop: tuple[_Point, Array]) -> tuple[_Point, Array]:
        point, fits = _step(run, dynamics, loop[0], t)
        return point, loop[1] & fits

    return jax.lax.fori_loop(first, stop, body, (point, jnp.ones((), bool)))


def _forward(
    run: Run, dynamics: Dynamics, begin: _Point, num_steps: int, chunks: int, chunk: int
) -> tuple[_Point, Ints, Array]:
    """All steps; after every chunk the digits are written out as 32-bit words `[chunks, ...]`."""

    def body(point: _Point, i: Array) -> tuple[_Point, tuple[Ints, Array]]:
        first = i * jnp.int32(chunk)
        stop = jnp.minimum(first + chunk, num_steps)
        point, fits = _steps(run, dynamics, point, first, stop)
        # An empty word for the next chunk: digits of this one are stored by the scan.
        return point._replace(digits=[jnp.zeros_like(d) for d in point.digits]), (
            point.digits,
            fits,
        )

    numbers = jnp.arange(chunks, dtype=jnp.int32)
    end, (words, fits) = jax.lax.scan(body, begin, numbers)
    return end, words, jnp.all(fits)


def _step_back(
    run: Run, dynamics: Dynamics, point: _Point, adjoint: tuple[Adjoint, list[Array]], t: Array
) -> tuple[_Point, tuple[Adjoint, list[Array]]]:
    """Undoes one step and carries the adjoint over it."""
    (by_hparams, by_params), by_velocity = adjoint
    # The order of a step, undone: parameters first, with the new velocity; then the gradient at the
    # old parameters gives the old velocity.
    velocity = dynamics.real(point.velocity)
    (_, rate) = dynamics.slopes(run.hparams, dynamics.real(point.params), t)
    move = _move(rate, point.velocity)
    params = [p + m for p, m in zip(point.params, move, strict=True)]
    real = dynamics.real(params)

    by_rate = -sum(
        (jnp.sum(a * v).astype(rate.dtype) for a, v in zip(by_params, velocity, strict=True)),
        jnp.zeros((), rate.dtype),
    )
    # What is read above is overwritten below. The compiler keeps a second copy of it unless it
    # sees an order, so the new values are made to depend on the sum: a NaN in it spoils them.
    is_lost = jnp.isnan(by_rate)
    slip = is_lost.astype(jnp.int64)
    (grads, rate), pullback = jax.vjp(
        lambda hparams, real: dynamics.slopes(hparams, real, t), run.hparams, real
    )
    n, d = dynamics.numerator, dynamics.denominator
    pairs = [
        exchange(v - fix(g, dynamics.digits) + slip, digits, n, d)
        for v, g, digits in zip(point.velocity, grads, point.digits, strict=True)
    ]
    before = _Point(params, [v for v, _ in pairs], [digits for _, digits in pairs])

    # Adjoint of v' = decay v + g, w' = w - rate v': v' gets b - rate a; g and v share it.
    total = [b - rate.astype(b.dtype) * a for a, b in zip(by_params, by_velocity, strict=True)]
    d_hparams, d_params = pullback((total, by_rate))
    momentum = dynamics.numerator / dynamics.denominator
    return before, (
        Adjoint(
            jax.tree.map(jnp.add, by_hparams, d_hparams),
            [
                jnp.where(is_lost, jnp.full_like(a, jnp.nan), a + d)
                for a, d in zip(by_params, d_params, strict=True)
            ],
        ),
        [b * momentum for b in total],
    )


def _backward(
    run: Run,
    dynamics: Dynamics,
    end: _Point,
    words: Ints,
    adjoint: Adjoint,
    num_steps: int,
    chunk: int,
) -> tuple[_Point, Adjoint, Array]:
    """The whole run backwards; also the adjoint's size before every step."""
    chunks = words[0].shape[0]
    dtype = jnp.result_type(*adjoint.real)

    def one(count: Array, loop: Any) -> Any:
        point, both, sizes, stop = loop
        t = stop - 1 - count
        point, both = _step_back(run, dynamics, point, both, t)
        parts = [jnp.max(jnp.abs(a)).astype(dtype) for a in both[0].real if a.size]
        return point, both, sizes.at[t].set(jnp.max(jnp.stack(parts))), stop

    def body(loop: Any, x: Any) -> tuple[Any, Array]:
        point, both, sizes = loop
        i, words = x
        first = i * jnp.int32(chunk)
        stop = jnp.minimum(first + jnp.int32(chunk), jnp.int32(num_steps))
        point = point._replace(digits=words)
        loop = (point, both, sizes, stop)
        point, both, sizes, _ = jax.lax.fori_loop(jnp.int32(0), stop - first, one, loop)
        # The digits must be used up; what is left over shows that the way back was another.
        return (point, both, sizes), jnp.all(
            jnp.stack([jnp.all(digits == 0) for digits in point.digits])
        )

    both = adjoint, [jnp.zeros_like(a) for a in adjoint.real]
    sizes = jnp.zeros(num_steps, dtype)
    numbers = jnp.arange(chunks, dtype=jnp.int32)
    (point, both, sizes), clean = jax.lax.scan(
        body, (end, both, sizes), (numbers, words), reverse=True
    )
    # Put where `_is_start` looks: it requires empty words.
    left = jnp.where(jnp.all(clean), 0, 1).astype(jnp.uint32)
    return point._replace(digits=[d + left for d in point.digits]), both[0], sizes


def _with_params(run: Run, params: list[Array]) -> Carry:
    """The start's state with trained parameters."""
    new = iter(params)
    pairs = zip(run.start.real, run.is_param, strict=True)
    return Carry([next(new) if flag else leaf for leaf, flag in pairs], run.start.other)


def _same_steps(run: Run, params: list[Array], count: int, resolution: float) -> Array:
    """Whether `training.step` comes to the same parameters in its first steps."""
    theirs = advance(run, run.start, jnp.int32(0), count)
    kept = [leaf for leaf, flag in zip(theirs.real, run.is_param, strict=True) if flag]
    starts = [leaf for leaf, flag in zip(run.start.real, run.is_param, strict=True) if flag]

    def close(ours: Array, theirs: Array, start: Array) -> Array:
        moved = jnp.max(jnp.abs(theirs - start)) if start.size else jnp.zeros((), start.dtype)
        eps = jnp.finfo(start.dtype).eps
        largest = jnp.max(jnp.abs(theirs)) if start.size else moved
        # A share of the way that the parameters have gone, so that a wrong optimizer is noticed at
        # any learning rate; a few units of rounding, in floating and in fixed point, for parameters
        # that hardly move.
        allowed = 1e-4 * moved + 8 * eps * largest + 8 * resolution
        return jnp.all(jnp.abs(ours - theirs) <= allowed)

    triples = zip(params, kept, starts, strict=True)
    return jnp.all(jnp.stack([close(*triple) for triple in triples]))
