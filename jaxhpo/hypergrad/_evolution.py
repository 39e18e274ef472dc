"""Hypergradients without derivatives: evolution strategies, persistent ones, finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo._checks import check_int, check_positive, fail
from jaxhpo.hypergrad._base import Array, Diagnostics, Estimator, Hypergradient, Traits
from jaxhpo.hypergrad._forward import as_tree, basis
from jaxhpo.hypergrad._reverse import advance
from jaxhpo.hypergrad._run import Carry, Run, open_run
from jaxhpo.training import Training
from jaxhpo.training._objective import check_training

_NOISE = 0x6E6F6973  # the noise's key is this one folded into the run's


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
        TypeError: `training` is not a Training.
        ValueError: no steps or pairs, a `sigma` not above 0, a window outside the run.

    Example:
        >>> import jax, jaxhpo as hpo
        >>> training = hpo.Training(
        ...     init=lambda key, hparams: 1.0,
        ...     step=lambda key, hparams, state, t: state * (1 - hparams["lr"]),
        ...     loss=lambda hparams, state: state**2,
        ... )
        >>> estimator = hpo.hypergrad.es(training, num_steps=2, num_pairs=256, sigma=0.01)
        >>> bool(estimator(jax.random.key(0), {"lr": 0.5}).grad["lr"] < -0.3)
        True

    References:
        Salimans et al., "Evolution strategies as a scalable alternative", 2017.
    """
    where = "es"
    first = 0 if window is None else num_steps - _check_window(where, window, num_steps)

    def sample(run: Run, start: Carry, key: Array, sigma: Array) -> Any:
        noise = _normal(key, run.hparams)

        def value(sign: float) -> Array:
            hparams = _shift(run.hparams, noise, sign * sigma)
            carry = run.init(hparams) if first == 0 else start
            at = run._replace(hparams=hparams)
            final = advance(at, carry, jnp.int32(first), num_steps - first)
            return run.loss(hparams, final)

        slope = (value(1.0) - value(-1.0)) / (2 * sigma)
        return jax.tree.map(lambda e: slope.astype(e.dtype) * e, noise)

    traits = Traits(
        exact=False,
        bias="smoothed over a Gaussian, and noisy"
        + ("" if window is None else f"; ignores all but the last {window} steps"),
        time="1 + 2 N runs, N pairs",
        memory="2 N S",
        needs="",
        cannot="",
    )
    return _stochastic(where, training, num_steps, num_pairs, sigma, first, sample, traits)


def pes(
    training: Training,
    *,
    num_steps: int,
    window: int,
    num_pairs: int = 16,
    sigma: float = 0.1,
) -> Estimator:
    """Persistent evolution strategies: new noise in every window, all of it remembered.

    Model: with the noise `ε_i` of window i, `ξ_i = ε_1 + … + ε_i`, and `Δ_i` the change of the
    loss over window i: `mean Σ_i (Δ_i(+) - Δ_i(-)) ξ_i / (2 σ)`. Unbiased up to the smoothing,
    where a truncated estimate is not. `window=num_steps` is `es`.

    Args:
        training: the run.
        num_steps: steps of the run; static.
        window: steps of one window; static, a divisor of `num_steps`.
        num_pairs: pairs of perturbed runs; static, at least 1.
        sigma: size of the perturbation; may be traced.

    Returns:
        The estimator; its diagnostics hold standard errors.

    Raises:
        TypeError: `training` is not a Training.
        ValueError: no steps or pairs, a `sigma` not above 0, a window that does not divide the run.

    Example:
        >>> import jax, jaxhpo as hpo
        >>> training = hpo.Training(
        ...     init=lambda key, hparams: 1.0,
        ...     step=lambda key, hparams, state, t: state * (1 - hparams["lr"]),
        ...     loss=lambda hparams, state: state**2,
        ... )
        >>> estimator = hpo.hypergrad.pes(training, num_steps=2, window=1, num_pairs=512)
        >>> bool(estimator(jax.random.key(0), {"lr": 0.5}).grad["lr"] < -0.3)
        True

    References:
        Vicol, Metz, Sohl-Dickstein, "Unbiased gradient estimation in unrolled computation graphs
        with persistent evolution strategies", ICML 2021.
    """
    where = "pes"
    window = _check_window(where, window, num_steps)
    if num_steps % window:
        raise fail(where, "window", f"a divisor of the {num_steps} steps", window)
    count = num_steps // window

    def sample(run: Run, start: Carry, key: Array, sigma: Array) -> Any:
        # The first window draws the noise that `es` draws.
        later = jax.random.split(jax.random.fold_in(key, 1), count)[1:]
        keys = jnp.concatenate([key[None], later])

        def part(carry: Carry, noise: Any, i: Array, sign: float) -> tuple[Carry, Array]:
            hparams = _shift(run.hparams, noise, sign * sigma)
            at = run._replace(hparams=hparams)
            carry = advance(at, carry, i * jnp.int32(window), window)
            return carry, run.loss(hparams, carry)

        def body(loop: Any, x: tuple[Array, Array]) -> tuple[Any, None]:
            plus, minus, past, xi, total = loop
            window_key, i = x
            noise = _normal(window_key, run.hparams)
            xi = jax.tree.map(jnp.add, xi, noise)
            plus, up = part(plus, noise, i, 1.0)
            minus, down = part(minus, noise, i, -1.0)
            slope = ((up - past[0]) - (down - past[1])) / (2 * sigma)
            total = jax.tree.map(lambda g, e: g + slope.astype(e.dtype) * e, total, xi)
            return (plus, minus, (up, down), xi, total), None

        first = _normal(keys[0], run.hparams)
        plus = run.init(_shift(run.hparams, first, sigma))
        minus = run.init(_shift(run.hparams, first, -sigma))
        zero = jax.tree.map(jnp.zeros_like, run.hparams)
        nothing = jnp.zeros_like(run.loss(run.hparams, run.start))
        loop = (plus, minus, (nothing, nothing), zero, zero)
        xs = (keys, jnp.arange(count, dtype=jnp.int32))
        return jax.lax.scan(body, loop, xs)[0][4]

    traits = Traits(
        exact=False,
        bias="smoothed over a Gaussian, and noisy",
        time="1 + 2 N runs, N pairs",
        memory="2 N S",
        needs="",
        cannot="",
    )
    return _stochastic(where, training, num_steps, num_pairs, sigma, 0, sample, traits)


def finite_difference(
    training: Training, *, num_steps: int, step: float | None = None
) -> Estimator:
    """Central finite differences, two runs a hyperparameter: an oracle, not a method.

    Args:
        training: the run.
        num_steps: steps of the run; static.
        step: absolute step; may be traced; None takes the cube root of the rounding, times the
            size of the hyperparameter where that is above 1.

    Returns:
        The estimator.

    Raises:
        TypeError: `training` is not a Training.
        ValueError: no steps, or a `step` not above 0.

    Example:
        >>> import jax, jaxhpo as hpo
        >>> training = hpo.Training(
        ...     init=lambda key, hparams: 1.0,
        ...     step=lambda key, hparams, state, t: state * (1 - hparams["lr"]),
        ...     loss=lambda hparams, state: state**2,
        ... )
        >>> estimator = hpo.hypergrad.finite_difference(training, num_steps=2)
        >>> round(float(estimator(jax.random.key(0), {"lr": 0.5}).grad["lr"]), 2)
        -0.5
    """
    where = "finite_difference"
    check_training(where, training)
    num_steps = check_int(where, "num_steps", num_steps, 1)
    if step is not None:
        check_positive(where, "step", step)

    def evaluate(key: Array, hparams: Any) -> Hypergradient:
        run = open_run(where, training, key, hparams, mixed=False)

        def width(leaf: Array) -> Array:
            natural = jnp.cbrt(jnp.finfo(leaf.dtype).eps).astype(leaf.dtype)
            if step is not None:
                return jnp.full_like(leaf, step)
            return natural * jnp.maximum(jnp.abs(leaf), jnp.ones_like(leaf))

        widths = jax.tree.map(width, hparams)

        def slope(direction: Any) -> Array:
            move = jax.tree.map(jnp.multiply, widths, direction)
            ends = [jax.tree.map(op, hparams, move) for op in (jnp.add, jnp.subtract)]
            # The distance that floating point really made of the step.
            gaps = jax.tree.map(lambda a, b: jnp.sum(a - b), *ends)
            values = [_value(run, end, num_steps)[0] for end in ends]
            distance = sum(
                (gap.astype(values[0].dtype) for gap in jax.tree.leaves(gaps)),
                jnp.zeros_like(values[0]),
            )
            return (values[0] - values[1]) / distance

        slopes = jax.vmap(slope)(basis(hparams))
        value, final = _value(run, hparams, num_steps)
        return Hypergradient(value, as_tree(slopes, hparams), run.state(final), Diagnostics())

    traits = Traits(
        exact=False,
        bias="of the order of the step squared, plus rounding over the step",
        time="1 + 2 H runs",
        memory="2 H S",
        needs="",
        cannot="",
    )
    return Estimator(where, training, num_steps, traits, evaluate)


def _stochastic(
    where: str,
    training: Training,
    num_steps: int,
    num_pairs: int,
    sigma: Any,
    first: int,
    sample: Callable[[Run, Carry, Array, Array], Any],
    traits: Traits,
) -> Estimator:
    """Averages independent samples of a gradient, and tells their standard error."""
    check_training(where, training)
    num_steps = check_int(where, "num_steps", num_steps, 1)
    num_pairs = check_int(where, "num_pairs", num_pairs, 1)
    check_positive(where, "sigma", sigma)

    def evaluate(key: Array, hparams: Any) -> Hypergradient:
        run = open_run(where, training, key, hparams, mixed=False)
        value, final = _value(run, hparams, num_steps)
        start = advance(run, run.start, jnp.int32(0), first) if first else run.start
        size = jnp.asarray(sigma, value.dtype)
        keys = jax.random.split(jax.random.fold_in(key, _NOISE), num_pairs)
        samples = jax.vmap(lambda pair_key: sample(run, start, pair_key, size))(keys)
        grad = jax.tree.map(lambda rows: jnp.mean(rows, axis=0), samples)
        error = jax.tree.map(lambda rows: _standard_error(rows, num_pairs), samples)
        diagnostics = Diagnostics(standard_error=error)
        return Hypergradient(value, grad, run.state(final), diagnostics)

    return Estimator(where, training, num_steps, traits, evaluate)


def _standard_error(rows: Array, count: int) -> Array:
    """Of the mean of independent rows; NaN for a single one."""
    if count == 1:
        return jnp.full_like(rows[0], jnp.nan)
    return jnp.std(rows, axis=0, ddof=1) / count**0.5


def _value(run: Run, hparams: Any, num_steps: int) -> tuple[Array, Carry]:
    at = run._replace(hparams=hparams)
    final = advance(at, run.init(hparams), jnp.int32(0), num_steps)
    return run.loss(hparams, final), final


def _normal(key: Array, hparams: Any) -> Any:
    """Standard normal noise in the shape of the hyperparameters."""
    leaves, treedef = jax.tree.flatten(hparams)
    keys = jax.random.split(key, max(len(leaves), 1))
    return jax.tree.unflatten(
        treedef,
        [jax.random.normal(k, a.shape, a.dtype) for k, a in zip(keys, leaves, strict=False)],
    )


def _shift(hparams: Any, noise: Any, scale: Array) -> Any:
    return jax.tree.map(lambda a, e: a + scale.astype(a.dtype) * e, hparams, noise)


def _check_window(where: str, window: Any, num_steps: Any) -> int:
    num_steps = check_int(where, "num_steps", num_steps, 1)
    window = check_int(where, "window", window, 1)
    if window > num_steps:
        raise fail(where, "window", f"at most the {num_steps} steps of the run", window)
    return window
