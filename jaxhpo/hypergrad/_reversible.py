"""Exact hypergradients of SGD with momentum by running it backwards, bit for bit.

Parameters and velocity are integers (fixed point). Every operation on them has an exact inverse
except the decay of the velocity, `v n / d`; the digits that the division would lose go into an
information buffer of `log2(d / n)` bits a parameter and step (Maclaurin et al. 2015, section 2.3).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxhpo._checks import check_callable, check_int, describe, fail
from jaxhpo.hypergrad import _safe
from jaxhpo.hypergrad._base import Array, Diagnostics, Estimator, Hypergradient, Traits
from jaxhpo.hypergrad._fixed_point import RESOLUTION, Ints, exchange, fix, steps_per_word, to_real
from jaxhpo.hypergrad._implicit import reaches
from jaxhpo.hypergrad._reverse import Adjoint, advance, start_adjoint
from jaxhpo.hypergrad._run import Carry, Run, explained, open_run
from jaxhpo.hypergrad._unrolled import log_growth
from jaxhpo.training import Training, gradient, trial_keys
from jaxhpo.training._gradient import mixed_mode
from jaxhpo.training._objective import check_training

_TRAITS = Traits(
    exact=True,
    bias="",
    time="4 runs",
    memory="2 S + T P log2(d / n) / 8",
    needs="SGD with momentum; inner_loss, or a loss of key, hparams, params and step",
    cannot="any other optimizer; the momentum itself",
)


class _Point(NamedTuple):
    """Fixed-point training: parameters, velocity and the word of digits not yet written out."""

    params: Ints
    velocity: Ints
    digits: Ints


class _Dynamics(NamedTuple):
    """`slopes(hparams, params, t) -> (gradient leaves, learning rate)`, and the exact decay."""

    slopes: Callable[[Any, list[Array], Array], tuple[list[Array], Array]]
    numerator: int
    denominator: int
    dtypes: list[Any]


def reversible(
    training: Training,
    *,
    num_steps: int,
    learning_rate: Callable[[Any, Array], Any],
    decay: Any = Fraction(9, 10),
    loss: Callable[..., Any] | None = None,
) -> Estimator:
    """Exact hypergradient of SGD with momentum, with memory that hardly grows with the run.

    Model: `v <- decay v + ∇g`, `w <- w - lr v`, in fixed point, run forward and then backward with
    the state recomputed, not stored. The estimator checks itself: the first two steps must be
    those of `training.step`, and the reversed run must end where it began, bit for bit. If either
    fails (another optimizer, a device whose sums are not reproducible), `reversal_ok` is False and
    the gradient is NaN: use `unrolled` then.

    Args:
        training: the run, whose state has `params`.
        num_steps: steps of the run; static.
        learning_rate: `learning_rate(hparams, t) -> scalar`.
        decay: the momentum, a fraction of small whole numbers between 0 and 1; static.
        loss: `loss(key, hparams, params, t) -> scalar`, the inner loss of one step, where `key` is
            that of `training.step`; `training.inner_loss` if None.

    Returns:
        The estimator.

    Raises:
        TypeError: `training` is not a Training, or a function is not callable.
        ValueError: no steps, no inner loss, a `decay` that is no such fraction, or (when called) a
            state without real parameters, or a hyperparameter that acts elsewhere in the step.

    Example:
        >>> import jax, jax.numpy as jnp, optax, jaxhpo as hpo
        >>> x = jnp.linspace(-1.0, 1.0, 32)
        >>> training = hpo.training.from_optax(
        ...     lambda key, hparams: jnp.zeros(()),
        ...     lambda hparams, w, batch: jnp.mean((w * batch - 3.0 * batch) ** 2),
        ...     lambda hparams: optax.sgd(hparams["lr"], momentum=0.9), train=x, validation=x,
        ... )
        >>> estimator = hpo.hypergrad.reversible(
        ...     training, num_steps=20, learning_rate=lambda hparams, t: hparams["lr"]
        ... )
        >>> print(estimator(jax.random.key(0), {"lr": 0.1}).diagnostics.reversal_ok)
        True

    References:
        Maclaurin, Duvenaud, Adams, "Gradient-based hyperparameter optimization through reversible
        learning", ICML 2015.
    """
    where = "reversible"
    check_training(where, training)
    num_steps = check_int(where, "num_steps", num_steps, 1)
    check_callable(where, "learning_rate", learning_rate)
    numerator, denominator = _check_decay(where, decay)
    if loss is None and training.inner_loss is None:
        raise ValueError(
            f"{where}: `loss` must be given when the training has no inner_loss, got None."
        )
    whole: Any = training.inner_loss
    inner = loss or (lambda key, hparams, params, t: whole(hparams, params))
    check_callable(where, "loss", inner)

    def evaluate(key: Array, hparams: Any) -> Hypergradient:
        with explained(where):
            run = open_run(where, training, key, hparams, mixed=False)
            params = _params(where, run)
            key_step = trial_keys(key)[1]
            slopes = _trace_slopes(inner, learning_rate, key_step, run, params)
            _check_all_differentiated(where, run, slopes, params)
            dynamics = _Dynamics(slopes, numerator, denominator, [p.dtype for p in params])
            return _run_there_and_back(run, dynamics, params, num_steps)

    return Estimator(where, training, num_steps, _TRAITS, evaluate)


def _check_decay(where: str, decay: Any) -> tuple[int, int]:
    """Requires a fraction between 0 and 1 whose terms leave room in the buffer."""
    try:
        fraction = Fraction(decay).limit_denominator(1000)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{where}: `decay` must be a fraction, got {describe(decay)}.") from error
    if not 0 < fraction < 1 or abs(float(fraction) - float(decay)) > 1e-9:
        expected = "a fraction between 0 and 1 of whole numbers up to 1000, such as Fraction(9, 10)"
        raise fail(where, "decay", expected, decay)
    return fraction.numerator, fraction.denominator


def _params(where: str, run: Run) -> list[Array]:
    """The trained leaves of the start."""
    params = [leaf for leaf, flag in zip(run.start.real, run.is_param, strict=True) if flag]
    if not params:
        raise ValueError(f"{where}: `training.init` must return real parameters, got none.")
    return params


def _trace_slopes(
    loss: Callable[..., Any],
    learning_rate: Callable[..., Any],
    key: Array,
    run: Run,
    params: list[Array],
) -> Callable[[Any, list[Array], Array], tuple[list[Array], Array]]:
    """Traces gradient and learning rate in the caller's precision; replayed inside float64."""
    state = run.state(run.start)
    tree = state["params"] if isinstance(state, dict) else getattr(state, "params", state)
    treedef = jax.tree.structure(tree)

    def slopes(hparams: Any, params: list[Array], t: Array) -> tuple[list[Array], Array]:
        at = jax.tree.unflatten(treedef, params)
        grads = gradient(lambda tree: loss(key, hparams, tree, t))(at)
        rate = jnp.asarray(learning_rate(hparams, t))
        return jax.tree.leaves(grads), rate

    with mixed_mode(True):
        closed = jax.make_jaxpr(slopes)(run.hparams, params, jnp.int32(0))

    def replay(hparams: Any, params: list[Array], t: Array) -> tuple[list[Array], Array]:
        args = jax.tree.leaves((hparams, params, t))
        *grads, rate = _safe.evaluate(closed.jaxpr, closed.consts, args)
        return grads, rate

    return replay


def _check_all_differentiated(
    where: str, run: Run, slopes: Callable[..., Any], params: list[Array]
) -> None:
    """Refuses hyperparameters that act in the step outside of what is differentiated here."""
    t, hparams = jnp.int32(0), run.hparams
    known = [
        reaches(jax.make_jaxpr(slopes)(hparams, params, t).jaxpr, hparams),
        reaches(jax.make_jaxpr(run.init)(hparams).jaxpr, hparams),
        reaches(jax.make_jaxpr(run.loss)(hparams, run.start).jaxpr, hparams),
    ]
    acts = reaches(jax.make_jaxpr(run.step)(hparams, run.start, t).jaxpr, hparams)
    paths = jax.tree_util.tree_flatten_with_path(hparams)[0]
    for (path, _), is_used, *flags in zip(paths, acts, *known, strict=True):
        if is_used and not any(flags):
            name = "hparams" + jax.tree_util.keystr(path)
            raise ValueError(
                f"{where}: `{name}` acts in the step, but neither in its gradient nor in its "
                "learning rate (a momentum, a decoupled weight decay), so its derivative would be "
                "missing. Keep it constant here, or use hypergrad.unrolled or forward."
            )


def _run_there_and_back(
    run: Run, dynamics: _Dynamics, params: list[Array], num_steps: int
) -> Hypergradient:
    """Trains in fixed point, differentiates on the way back, and checks both ways."""
    chunks = math.ceil(num_steps / steps_per_word(dynamics.numerator, dynamics.denominator))
    chunk = math.ceil(num_steps / chunks)
    is_same, params = _probe(run, dynamics, params, min(2, num_steps))
    with jax.enable_x64(True):
        begin = _fixed_start(params)
        end, words = _forward(run, dynamics, begin, num_steps, chunks, chunk)
        final_params = to_real(end.params, dynamics.dtypes)
    final = _with_params(run, final_params)
    value, start = start_adjoint(run, final)
    is_param = run.is_param
    by_params = [a for a, flag in zip(start.real, is_param, strict=True) if flag]
    size = run.size(start.real)
    with jax.enable_x64(True):
        back = _backward(
            run, dynamics, end, words, Adjoint(start.hparams, by_params), num_steps, chunk
        )
        point, adjoint, sizes = back
        is_back = _is_start(point, params)
    reversal_ok = is_back & is_same
    cotangents = iter(adjoint.real)
    real = [
        next(cotangents) if flag else jnp.zeros_like(leaf)
        for leaf, flag in zip(run.start.real, is_param, strict=True)
    ]
    total = jax.tree.map(jnp.add, adjoint.hparams, run.init_vjp(real))
    grad = jax.tree.map(lambda g: jnp.where(reversal_ok, g, jnp.full_like(g, jnp.nan)), total)
    sizes = jnp.concatenate([sizes, size[None]])
    diagnostics = Diagnostics(log_growth(sizes), sizes, reversal_ok=reversal_ok)
    return Hypergradient(value, grad, run.state(final), diagnostics)


def _probe(
    run: Run, dynamics: _Dynamics, params: list[Array], count: int
) -> tuple[Array, list[Array]]:
    """Whether the first steps are those of the training, and where the run then begins.

    If they are not, the start is NaN: the value of another run would be wrong. That the run waits
    for the answer also keeps the memory of both from adding up.
    """
    with jax.enable_x64(True):
        begin = _fixed_start(params)
        point = _steps(run, dynamics, begin, jnp.int32(0), jnp.int32(count))
        ours = to_real(point.params, dynamics.dtypes)
    is_same = _same_steps(run, ours, count)

    def spoiled(params: list[Array]) -> list[Array]:
        return [jnp.full_like(p, jnp.nan) for p in params]

    # A branch, not a selection: the start is then kept as it is, not as what it was made from.
    return is_same, jax.lax.cond(is_same, lambda params: params, spoiled, params)


def _fixed_start(params: list[Array]) -> _Point:
    fixed = [fix(p) for p in params]
    zero = [jnp.zeros_like(p) for p in fixed]
    return _Point(fixed, zero, [z.astype(jnp.uint32) for z in zero])


def _is_start(point: _Point, params: list[Array]) -> Array:
    """Whether a reversed run came back; the start is rounded anew, so that it need not be kept."""
    same = [jnp.all(a == fix(b)) for a, b in zip(point.params, params, strict=True)]
    empty = [jnp.all(a == 0) for a in (*point.velocity, *point.digits)]
    return jnp.all(jnp.stack([*same, *empty]))


def _move(rate: Array, velocity: Ints) -> Ints:
    """The step of the parameters: a function of the new velocity, so it can be taken back."""
    scale = rate.astype(jnp.float64)
    return [jnp.rint(v.astype(jnp.float64) * scale).astype(jnp.int64) for v in velocity]


def _step(run: Run, dynamics: _Dynamics, point: _Point, t: Array) -> _Point:
    """One step of momentum."""
    grads, rate = dynamics.slopes(run.hparams, to_real(point.params, dynamics.dtypes), t)
    n, d = dynamics.numerator, dynamics.denominator
    pairs = [
        exchange(v, digits, d, n) for v, digits in zip(point.velocity, point.digits, strict=True)
    ]
    velocity = [v + fix(g) for (v, _), g in zip(pairs, grads, strict=True)]
    move = _move(rate, velocity)
    params = [p - m for p, m in zip(point.params, move, strict=True)]
    return _Point(params, velocity, [digits for _, digits in pairs])


def _steps(run: Run, dynamics: _Dynamics, point: _Point, first: Array, stop: Array) -> _Point:
    return jax.lax.fori_loop(first, stop, lambda t, p: _step(run, dynamics, p, t), point)


def _forward(
    run: Run, dynamics: _Dynamics, begin: _Point, num_steps: int, chunks: int, chunk: int
) -> tuple[_Point, Ints]:
    """All steps; after every chunk the digits are written out as 32-bit words `[chunks, ...]`."""

    def body(point: _Point, i: Array) -> tuple[_Point, Ints]:
        first = i * jnp.int32(chunk)
        point = _steps(run, dynamics, point, first, jnp.minimum(first + chunk, num_steps))
        return point._replace(digits=[jnp.zeros_like(d) for d in point.digits]), point.digits

    return jax.lax.scan(body, begin, jnp.arange(chunks, dtype=jnp.int32))


def _step_back(
    run: Run, dynamics: _Dynamics, point: _Point, adjoint: tuple[Adjoint, list[Array]], t: Array
) -> tuple[_Point, tuple[Adjoint, list[Array]]]:
    """Undoes one step and carries the adjoint over it."""
    (by_hparams, by_params), by_velocity = adjoint
    velocity = to_real(point.velocity, dynamics.dtypes)
    (_, rate) = dynamics.slopes(run.hparams, to_real(point.params, dynamics.dtypes), t)
    move = _move(rate, point.velocity)
    params = [p + m for p, m in zip(point.params, move, strict=True)]
    real = to_real(params, dynamics.dtypes)

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
        exchange(v - fix(g) + slip, digits, n, d)
        for v, g, digits in zip(point.velocity, grads, point.digits, strict=True)
    ]
    before = _Point(params, [v for v, _ in pairs], [digits for _, digits in pairs])

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
    dynamics: _Dynamics,
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
    left = jnp.where(jnp.all(clean), 0, 1).astype(jnp.uint32)
    return point._replace(digits=[d + left for d in point.digits]), both[0], sizes


def _with_params(run: Run, params: list[Array]) -> Carry:
    """The start's state with trained parameters."""
    new = iter(params)
    pairs = zip(run.start.real, run.is_param, strict=True)
    return Carry([next(new) if flag else leaf for leaf, flag in pairs], run.start.other)


def _same_steps(run: Run, params: list[Array], count: int) -> Array:
    """Whether `training.step` comes to the same parameters in its first steps."""
    theirs = advance(run, run.start, jnp.int32(0), count)
    kept = [leaf for leaf, flag in zip(theirs.real, run.is_param, strict=True) if flag]
    starts = [leaf for leaf, flag in zip(run.start.real, run.is_param, strict=True) if flag]

    def close(ours: Array, theirs: Array, start: Array) -> Array:
        moved = jnp.max(jnp.abs(theirs - start)) if start.size else jnp.zeros((), start.dtype)
        eps = jnp.finfo(start.dtype).eps
        largest = jnp.max(jnp.abs(theirs)) if start.size else moved
        allowed = 1e-4 * moved + 8 * eps * largest + 8 * RESOLUTION
        return jnp.all(jnp.abs(ours - theirs) <= allowed)

    triples = zip(params, kept, starts, strict=True)
    return jnp.all(jnp.stack([close(*triple) for triple in triples]))
