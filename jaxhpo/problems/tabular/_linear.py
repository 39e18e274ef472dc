"""Softmax regression: two penalties, of which one makes weights exactly zero, and momentum."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxhpo import space as hps
from jaxhpo.problems.tabular._base import Array, Data, losses, split
from jaxhpo.space import Space

MAX_STEPS = 100


def space() -> Space:
    """`power` bends the inputs to `sign(x) |x|**power`, after they were cut off at `clip`."""
    return Space(
        {
            "penalty": hps.choice(
                {
                    "none": {},
                    "ridge": {"weight": hps.log_uniform(1e-6, 10.0)},
                    "lasso": {"weight": hps.log_uniform(1e-6, 1.0)},
                    "elastic": {
                        "weight": hps.log_uniform(1e-6, 1.0),
                        "share": hps.uniform(0.0, 1.0),
                    },
                }
            ),
            "rate": hps.log_uniform(1e-4, 10.0),
            "momentum": hps.uniform(0.0, 0.99),
            "steps": hps.integer(5, MAX_STEPS, log=True),
            "smoothing": hps.uniform(0.0, 0.5),
            "power": hps.uniform(0.1, 2.0),
            "clip": hps.log_uniform(0.3, 10.0),
        }
    )


def evaluate(data: Data, key: Array, instance: Array, params: Any) -> Array:
    """Validation loss of one configuration: proximal steps with the whole batch."""
    del key  # nothing but the split is random
    parts = split(data, instance)
    dtype = parts.x.dtype
    clip, power = params["clip"].astype(dtype), params["power"].astype(dtype)

    def bent(x: Array) -> Array:
        size = jnp.clip(jnp.abs(x), jnp.finfo(dtype).tiny, clip)  # 0 ** power has no log
        return jnp.sign(x) * size**power

    smoothing = params["smoothing"].astype(dtype)
    targets = jax.nn.one_hot(parts.y, data.num_outputs, dtype=dtype)
    targets = (1 - smoothing) * targets + smoothing / data.num_outputs
    ridge, lasso = _penalties(params["penalty"], dtype)
    x = bent(parts.x)

    def loss(weights: Any) -> Array:
        log_probabilities = jax.nn.log_softmax(x @ weights["w"] + weights["b"][None])
        fit = -jnp.mean(jnp.sum(targets * log_probabilities, axis=1))
        return fit + 0.5 * ridge * jnp.sum(weights["w"] ** 2)

    rate = params["rate"].astype(dtype)
    optimizer = optax.trace(params["momentum"].astype(dtype))
    start = {
        "w": jnp.zeros((x.shape[1], data.num_outputs), dtype),
        "b": jnp.zeros(data.num_outputs, dtype),
    }

    def step(t: Array, carry: Any) -> Any:
        weights, state = carry
        update, new_state = optimizer.update(jax.grad(loss)(weights), state)
        moved = jax.tree.map(lambda w, u: w - rate * u, weights, update)
        shrunk = jnp.sign(moved["w"]) * jnp.maximum(jnp.abs(moved["w"]) - rate * lasso, 0)
        new = ({**moved, "w": shrunk}, new_state)
        return jax.tree.map(lambda a, b: jnp.where(t < params["steps"], a, b), new, carry)

    weights, _ = jax.lax.fori_loop(0, MAX_STEPS, step, (start, optimizer.init(start)))
    outputs = bent(parts.x_validation) @ weights["w"] + weights["b"][None]
    return jnp.mean(losses(outputs, parts.y_validation))


def _penalties(penalty: Any, dtype: Any) -> tuple[Array, Array]:
    """Weights of the squared and of the absolute penalty."""
    _, ridge, lasso, elastic = penalty.options
    zero = jnp.zeros((), dtype)
    mixed, share = elastic["weight"].astype(dtype), elastic["share"].astype(dtype)
    squared = (zero, ridge["weight"].astype(dtype), zero, (1 - share) * mixed)
    absolute = (zero, zero, lasso["weight"].astype(dtype), share * mixed)
    return jnp.stack(squared)[penalty.index], jnp.stack(absolute)[penalty.index]
