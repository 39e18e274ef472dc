"""HyperDistill: the long horizon distilled into one product with the step's derivative."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxhpo._checks import check_count
from jaxhpo.hypergrad._arguments import check_decay, check_run
from jaxhpo.hypergrad._base import Array, Estimator, Hypergradient, Memory, Traits
from jaxhpo.hypergrad.reversible._drmad import on_line, sweep_line
from jaxhpo.hypergrad.unrolled._adjoint_sweep import Adjoint, start_adjoint
from jaxhpo.hypergrad.unrolled._opened_run import Carry, Real, Run, explained, open_run
from jaxhpo.training import Training

_TRAITS = Traits(
    bias="the sum over the steps is one product with a fitted scale",
    time="1 run and one step; 5 runs more where the scale is fitted",
    memory="3 S, and counters",
    cannot="initial weights",
)


class _Fitted(NamedTuple):
    """The scale, and the calls so far."""

    theta: Array
    calls: Array


class _Trained(NamedTuple):
    """A finished run: its end, the mean of the states before, counters, the horizon's weight."""

    final: Carry
    last_other: list[Array]
    mean: Real
    others: list[Array]
    horizon: Array


def hyperdistill(
    training: Training, *, num_steps: int, decay: float = 0.9, refit_every: int = 10
) -> Estimator:
    """Hypergradient of the last step, plus the rest of the run distilled into one product.

    Model: `∂_λ L + θ x_T v_T` with the adjoint `α = ∂_s L` at the end of the run and, for a horizon
    of the last k steps, the weight `x_k = (1 - decay^k) / (1 - decay)` and the product
    `v_k = α ∂_λ step(s*_k)` at the mean `s*_k` of their states, weighted by `decay^j` for the one j
    steps before the last. The scale `θ` is the least-squares fit of `g_k ≈ θ x_k v_k` over all
    horizons, where `g_k` are the partial sums of a sweep along the straight line from the first
    state to the last (`drmad`), and `s*_k` lies on that line, so that nothing is stored. In a loop
    (`update`, `descend`) `θ` is kept and fitted anew every `refit_every` calls; between, the
    estimate costs one derivative of one step. Exact for one step, and where every step contracts
    the adjoint by `decay` and acts alike on the hyperparameters.

    Args:
        training: the run.
        num_steps: steps of the run; static.
        decay: weight of earlier states, from 0 to 1; may be traced.
        refit_every: calls between fits; static, at least 1.

    Raises:
        ValueError: no steps, `decay` outside [0, 1], or `refit_every` below 1.

    Example:
        >>> import jaxhpo as hpo
        >>> task = hpo.problems.valley()
        >>> estimator = hpo.hypergrad.hyperdistill(task.training, num_steps=200, decay=0.4)
        >>> memory = estimator.init(0, task.hparams)
        >>> found, memory = estimator.update(0, task.hparams, memory)
        >>> round(float(found.grad["x"]), 2), int(memory.calls)
        (-1.78, 1)

    References:
        Lee et al., "Online hyperparameter meta-learning with hypergradient distillation",
        ICLR 2022.
    """
    where = "hyperdistill"
    num_steps = check_run(where, training, num_steps)
    refit_every = check_count(where, "refit_every", refit_every, 1)
    check_decay(where, decay)

    def estimate(key: Array, hparams: Any, fitted: _Fitted | None) -> tuple[Hypergradient, _Fitted]:
        with explained(where):
            run = open_run(where, training, key, hparams, mixed=True)
            trained = _train(run, num_steps, decay)
            value, adjoint = start_adjoint(run, trained.final)
            v = _product(run, trained, num_steps, trained.mean, adjoint)

            def fit(_: Any) -> Array:
                return _fit(run, trained, num_steps, adjoint, decay)

            if fitted is None:
                fitted = _Fitted(fit(None), jnp.int32(0))
            else:
                is_due = fitted.calls % refit_every == 0
                theta = jax.lax.cond(is_due, fit, lambda theta: theta, fitted.theta)
                fitted = _Fitted(theta, fitted.calls + 1)
        weight = fitted.theta * trained.horizon
        grad = jax.tree.map(lambda a, b: a + weight.astype(b.dtype) * b, adjoint.hparams, v)
        return Hypergradient(value, grad, run.state(trained.final)), fitted

    def evaluate(key: Array, hparams: Any) -> Hypergradient:
        return estimate(key, hparams, None)[0]

    def init(key: Array, hparams: Any) -> _Fitted:
        return _Fitted(jnp.zeros((), jnp.result_type(float)), jnp.int32(0))

    memory = Memory(init, estimate)
    return Estimator(where, training, num_steps, _TRAITS, evaluate, memory)


def _train(run: Run, num_steps: int, decay: Any) -> _Trained:
    """The run, with the weighted mean of the states before its steps."""

    def body(loop: tuple[Carry, Real, Array], t: Array) -> tuple[Any, list[Array]]:
        carry, mean, weight = loop
        # The weights of all states so far: x_{k+1} = decay x_k + 1.
        weight = jnp.asarray(decay, weight.dtype) * weight + 1
        mean = _toward(mean, carry.real, 1 / weight)
        return (run.step(run.hparams, carry, t), mean, weight), carry.other

    zero = jnp.zeros((), jnp.result_type(float))
    loop = (run.start, run.start.real, zero)
    numbers = jnp.arange(num_steps, dtype=jnp.int32)
    (final, mean, weight), others = jax.lax.scan(body, loop, numbers)
    return _Trained(final, [other[-1] for other in others], mean, others, weight)


def _toward(mean: Real, new: Real, share: Array) -> Real:
    return [m + share.astype(m.dtype) * (s - m) for m, s in zip(mean, new, strict=True)]


def _product(run: Run, trained: _Trained, num_steps: int, mean: Real, adjoint: Adjoint) -> Any:
    """`v`: the end's adjoint, pulled through the last step taken at a mean state."""
    at = Carry(mean, trained.last_other)
    return run.step_vjp(run.hparams, at, jnp.int32(num_steps - 1))(adjoint.real)[0]


def _fit(run: Run, trained: _Trained, num_steps: int, end: Adjoint, decay: Any) -> Array:
    """Least squares of the partial sums `g_k` on `x_k v_k`, for all horizons k."""
    dtype = trained.horizon.dtype

    def dot(a: Any, b: Any) -> Array:
        parts = jax.tree.map(lambda x, y: jnp.sum(x * y).astype(dtype), a, b)
        return sum(jax.tree.leaves(parts), jnp.zeros((), dtype))

    def visit(seen: Any, adjoint: Adjoint, t: Array) -> Any:
        weight, power, mean, product, square = seen
        weight = weight + power
        mean = _toward(mean, on_line(run, trained.final, num_steps, t), power / weight)
        v = _product(run, trained, num_steps, mean, end)
        partial = jax.tree.map(jnp.subtract, adjoint.hparams, end.hparams)
        product = product + weight * dot(partial, v)
        square = square + weight**2 * dot(v, v)
        return weight, jnp.asarray(decay, dtype) * power, mean, product, square

    zero, one = jnp.zeros((), dtype), jnp.ones((), dtype)
    seen = (zero, one, trained.final.real, zero, zero)
    *_, product, square = sweep_line(
        run, trained.final, trained.others, num_steps, end, visit, seen
    )[1]
    return jnp.where(square > 0, product / jnp.where(square > 0, square, one), zero)
