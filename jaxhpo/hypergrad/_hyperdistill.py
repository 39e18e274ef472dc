"""HyperDistill: the long horizon distilled into one product with the step's derivative."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxhpo._checks import check_int, check_number, fail, is_traced
from jaxhpo.hypergrad._base import Array, Diagnostics, Estimator, Hypergradient, Memory, Traits
from jaxhpo.hypergrad._drmad import sweep_line
from jaxhpo.hypergrad._reverse import Adjoint, start_adjoint
from jaxhpo.hypergrad._run import Carry, Real, Run, explained, open_run
from jaxhpo.training import Training
from jaxhpo.training._objective import check_training


class _Fitted(NamedTuple):
    """The scale, and the calls so far."""

    theta: Array
    calls: Array


class _Trained(NamedTuple):
    """A finished run: the last two states, the mean one, the counters, and the horizon's weight."""

    before: Carry
    final: Carry
    mean: Real
    others: list[Array]
    horizon: Array


def hyperdistill(
    training: Training, *, num_steps: int, decay: float = 0.9, refit_every: int = 10
) -> Estimator:
    """Hypergradient of the last step, plus the rest of the run distilled into one product.

    Model: `∂_λ L + α ∂_λ step(s_{T-1}) + θ x_{T-1} v` with the adjoint `α = ∂_s L`,
    `v = α ∂_λ step(s*)` at the mean `s*` of all states, weighted by `decay^(T-1-t)`, and the weight
    `x_k = (1 - decay^k) / (1 - decay)` of a horizon of k steps. The scale `θ` is the least-squares
    fit of `g_k ≈ θ x_k v` over all horizons k, where `g_k` are the partial sums of a sweep along
    the straight line from the first state to the last (`drmad`). In a loop (`update`, `descend`)
    `θ` is kept and fitted anew every `refit_every` calls; between, the estimate costs two
    derivatives of one step. Exact where every step contracts the adjoint by `decay` and acts alike
    on the hyperparameters.

    Args:
        training: the run.
        num_steps: steps of the run; static.
        decay: weight of earlier states, from 0 to 1; may be traced.
        refit_every: calls between fits; static, at least 1.

    Returns:
        The estimator.

    Raises:
        TypeError: `training` is not a Training.
        ValueError: no steps, `decay` outside [0, 1], or `refit_every` below 1.

    Example:
        >>> import jax, jaxhpo as hpo
        >>> training = hpo.Training(
        ...     init=lambda key, hparams: 1.0,
        ...     step=lambda key, hparams, state, t: 0.5 * state + hparams["push"],
        ...     loss=lambda hparams, state: state,
        ... )
        >>> estimator = hpo.hypergrad.hyperdistill(training, num_steps=3, decay=0.5)
        >>> print(estimator(jax.random.key(0), {"push": 1.0}).grad["push"])
        1.75

    References:
        Lee et al., "Online hyperparameter meta-learning with hypergradient distillation",
        ICLR 2022.
    """
    where = "hyperdistill"
    check_training(where, training)
    num_steps = check_int(where, "num_steps", num_steps, 1)
    refit_every = check_int(where, "refit_every", refit_every, 1)
    check_number(where, "decay", decay)
    if not is_traced(decay) and not 0 <= decay <= 1:
        raise fail(where, "decay", "from 0 to 1", decay)

    def estimate(key: Array, hparams: Any, fitted: _Fitted | None) -> tuple[Hypergradient, _Fitted]:
        with explained(where):
            run = open_run(where, training, key, hparams, mixed=True)
            trained = _train(run, num_steps, decay)
            value, adjoint = start_adjoint(run, trained.final)
            t, mean = jnp.int32(num_steps - 1), Carry(trained.mean, trained.before.other)
            last = run.step_vjp(hparams, trained.before, t)(adjoint.real)[0]
            v = run.step_vjp(hparams, mean, t)(adjoint.real)[0]

            def fit(_: Any) -> Array:
                return _fit(run, trained, num_steps, adjoint, v, decay)

            if fitted is None:
                fitted = _Fitted(fit(None), jnp.int32(0))
            else:
                is_due = fitted.calls % refit_every == 0
                theta = jax.lax.cond(is_due, fit, lambda theta: theta, fitted.theta)
                fitted = _Fitted(theta, fitted.calls + 1)
        weight = fitted.theta * trained.horizon
        grad = jax.tree.map(
            lambda a, b, c: a + b + weight.astype(c.dtype) * c, adjoint.hparams, last, v
        )
        return Hypergradient(value, grad, run.state(trained.final), Diagnostics()), fitted

    def evaluate(key: Array, hparams: Any) -> Hypergradient:
        return estimate(key, hparams, None)[0]

    def init(key: Array, hparams: Any) -> _Fitted:
        return _Fitted(jnp.zeros((), jnp.result_type(float)), jnp.int32(0))

    traits = Traits(
        exact=False,
        bias="the sum over the steps before the last is one product with a fitted scale",
        time="1 run and two steps; 3 runs more where the scale is fitted",
        memory="3 S, and counters",
        needs="",
        cannot="initial weights",
    )
    memory = Memory(init, estimate)
    return Estimator(where, training, num_steps, traits, evaluate, memory)


def _train(run: Run, num_steps: int, decay: Any) -> _Trained:
    """The run, with the weighted mean of its states before every step."""

    def body(loop: tuple[Carry, Carry, Real, Array], t: Array) -> tuple[Any, list[Array]]:
        _, carry, mean, weight = loop
        # The weights of all states so far: x_{k+1} = decay x_k + 1.
        new = jnp.asarray(decay, weight.dtype) * weight + 1
        share = 1 / new
        mean = [m + share.astype(m.dtype) * (s - m) for m, s in zip(mean, carry.real, strict=True)]
        return (carry, run.step(run.hparams, carry, t), mean, new), carry.other

    zero = jnp.zeros((), jnp.result_type(float))
    loop = (run.start, run.start, run.start.real, zero)
    numbers = jnp.arange(num_steps, dtype=jnp.int32)
    (before, final, mean, weight), others = jax.lax.scan(body, loop, numbers)
    # x_{T-1}, from x_T = 1 + decay x_{T-1}, without dividing by a decay of zero.
    powers = jnp.asarray(decay, weight.dtype) ** jnp.arange(num_steps, dtype=weight.dtype)
    return _Trained(before, final, mean, others, jnp.sum(powers) - powers[-1])


def _fit(
    run: Run, trained: _Trained, num_steps: int, adjoint: Adjoint, v: Any, decay: Any
) -> Array:
    """Least squares of the partial sums `g_k` on `x_k v`, for all horizons k."""
    dtype = trained.horizon.dtype
    base = adjoint.hparams

    def dot(a: Any, b: Any) -> Array:
        parts = jax.tree.map(lambda x, y: jnp.sum(x * y).astype(dtype), a, b)
        return sum(jax.tree.leaves(parts), jnp.zeros((), dtype))

    def visit(seen: Any, adjoint: Adjoint, t: Array) -> Any:
        """The first pull, of the last step, only sets the mark from which the sums count."""
        weight, product, square, mark = seen
        is_first = t == num_steps - 1
        mark = jax.tree.map(lambda new, old: jnp.where(is_first, new, old), adjoint.hparams, mark)
        weight = jnp.where(is_first, weight, jnp.asarray(decay, dtype) * weight + 1)
        partial = jax.tree.map(jnp.subtract, adjoint.hparams, mark)
        return weight, product + weight * dot(partial, v), square + weight**2, mark

    zero = jnp.zeros((), dtype)
    seen = (zero, zero, zero, base)
    _, product, square = sweep_line(
        run, trained.final, trained.others, num_steps, adjoint, visit, seen
    )[1][:3]
    size = square * dot(v, v)
    return jnp.where(size > 0, product / jnp.where(size > 0, size, jnp.ones_like(size)), zero)
