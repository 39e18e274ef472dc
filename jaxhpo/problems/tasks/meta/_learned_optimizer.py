"""A small optimizer that is itself learned: a network turns gradients into updates."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo.problems.tasks._models import forward, weights
from jaxhpo.problems.tasks._task import Array, Task
from jaxhpo.training import Training, gradient

_DIMS, _HIDDEN, _STEPS = 10, 8, 20


def learned_optimizer(*, num_tasks: int = 16) -> Task:
    """Random quadratics in ten dimensions: the 2-8-1 network that descends them.

    Model: the key draws `num_tasks` functions `f(w) = |W w - y|²` with standard normal `W` and `y`;
    from `w = 0`, 20 steps `w <- w - 0.02 net(g, m)`, coordinate by coordinate, where `g` is the
    gradient, `m` its mean with decay 0.9, both squashed by `asinh`; outer loss the mean of `f` at
    the end. The step follows no gradient field, and the update depends on the gradient through a
    network: implicit methods do not apply.

    Args:
        num_tasks: quadratics a run; static.

    Returns:
        The task; `hparams = {"net": [{"w", "b"}, {"w", "b"}]}`; its score is minus the loss on
        quadratics that are always the same.

    Example:
        >>> import jaxhpo as hpo
        >>> hpo.problems.learned_optimizer().num_steps
        20

    References:
        Andrychowicz et al., "Learning to learn by gradient descent by gradient descent", NeurIPS
        2016, section 3.1.
    """

    def value(w: Array, problem: Any) -> Array:
        residual = jnp.einsum("tij,tj->ti", problem["matrix"], w) - problem["y"]
        return jnp.sum(residual**2, axis=1)

    def init(key: Array, hparams: Any) -> Any:
        dtype = hparams["net"][0]["w"].dtype
        zeros = jnp.zeros((num_tasks, _DIMS), dtype)
        return {"w": zeros, "mean": zeros, "problem": _quadratics(key, num_tasks, dtype)}

    def step(key: Array, hparams: Any, state: Any, t: Array) -> Any:
        slope = gradient(lambda w: jnp.sum(value(w, state["problem"])))(state["w"])
        mean = 0.9 * state["mean"] + 0.1 * slope
        inputs = jnp.stack([jnp.arcsinh(slope), jnp.arcsinh(mean)], axis=-1).reshape(-1, 2)
        update = forward(hparams["net"], inputs)[:, 0].reshape(slope.shape)
        return {**state, "w": state["w"] - 0.02 * update, "mean": mean}

    def loss(hparams: Any, state: Any) -> Array:
        return jnp.mean(value(state["w"], state["problem"]))

    def test_loss(hparams: Any, state: Any) -> Array:
        """Descends other quadratics, always the same."""
        start = init(jax.random.key(1), hparams)
        end, _ = jax.lax.scan(
            lambda state, t: (step(jax.random.key(1), hparams, state, t), None),
            start,
            jnp.arange(_STEPS, dtype=jnp.int32),
        )
        return loss(hparams, end)

    return Task(
        training=Training(init, step, loss),
        num_steps=_STEPS,
        hparams={"net": _first_net()},
        test_loss=test_loss,
        score=lambda hparams, state: -test_loss(hparams, state),
        outer_lr=0.03,
        num_outer=200,
    )


def _first_net() -> list[dict[str, Array]]:
    """A random network, small enough that it begins near standing still."""
    return jax.tree.map(lambda leaf: 0.5 * leaf, weights(jax.random.key(0), (2, _HIDDEN, 1)))


def _quadratics(key: Array, num: int, dtype: Any) -> Any:
    key_matrix, key_y = jax.random.split(key)
    return {
        "matrix": jax.random.normal(key_matrix, (num, _DIMS, _DIMS), dtype),
        "y": jax.random.normal(key_y, (num, _DIMS), dtype),
    }
