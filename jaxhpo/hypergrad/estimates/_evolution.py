"""Evolution strategies: hypergradients of a smoothed value, from runs alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo._checks import check_count, check_positive
from jaxhpo.hypergrad._arguments import check_run, check_window
from jaxhpo.hypergrad._base import Array, Diagnostics, Estimator, Hypergradient, Memory, Traits
from jaxhpo.hypergrad.unrolled._adjoint_sweep import advance
from jaxhpo.hypergrad.unrolled._opened_run import Carry, Run, open_run
from jaxhpo.training import Training

NOISE = 0x6E6F6973  # the noise's key is this one folded into the run's


def es(
    training: Training,
    *,
    num_steps: int,
    num_pairs: int = 16,
    sigma: float = 0.1,
    window: int | None = None,
) -> Estimator:
    """Antithetic evolution strategies: the gradient of the value smoothed over a Gaussian.

    Model: `mean (f(λ + σ ε) - f(λ - σ ε)) ε / (2 σ)`, `ε ~ N(0, 1)`, all runs on one key. It stays
    finite where the exact gradient explodes, and passes anything that runs.

    Args:
        training: the run.
        num_steps: steps of the run; static.
        num_pairs: pairs of perturbed runs; static, at least 1.
        sigma: size of the perturbation; may be traced.
        window: perturb the last `window` steps only (truncated, biased); static; None: all.

    Returns:
        The estimator; its diagnostics hold standard errors.

    Raises:
        ValueError: no steps or pairs, a `sigma` not above 0, a window outside the run.

    Example:
        >>> import jaxhpo as hpo
        >>> task = hpo.problems.valley()
        >>> estimator = hpo.hypergrad.es(task.training, num_steps=200, num_pairs=256, sigma=0.01)
        >>> found = estimator(0, task.hparams)
        >>> error = abs(found.grad["x"] - task.exact(task.hparams)[1]["x"])
        >>> bool(error < 3 * found.diagnostics.standard_error["x"])
        True

    References:
        Salimans et al., "Evolution strategies as a scalable alternative", 2017.
    """
    where = "es"
    first = 0 if window is None else num_steps - check_window(where, window, num_steps)

    def sample(run: Run, start: Carry, key: Array, sigma: Array) -> Any:
        noise = normal(key, run.hparams)

        def value(sign: float) -> Array:
            hparams = shift(run.hparams, noise, sign * sigma)
            carry = run.init(hparams) if first == 0 else start
            at = run._replace(hparams=hparams)
            final = advance(at, carry, jnp.int32(first), num_steps - first)
            return run.loss(hparams, final)

        slope = (value(1.0) - value(-1.0)) / (2 * sigma)
        return jax.tree.map(lambda e: slope.astype(e.dtype) * e, noise)

    traits = Traits(
        bias="smoothed over a Gaussian, and noisy"
        + ("" if window is None else f"; ignores all but the last {window} steps"),
        time="1 + 2 N runs, N pairs",
        memory="2 N S",
    )
    return stochastic(where, training, num_steps, num_pairs, sigma, first, sample, traits)


def stochastic(
    where: str,
    training: Training,
    num_steps: int,
    num_pairs: int,
    sigma: Any,
    first: int,
    sample: Callable[[Run, Carry, Array, Array], Any],
    traits: Traits,
    memory: Memory | None = None,
) -> Estimator:
    """Averages independent samples of a gradient, and tells their standard error."""
    num_steps = check_run(where, training, num_steps)
    num_pairs = check_count(where, "num_pairs", num_pairs, 1)
    check_positive(where, "sigma", sigma)

    def evaluate(key: Array, hparams: Any) -> Hypergradient:
        run = open_run(where, training, key, hparams, mixed=False)
        value, final = run_value(run, hparams, num_steps)
        start = advance(run, run.start, jnp.int32(0), first) if first else run.start
        size = jnp.asarray(sigma, value.dtype)
        keys = jax.random.split(jax.random.fold_in(key, NOISE), num_pairs)
        samples = jax.vmap(lambda pair_key: sample(run, start, pair_key, size))(keys)
        grad, diagnostics = average(samples, num_pairs)
        return Hypergradient(value, grad, run.state(final), diagnostics)

    return Estimator(where, training, num_steps, traits, evaluate, memory)


def average(samples: Any, count: int) -> tuple[Any, Diagnostics]:
    """The mean of independent samples of a gradient `[count, ...]`, and its standard error."""
    grad = jax.tree.map(lambda rows: jnp.mean(rows, axis=0), samples)
    error = jax.tree.map(lambda rows: _standard_error(rows, count), samples)
    return grad, Diagnostics(standard_error=error)


def _standard_error(rows: Array, count: int) -> Array:
    """Of the mean of independent rows; NaN for a single one."""
    if count == 1:
        return jnp.full_like(rows[0], jnp.nan)
    return jnp.std(rows, axis=0, ddof=1) / count**0.5


def run_value(run: Run, hparams: Any, num_steps: int) -> tuple[Array, Carry]:
    """The value of a whole run at other hyperparameters, and its last state."""
    at = run._replace(hparams=hparams)
    final = advance(at, run.init(hparams), jnp.int32(0), num_steps)
    return run.loss(hparams, final), final


def normal(key: Array, hparams: Any) -> Any:
    """Standard normal noise in the shape of the hyperparameters."""
    leaves, treedef = jax.tree.flatten(hparams)
    keys = jax.random.split(key, max(len(leaves), 1))
    return jax.tree.unflatten(
        treedef,
        [jax.random.normal(k, a.shape, a.dtype) for k, a in zip(keys, leaves, strict=False)],
    )


def shift(hparams: Any, noise: Any, scale: Array) -> Any:
    """`hparams + scale noise`."""
    return jax.tree.map(lambda a, e: a + scale.astype(a.dtype) * e, hparams, noise)
