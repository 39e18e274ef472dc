"""Persistent evolution strategies, with fresh or reused noise, whole or window by window."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxhpo._checks import check_bool, check_count, fail
from jaxhpo.hypergrad._arguments import check_window
from jaxhpo.hypergrad._base import Array, Estimator, Hypergradient, Memory, Traits
from jaxhpo.hypergrad.estimates._evolution import (
    NOISE,
    average,
    normal,
    shift,
    stochastic,
)
from jaxhpo.hypergrad.unrolled._adjoint_sweep import advance
from jaxhpo.hypergrad.unrolled._opened_run import Carry, Run, open_run
from jaxhpo.training import Training


class _Pair(NamedTuple):
    """Two mirrored runs on their way.

    Attributes:
        ends: the state under plus and minus the noise.
        losses: `[2]` their losses after the last window.
        noise: the noise of the window, like the hyperparameters.
        total: the sum of all noise drawn since the start, `ξ`.
        window: `[]` number of the next window.
    """

    ends: tuple[Carry, Carry]
    losses: Array
    noise: Any
    total: Any
    window: Array


class _Online(NamedTuple):
    """All pairs, and the number of calls so far."""

    pairs: _Pair
    calls: Array


def pes(
    training: Training,
    *,
    num_steps: int,
    window: int,
    num_pairs: int = 16,
    sigma: float = 0.1,
    reuse: int | None = 1,
    online: bool = False,
) -> Estimator:
    """Persistent evolution strategies: noise that changes on the way, all of it remembered.

    Model: with the noise `ε_i` of window i, `ξ_i` the sum of all draws up to it, and `Δ_i` the
    change of the loss over window i: `mean Σ_i (Δ_i(+) - Δ_i(-)) ξ_i / (2 σ)`. Unbiased up to the
    smoothing, where a truncated estimate is not. `window=num_steps` is `es`.
    One draw for the whole run (`reuse=None`) is ES-Single, or noise-reuse ES: summed over a run it
    is `es` again. Anything between is generalised PES.
    With `online`, `update` (and so `descend`) takes every pair only one window further per call,
    pairs being spread over the run: an outer step costs `2 N window` inner steps instead of
    `2 N num_steps`. There the variance of fresh noise grows with the number of windows, that of one
    kept draw does not. Its value is the mean loss of the pairs where they are; runs that began
    under older hyperparameters go on under the new ones.

    Args:
        training: the run.
        num_steps: steps of the run; static.
        window: steps of one window; static, a divisor of `num_steps`.
        num_pairs: pairs of perturbed runs; static, at least 1.
        sigma: size of the perturbation; may be traced.
        reuse: windows that share one draw of noise; static; None: all of them.
        online: whether `update` takes one window per call; static.

    Returns:
        The estimator; its diagnostics hold standard errors.

    Raises:
        ValueError: no steps or pairs, a `sigma` not above 0, a window that does not divide the
            run, or a `reuse` below 1.

    Example:
        >>> import jaxhpo as hpo
        >>> task = hpo.problems.valley()
        >>> estimator = hpo.hypergrad.pes(task.training, num_steps=200, window=100, num_pairs=512)
        >>> bool(estimator(0, task.hparams).grad["x"] < -1.0)
        True

    References:
        Vicol, Metz, Sohl-Dickstein, "Unbiased gradient estimation in unrolled computation graphs
        with persistent evolution strategies", ICML 2021; Vicol, "Low-variance gradient estimation
        in unrolled computation graphs with ES-Single", ICML 2023; Li et al., "Noise-reuse in
        online evolution strategies", NeurIPS 2023.
    """
    where = "pes"
    online = check_bool(where, "online", online)
    window = check_window(where, window, num_steps)
    if num_steps % window:
        raise fail(where, "window", f"a divisor of the {num_steps} steps", window)
    count = num_steps // window
    # One draw per run is ES-Single; a fresh draw per window is the original PES.
    reuse = count if reuse is None else min(check_count(where, "reuse", reuse, 1), count)

    def begin(run: Run, key: Array, sigma: Array) -> _Pair:
        noise = normal(key, run.hparams)
        # Both signs of one draw start from the same key: what they share cancels in the difference.
        ends = tuple(run.init(shift(run.hparams, noise, sign * sigma)) for sign in (1.0, -1.0))
        # Losses count from zero, so that their changes over the windows add up to the final loss.
        nothing = jnp.zeros_like(run.loss(run.hparams, run.start))
        return _Pair((ends[0], ends[1]), jnp.stack([nothing] * 2), noise, noise, jnp.int32(0))

    def go_on(
        run: Run, pair: _Pair, key: Array, sigma: Array, has_begun: bool | Array = True
    ) -> tuple[_Pair, Any]:
        """Advances a pair by one window; also what that adds to the gradient."""
        noise, total = pair.noise, pair.total
        if reuse < count:
            # `begin` has drawn the noise of window 0; online pairs in mid-run keep theirs on the
            # first call.
            is_new = (pair.window > 0) & (pair.window % reuse == 0) & has_begun
            drawn = normal(key, run.hparams)
            noise = jax.tree.map(lambda a, b: jnp.where(is_new, a, b), drawn, noise)
            # A kept draw enters the sum once: the sum is that of distinct perturbations, each of
            # which has moved the state since it was drawn.
            total = jax.tree.map(lambda a, b: jnp.where(is_new, a + b, a), total, drawn)

        def part(carry: Carry, sign: float) -> tuple[Carry, Array]:
            hparams = shift(run.hparams, noise, sign * sigma)
            first = pair.window * jnp.int32(window)
            carry = advance(run._replace(hparams=hparams), carry, first, window)
            return carry, run.loss(hparams, carry)

        (plus, up), (minus, down) = part(pair.ends[0], 1.0), part(pair.ends[1], -1.0)
        losses = jnp.stack([up, down])
        # The change, not the loss: each window's share of the final loss meets the noise up to it.
        change = losses - pair.losses
        # The sum of all noise, not that of this window: what earlier noise did to the state is in
        # this loss too. Leaving it out is truncated ES, which is biased.
        slope = (change[0] - change[1]) / (2 * sigma)
        grad = jax.tree.map(lambda e: slope.astype(e.dtype) * e, total)
        return _Pair((plus, minus), losses, noise, total, pair.window + 1), grad

    def sample(run: Run, start: Carry, key: Array, sigma: Array) -> Any:
        def body(loop: tuple[_Pair, Any], key: Array) -> tuple[tuple[_Pair, Any], None]:
            pair, grad = go_on(run, loop[0], key, sigma)
            return (pair, jax.tree.map(jnp.add, loop[1], grad)), None

        # The first window's noise is that of `es`.
        keys = jax.random.split(jax.random.fold_in(key, 1), count)
        zero = jax.tree.map(jnp.zeros_like, run.hparams)
        # A scan over windows, so that one window is compiled whatever their number.
        return jax.lax.scan(body, (begin(run, key, sigma), zero), keys)[0][1]

    def init(key: Array, hparams: Any) -> _Online:
        """Pairs spread evenly over the run; up to there they ran without noise."""
        run = open_run(where, training, key, hparams, mixed=False)
        # Spread over the run, so that each call averages over its whole length.
        windows = (jnp.arange(num_pairs) * count // num_pairs).astype(jnp.int32)

        def one(key: Array, window_number: Array) -> _Pair:
            steps = window_number * jnp.int32(window)
            carry = advance(run, run.start, jnp.int32(0), steps)
            noise, loss = normal(key, hparams), run.loss(hparams, carry)
            return _Pair((carry, carry), jnp.stack([loss] * 2), noise, noise, window_number)

        keys = jax.random.split(jax.random.fold_in(key, NOISE), num_pairs)
        return _Online(jax.vmap(one)(keys, windows), jnp.int32(0))

    def update(key: Array, hparams: Any, memory: _Online) -> tuple[Hypergradient, _Online]:
        run = open_run(where, training, key, hparams, mixed=False)
        size = jnp.asarray(sigma, run.loss(hparams, run.start).dtype)
        key_call = jax.random.fold_in(jax.random.fold_in(key, NOISE), memory.calls + 1)

        def one(pair: _Pair, key: Array) -> tuple[_Pair, Any]:
            key_begin, key_window = jax.random.split(key)
            # A pair at the end of its run starts anew, under the present hyperparameters.
            pair = _where(pair.window == 0, begin(run, key_begin, size), pair)
            pair, grad = go_on(run, pair, key_window, size, memory.calls > 0)
            # Each pair stands for all windows of the run.
            grad = jax.tree.map(lambda g: count * g, grad)
            return pair._replace(window=pair.window % count), grad

        pairs, grads = jax.vmap(one)(memory.pairs, jax.random.split(key_call, num_pairs))
        grad, diagnostics = average(grads, num_pairs)
        state = run.state(jax.tree.map(lambda rows: rows[0], pairs.ends[0]))
        out = Hypergradient(jnp.mean(pairs.losses), grad, state, diagnostics)
        return out, _Online(pairs, memory.calls + 1)

    traits = Traits(
        bias="smoothed over a Gaussian, and noisy",
        time="1 + 2 N runs, N pairs" + (f"; 2 N / {count} a call online" if online else ""),
        memory="2 N S",
    )
    memory = Memory(init, update) if online else None
    return stochastic(where, training, num_steps, num_pairs, sigma, 0, sample, traits, memory)


def _where(flag: Array, new: Any, old: Any) -> Any:
    def choose(a: Array, b: Array) -> Array:
        return jnp.where(flag, a, b)

    return jax.tree.map(choose, new, old)
