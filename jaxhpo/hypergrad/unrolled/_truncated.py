"""Biased estimators that look back over a part of the run only."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo._checks import check_bool, fail
from jaxhpo.hypergrad._arguments import check_decay, check_run, check_window
from jaxhpo.hypergrad._base import Array, Diagnostics, Estimator, Hypergradient, Traits
from jaxhpo.hypergrad.unrolled import _schedules
from jaxhpo.hypergrad.unrolled._adjoint_sweep import advance, finish, start_adjoint
from jaxhpo.hypergrad.unrolled._opened_run import Carry, explained, open_run
from jaxhpo.hypergrad.unrolled._unrolled import log_growth
from jaxhpo.training import Training


def truncated(
    training: Training,
    *,
    num_steps: int,
    window: int,
    checkpoint: Any = "step",
    mixed_mode: bool = True,
) -> Estimator:
    """Hypergradient through the last `window` steps only.

    Model: the sum of `unrolled` without its first `num_steps - window` terms. The bias falls
    geometrically with the window where the inner problem is strongly convex; it is blind to what
    acts early (initial weights, the start of a schedule). `window=num_steps` is `unrolled`.

    Args:
        training: the run.
        num_steps: steps of the run; static.
        window: steps to look back over; static, from 1 to `num_steps`.
        checkpoint: schedule within the window, as in `unrolled`, `auto` excepted; static.
        mixed_mode: as in `unrolled`; static.

    Raises:
        ValueError: no steps, a window outside the run, or an unknown schedule.

    Example:
        >>> import jaxhpo as hpo
        >>> task = hpo.problems.valley()
        >>> def slope(window):
        ...     estimator = hpo.hypergrad.truncated(task.training, num_steps=200, window=window)
        ...     return round(float(estimator(0, task.hparams).grad["x"]), 2)
        >>> [slope(window) for window in (1, 2, 5, 200)]
        [-0.5, -1.27, -1.75, -1.78]

    References:
        Shaban et al., "Truncated back-propagation for bilevel optimization", 2019.
    """
    return _windowed("truncated", training, num_steps, window, checkpoint, mixed_mode)


def one_step(training: Training, *, num_steps: int, mixed_mode: bool = True) -> Estimator:
    """Hypergradient through the last step only (T1-T2), the cheapest estimate.

    Model: `∂_λ L + ∂_s L ∂_λ step(λ, s_{T-1})`: `truncated` with a window of 1. Its sign is often
    right, its size never.

    Args:
        training: the run.
        num_steps: steps of the run; static.
        mixed_mode: as in `unrolled`; static.

    References:
        Luketina et al., "Scalable gradient-based tuning of continuous regularization
        hyperparameters", 2016.
    """
    return _windowed("one_step", training, num_steps, 1, "step", mixed_mode)


def _windowed(
    where: str, training: Training, num_steps: int, window: int, checkpoint: Any, mixed: bool
) -> Estimator:
    num_steps = check_run(where, training, num_steps)
    mixed = check_bool(where, "mixed_mode", mixed)
    window = check_window(where, window, num_steps)
    schedule = _schedules.check_schedule(where, checkpoint)
    if isinstance(schedule, _schedules.Auto):
        raise fail(where, "checkpoint", "a schedule other than auto", checkpoint)
    is_whole = window == num_steps

    def evaluate(key: Array, hparams: Any) -> Hypergradient:
        with explained(where):
            run = open_run(where, training, key, hparams, mixed=mixed)
            first = num_steps - window
            carry = run.start if is_whole else advance(run, run.start, jnp.int32(0), first)
            sweep = schedule.sweep(run, carry, first, window)
            grad = finish(run, sweep) if is_whole else sweep.adjoint.hparams
        diagnostics = Diagnostics(log_growth(sweep.sizes), sweep.sizes)
        return Hypergradient(sweep.loss, grad, run.state(sweep.final), diagnostics)

    traits = Traits(
        exact=is_whole,
        bias="" if is_whole else f"ignores all but the last {window} of {num_steps} steps",
        time="1 + 2 K / T runs, K the window",
        memory="K S, or less by the schedule",
        cannot="" if is_whole else "initial weights, or what acts before the window",
    )
    return Estimator(where, training, num_steps, traits, evaluate)


def greedy(training: Training, *, num_steps: int, decay: float = 0.0) -> Estimator:
    """Online hypergradient: every step is judged by the loss right after it.

    Model: `∂_λ L(s_T) + Σ_t decay^(T-1-t) ∂_s L(s_{t+1}) ∂_λ step(λ, s_t)`. Nothing is stored. It
    prefers what helps at once, so learning rates collapse: short-horizon bias. `decay=0` is
    `one_step`.

    Args:
        training: the run.
        num_steps: steps of the run; static.
        decay: weight of earlier steps, from 0 to 1; may be traced.

    Raises:
        ValueError: no steps, or `decay` outside [0, 1].

    Example:
        >>> import jaxhpo as hpo
        >>> task = hpo.problems.valley()
        >>> estimator = hpo.hypergrad.greedy(task.training, num_steps=200, decay=0.4)
        >>> round(float(estimator(0, task.hparams).grad["x"]), 3)
        -1.778

    References:
        Baydin et al. 2018; Wu et al., "Understanding short-horizon bias", 2018.
    """
    where = "greedy"
    num_steps = check_run(where, training, num_steps)
    check_decay(where, decay)

    def evaluate(key: Array, hparams: Any) -> Hypergradient:
        with explained(where):
            run = open_run(where, training, key, hparams, mixed=True)

            def body(t: Array, both: tuple[Carry, Any]) -> tuple[Carry, Any]:
                carry, total = both
                after = run.step(hparams, carry, t)
                slope = run.loss_vjp(hparams, after)[2]
                by_hparams = run.step_vjp(hparams, carry, t)(slope)[0]
                total = jax.tree.map(
                    lambda old, new: jnp.asarray(decay, old.dtype) * old + new, total, by_hparams
                )
                return after, total

            zero = jax.tree.map(jnp.zeros_like, hparams)
            final, total = jax.lax.fori_loop(0, num_steps, body, (run.start, zero))
            loss, adjoint = start_adjoint(run, final)
        grad = jax.tree.map(jnp.add, adjoint.hparams, total)
        return Hypergradient(loss, grad, run.state(final))

    traits = Traits(
        bias="short horizon: each step is judged by the loss right after it",
        time="3 runs and a validation gradient a step",
        memory="none that grows with T",
        cannot="initial weights",
    )
    return Estimator(where, training, num_steps, traits, evaluate)
