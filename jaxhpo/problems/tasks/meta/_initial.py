"""Meta-learned initial weights: a network that fits any sine after five steps."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxhpo.problems.tasks._models import forward, weights
from jaxhpo.problems.tasks._task import Array, Optimizer, Task
from jaxhpo.training import Training, gradient

_SHOTS, _QUERIES = 10, 20


def initial(optimizer: Optimizer = None, *, num_tasks: int = 16) -> Task:
    """Sines of random amplitude and phase, ten points each: the 1-40-40-1 network to start from.

    Model: the key draws `num_tasks` sines with amplitude in [0.1, 5] and phase in [0, π]; from the
    same initial weights each is fitted by 5 steps of SGD with rate 0.01 on 10 points; outer loss
    the mean squared error on 20 further points. In a descent every outer step
    sees new sines (`seeds="fresh"`, the default).

    Args:
        optimizer: `optimizer(hparams)` in place of SGD, applied to the stacked weights; static.
        num_tasks: sines a run; static.

    Returns:
        The task; `hparams = {"start": [{"w", "b"}, …]}`; its score is minus the error on sines
        that are always the same.

    Example:
        >>> import jaxhpo as hpo
        >>> hpo.problems.initial().num_steps
        5

    References:
        Finn, Abbeel, Levine, "Model-agnostic meta-learning", ICML 2017, section 5.1.
    """
    build = optimizer or (lambda hparams: optax.sgd(0.01))

    def fit(params: Any, sines: Any) -> Array:
        return jax.vmap(_error)(params, sines["x"], sines["y"])

    def init(key: Array, hparams: Any) -> Any:
        params = jax.tree.map(
            lambda a: jnp.broadcast_to(a[None], (num_tasks, *a.shape)), hparams["start"]
        )
        sines = _sines(key, num_tasks)
        return {"params": params, "opt_state": build(hparams).init(params), "sines": sines}

    def step(key: Array, hparams: Any, state: Any, t: Array) -> Any:
        params, shots = state["params"], state["sines"]["shots"]
        grads = gradient(lambda p: jnp.sum(fit(p, shots)))(params)
        updates, opt_state = build(hparams).update(grads, state["opt_state"], params)
        params = optax.apply_updates(params, updates)
        return {**state, "params": params, "opt_state": opt_state}

    def loss(hparams: Any, state: Any) -> Array:
        return jnp.mean(fit(state["params"], state["sines"]["queries"]))

    def test_loss(hparams: Any, state: Any) -> Array:
        """Adapts to other sines by the plain rule, whatever the run was."""

        def adapt(shots: Any, queries: Any) -> Array:
            def descend(_: Any, params: Any) -> Any:
                grads = jax.grad(_error)(params, shots["x"], shots["y"])
                return jax.tree.map(lambda p, g: p - 0.01 * g, params, grads)

            params = jax.lax.fori_loop(0, 5, descend, hparams["start"])
            return _error(params, queries["x"], queries["y"])

        held_out = _sines(jax.random.key(1), 4 * num_tasks)
        return jnp.mean(jax.vmap(adapt)(held_out["shots"], held_out["queries"]))

    return Task(
        training=Training(init, step, loss),
        num_steps=5,
        hparams={"start": weights(jax.random.key(0), (1, 40, 40, 1))},
        test_loss=test_loss,
        score=lambda hparams, state: -test_loss(hparams, state),
        outer_lr=0.003,
        num_outer=300,
    )


def _error(params: Any, x: Array, y: Array) -> Array:
    return jnp.mean((forward(params, x)[:, 0] - y) ** 2)


def _sines(key: Array, num: int) -> Any:
    """Points of sines: `{"shots", "queries"}`, each x `[num, points, 1]` and y `[num, points]`."""
    dtype = jnp.result_type(float)
    key_x, key_a, key_p = jax.random.split(key, 3)
    points = _SHOTS + _QUERIES
    x = jax.random.uniform(key_x, (num, points, 1), dtype, -5.0, 5.0)
    amplitude = jax.random.uniform(key_a, (num, 1), dtype, 0.1, 5.0)
    phase = jax.random.uniform(key_p, (num, 1), dtype, 0.0, np.pi)
    y = amplitude * jnp.sin(x[:, :, 0] - phase)
    return {
        "shots": {"x": x[:, :_SHOTS], "y": y[:, :_SHOTS]},
        "queries": {"x": x[:, _SHOTS:], "y": y[:, _SHOTS:]},
    }
