"""DrMAD: a reverse sweep along the straight line from the first state to the last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo.hypergrad._arguments import check_run
from jaxhpo.hypergrad._base import Array, Diagnostics, Estimator, Hypergradient, Traits
from jaxhpo.hypergrad.unrolled._adjoint_sweep import Adjoint, Sweep, finish, pull, start_adjoint
from jaxhpo.hypergrad.unrolled._opened_run import Carry, Real, Run, explained, open_run
from jaxhpo.hypergrad.unrolled._unrolled import log_growth
from jaxhpo.training import Training

_TRAITS = Traits(
    bias="the states between are a straight line",
    time="3 runs",
    memory="2 S, and counters",
    cannot="a while_loop in the step",
)

Visit = Callable[[Any, Adjoint, Array], Any]


def drmad(training: Training, *, num_steps: int) -> Estimator:
    """Hypergradient along a shortcut: states between the first and the last are interpolated.

    Model: the reverse sweep of `unrolled` with `s_t = (1 - t / T) s_0 + (t / T) s_T` in place of
    the states of the run, so nothing is stored but counters and keys. The bias is not controlled:
    it vanishes where the step is linear in the state and does not couple it with the
    hyperparameters, and may be anything elsewhere. A baseline, and a part of `hyperdistill`.

    Args:
        training: the run.
        num_steps: steps of the run; static.

    Example:
        >>> import jax, jaxhpo as hpo
        >>> training = hpo.Training(
        ...     init=lambda key, hparams: 1.0,
        ...     step=lambda key, hparams, state, t: 0.5 * state + hparams["push"],
        ...     loss=lambda hparams, state: state,
        ... )
        >>> estimator = hpo.hypergrad.drmad(training, num_steps=3)
        >>> print(estimator(jax.random.key(0), {"push": 1.0}).grad["push"])
        1.75

    References:
        Fu et al., "DrMAD: distilling reverse-mode automatic differentiation for optimizing
        hyperparameters of deep neural networks", IJCAI 2016.
    """
    where = "drmad"
    num_steps = check_run(where, training, num_steps)

    def evaluate(key: Array, hparams: Any) -> Hypergradient:
        with explained(where):
            run = open_run(where, training, key, hparams, mixed=True)
            final, others = forward_run(run, num_steps)
            value, adjoint = start_adjoint(run, final)

            def visit(seen: Any, adjoint: Adjoint, t: Array) -> Any:
                return seen.at[t].set(run.size(adjoint.real))

            size = run.size(adjoint.real)
            sizes = jnp.zeros(num_steps + 1, size.dtype).at[num_steps].set(size)
            adjoint, sizes = sweep_line(run, final, others, num_steps, adjoint, visit, sizes)
            grad = finish(run, Sweep(value, adjoint, final, sizes))
        diagnostics = Diagnostics(log_growth(sizes), sizes)
        return Hypergradient(value, grad, run.state(final), diagnostics)

    return Estimator(where, training, num_steps, _TRAITS, evaluate)


def forward_run(run: Run, num_steps: int) -> tuple[Carry, list[Array]]:
    """Trains, and records what is not real (counters, keys) before every step `[T, ...]`."""

    def body(carry: Carry, t: Array) -> tuple[Carry, list[Array]]:
        return run.step(run.hparams, carry, t), carry.other

    return jax.lax.scan(body, run.start, jnp.arange(num_steps, dtype=jnp.int32))


def sweep_line(
    run: Run,
    final: Carry,
    others: list[Array],
    num_steps: int,
    adjoint: Adjoint,
    visit: Visit,
    seen: Any,
) -> tuple[Adjoint, Any]:
    """Sweeps back over interpolated states; `visit(seen, adjoint, t)` looks at every adjoint."""

    def body(loop: tuple[Adjoint, Any], x: tuple[Array, list[Array]]) -> tuple[Any, None]:
        (adjoint, seen), (t, other) = loop, x
        adjoint = pull(run, adjoint, Carry(on_line(run, final, num_steps, t), other), t)
        return (adjoint, visit(seen, adjoint, t)), None

    numbers = jnp.arange(num_steps, dtype=jnp.int32)
    return jax.lax.scan(body, (adjoint, seen), (numbers, others), reverse=True)[0]


def on_line(run: Run, final: Carry, num_steps: int, t: Array) -> Real:
    """The state before step t on the straight line from the first to the last."""

    def between(start: Array, end: Array) -> Array:
        part = t.astype(start.dtype) / num_steps
        return (1 - part) * start + part * end

    return [between(a, b) for a, b in zip(run.start.real, final.real, strict=True)]
