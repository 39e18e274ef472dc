"""Exact reverse-mode hypergradients through the unrolled run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from jaxhpo._checks import check_bool
from jaxhpo.hypergrad._arguments import check_run
from jaxhpo.hypergrad._base import Array, Diagnostics, Estimator, Hypergradient, Traits
from jaxhpo.hypergrad.unrolled import _budget, _schedules
from jaxhpo.hypergrad.unrolled._adjoint_sweep import Sweep, finish
from jaxhpo.hypergrad.unrolled._opened_run import Run, explained, open_run
from jaxhpo.training import Training

_TRAITS = Traits(
    exact=True,
    time="3 runs (step), 4 (sqrt), 2 + k (k levels), at most 3 + r (binomial, T <= C(s + r, r))",
    memory="T (S + A) (none), T S (step), 2 sqrt(T) S (sqrt), k T^(1/k) S, s S (binomial)",
    cannot="a while_loop in the step",
)


def unrolled(
    training: Training,
    *,
    num_steps: int,
    checkpoint: Any = "sqrt",
    mixed_mode: bool = True,
) -> Estimator:
    """Exact hypergradient of the finite run, by a reverse sweep over its steps.

    Model: `s_0 = init(λ)`, `s_{t+1} = step(λ, s_t, t)`, value `L(λ, s_T)`; the adjoint
    `α_T = ∂_s L`, `α_t = α_{t+1} ∂_s step` gives
    `dL/dλ = ∂_λ L + Σ α_{t+1} ∂_λ step + α_0 ∂_λ init`.
    It differentiates anything that a step depends on smoothly, in any number, at a cost that does
    not grow with that number. For one to three hyperparameters `forward` is faster and smaller.

    Args:
        training: the run; its inner gradients should come from `hpo.training.gradient` (the
            adapters' do) to profit from `mixed_mode`.
        num_steps: steps of the run; static.
        checkpoint: "none", "step", "sqrt", "binomial", `nested(levels)`, `binomial(slots)` or
            `auto(max_bytes)`; static. The gradient is the same, time and memory are not.
        mixed_mode: differentiate inner gradients forward over reverse; static.

    Returns:
        The estimator; its diagnostics hold the adjoint's growth.

    Raises:
        TypeError: `checkpoint` is of a wrong type.
        ValueError: no steps or an unknown schedule; on a call, a hyperparameter that is not real,
            a `while_loop` in the step, a step that is not a function of its key and number, or a
            budget that nothing fits.

    Example:
        >>> import jaxhpo as hpo
        >>> task = hpo.problems.valley()
        >>> estimator = hpo.hypergrad.unrolled(task.training, num_steps=200, checkpoint="binomial")
        >>> found = estimator(0, task.hparams)
        >>> round(float(found.grad["x"]), 3), bool(found.diagnostics.log_growth < 3)
        (-1.778, True)

    References:
        Maclaurin et al. 2015; Franceschi et al. 2017; Griewank and Walther 2000; Kemaev et al.
        2025.
    """
    where = "unrolled"
    num_steps = check_run(where, training, num_steps)
    mixed_mode = check_bool(where, "mixed_mode", mixed_mode)
    schedule = _schedules.check_schedule(where, checkpoint)

    def evaluate_with(
        schedule: _schedules.Schedule, num_steps: int
    ) -> Callable[[Array, Any], Hypergradient]:
        def evaluate(key: Array, hparams: Any) -> Hypergradient:
            with explained(where):
                run = open_run(where, training, key, hparams, mixed=mixed_mode)
                return as_result(run, schedule.sweep(run, run.start, 0, num_steps))

        return evaluate

    def evaluate(key: Array, hparams: Any) -> Hypergradient:
        fixed = schedule
        if isinstance(fixed, _schedules.Auto):
            run = open_run(where, training, key, hparams, mixed=mixed_mode)
            fixed = _budget.choose(where, fixed, run, num_steps, evaluate_with, key, hparams)
        return evaluate_with(fixed, num_steps)(key, hparams)

    return Estimator(where, training, num_steps, _TRAITS, evaluate)


def as_result(run: Run, sweep: Sweep) -> Hypergradient:
    """The hypergradient of a finished sweep that began at the run's start."""
    diagnostics = Diagnostics(log_growth=log_growth(sweep.sizes), adjoint_norms=sweep.sizes)
    return Hypergradient(sweep.loss, finish(run, sweep), run.state(sweep.final), diagnostics)


def log_growth(sizes: Array) -> Array:
    """Largest growth of the adjoint over its size at the end, as a logarithm."""
    last = sizes[-1]
    return jnp.where(last > 0, jnp.log(jnp.max(sizes)) - jnp.log(last), jnp.zeros_like(last))
