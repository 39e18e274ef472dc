"""Initial weights with a proximal term: the solution moves with them, so implicit methods apply."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

from jaxhpo.problems._load import real
from jaxhpo.problems.tasks._task import Array, Optimizer, Task
from jaxhpo.training import TrainState, from_optax

_SHOTS, _FEATURES = 10, 20


def proximal(optimizer: Optimizer = None, *, num_tasks: int = 16, strength: float = 0.5) -> Task:
    """Sines fitted by 20 cosines from ten points each, drawn to a common start: that start.

    Model: `num_tasks` sines of random amplitude and phase, always the same; inner loss the mean
    over the sines of `½ mean (φ(x) w - y)² + ½ strength |w - start|²` with fixed random cosines
    `φ`, 100 steps of gradient descent from `start`; outer loss the error on 20 further points of
    each. The inner problem is strongly convex, so its solution is nearly reached and implicit
    differentiation gives the derivative that unrolling gives, at the price of a linear solve.

    Args:
        optimizer: `optimizer(hparams)` in place of SGD; static.
        num_tasks: sines; static.
        strength: of the proximal term.

    Returns:
        The task; `hparams = {"start": [20]}`; its score is minus the error on other sines.

    Example:
        >>> import jaxhpo as hpo
        >>> hpo.problems.proximal().hparams["start"].shape
        (20,)

    References:
        Rajeswaran, Finn, Kakade, Levine, "Meta-learning with implicit gradients", NeurIPS 2019.
    """
    shots, queries = _sines(0, num_tasks)
    held_out = _sines(1, 4 * num_tasks)

    def error(weights: Array, part: Any) -> Array:
        return 0.5 * jnp.mean((jnp.einsum("tnf,tf->tn", part["x"], weights) - part["y"]) ** 2)

    def loss(hparams: Any, weights: Array, batch: Any) -> Array:
        # Both a mean over the sines, so that the rate does not depend on their number.
        pull = jnp.mean(jnp.sum((weights - hparams["start"][None]) ** 2, axis=1))
        return error(weights, batch) + 0.5 * strength * pull

    def init(key: Array, hparams: Any) -> Array:
        return jnp.broadcast_to(hparams["start"][None], (num_tasks, _FEATURES))

    training = from_optax(
        init,
        lambda hparams, weights, batch: loss(hparams, weights, shots),
        optimizer or (lambda hparams: optax.sgd(0.5 * num_tasks)),
        train=real(np.zeros(1)),  # the losses hold their data: a sine is no example of a batch
        validation=real(np.zeros(1)),
        validation_loss=lambda hparams, weights, batch: error(weights, queries),
    )

    def test_loss(hparams: Any, state: TrainState) -> Array:
        """Adapts to other sines exactly, whatever the run was."""
        other, others = held_out
        hessian = jnp.einsum("tnf,tng->tfg", other["x"], other["x"]) / _SHOTS
        hessian = hessian + strength * jnp.eye(_FEATURES, dtype=hessian.dtype)[None]
        slope = jnp.einsum("tnf,tn->tf", other["x"], other["y"]) / _SHOTS
        found = jnp.linalg.solve(hessian, (slope + strength * hparams["start"][None])[..., None])
        return error(found[..., 0], others)

    return Task(
        training=training,
        num_steps=100,
        hparams={"start": real(np.zeros(_FEATURES))},
        test_loss=test_loss,
        score=lambda hparams, state: -test_loss(hparams, state),
        outer_lr=0.1,
        num_outer=100,
    )


def _sines(seed: int, num: int) -> tuple[Any, Any]:
    """Points for fitting and for judging: x `[num, points, features]`, y `[num, points]`."""
    rng, cosines = np.random.default_rng([seed, 2]), np.random.default_rng(3)
    frequency, shift = cosines.normal(size=_FEATURES), cosines.uniform(0, 2 * np.pi, _FEATURES)
    x = rng.uniform(-5.0, 5.0, (num, 3 * _SHOTS))
    amplitude, phase = rng.uniform(0.1, 5.0, (num, 1)), rng.uniform(0.0, np.pi, (num, 1))
    features = np.sqrt(2 / _FEATURES) * np.cos(x[:, :, None] * frequency + shift)
    y = amplitude * np.sin(x - phase)
    parts = [slice(None, _SHOTS), slice(_SHOTS, None)]
    first, second = ({"x": real(features[:, p]), "y": real(y[:, p])} for p in parts)
    return first, second
