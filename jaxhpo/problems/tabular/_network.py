"""A network of one hidden layer: optimizer and its settings, shape, regularisation, length."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxhpo import space as hps
from jaxhpo.problems.tabular._base import Array, Data, Split, losses, split
from jaxhpo.space import Space

MAX_WIDTH, MAX_BATCH, MAX_STEPS = 32, 32, 100


def space() -> Space:
    """`scale` multiplies the first weights at the start, `noise` is added to the inputs."""
    return Space(
        {
            "optimizer": hps.choice(
                {
                    "sgd": {
                        "rate": hps.log_uniform(1e-4, 10.0),
                        "momentum": hps.uniform(0.0, 0.99),
                    },
                    "adam": {"rate": hps.log_uniform(1e-5, 1.0)},
                }
            ),
            "schedule": hps.choice(["constant", "cosine", "warmup"]),
            "steps": hps.integer(5, MAX_STEPS, log=True),
            "batch_size": hps.ordinal([4, 8, 16, MAX_BATCH]),
            "width": hps.integer(2, MAX_WIDTH, log=True),
            "activation": hps.choice(["relu", "tanh", "gelu", "sine"]),
            "scale": hps.log_uniform(0.1, 10.0),
            "decay": hps.log_uniform(1e-6, 1.0),
            "noise": hps.uniform(0.0, 2.0),
        }
    )


_ACTIVATIONS = (jax.nn.relu, jnp.tanh, jax.nn.gelu, jnp.sin)


class _Carry(NamedTuple):
    """Weights with the moments of both optimizers."""

    weights: Any
    trace: Any
    adam: Any


def evaluate(data: Data, key: Array, instance: Array, params: Any) -> Array:
    """Validation loss of one configuration; what is smaller than its buffer is masked."""
    parts = split(data, instance)
    key_init, key_train = jax.random.split(key)
    dtype = parts.x.dtype
    mask = jnp.arange(MAX_WIDTH, dtype=jnp.int32) < params["width"]

    def forward(weights: Any, x: Array) -> Array:
        hidden = x @ weights["w1"] + weights["b1"][None]
        pieces = jnp.stack([activation(hidden) for activation in _ACTIVATIONS])
        hidden = jnp.where(mask[None], pieces[params["activation"]], 0)
        return hidden @ weights["w2"] + weights["b2"][None]

    first = _weights(key_init, data, params["scale"].astype(dtype), params["width"].astype(dtype))
    weights = _train(key_train, parts, params, first, forward)
    return jnp.mean(losses(forward(weights, parts.x_validation), parts.y_validation))


def _weights(key: Array, data: Data, scale: Array, width: Array) -> Any:
    key_first, key_last = jax.random.split(key)
    d, k, dtype = data.x.shape[1], data.num_outputs, scale.dtype
    return {
        "w1": jax.random.normal(key_first, (d, MAX_WIDTH), dtype) * (scale / d**0.5),
        "b1": jnp.zeros(MAX_WIDTH, dtype),
        "w2": jax.random.normal(key_last, (MAX_WIDTH, k), dtype) / jnp.sqrt(width),
        "b2": jnp.zeros(k, dtype),
    }


def _train(key: Array, parts: Split, params: Any, weights: Any, forward: Any) -> Any:
    """The weights after the wanted number of steps, of `MAX_STEPS` that run."""
    sgd, adam = params["optimizer"].options
    is_adam = params["optimizer"].index == 1
    dtype = parts.x.dtype
    momentum = optax.trace(sgd["momentum"].astype(dtype))
    moments = optax.scale_by_adam()
    rate = jnp.where(is_adam, adam["rate"], sgd["rate"]).astype(dtype)
    decay, noise = params["decay"].astype(dtype), params["noise"].astype(dtype)
    num_steps, batch_size = params["steps"], params["batch_size"]
    is_used = jnp.arange(MAX_BATCH, dtype=jnp.int32) < batch_size

    def loss(weights: Any, x: Array, y: Array) -> Array:
        each = losses(forward(weights, x), y)
        return jnp.sum(jnp.where(is_used, each, 0)) / batch_size.astype(dtype)

    def step(t: Array, carry: _Carry) -> _Carry:
        key_rows, key_noise = jax.random.split(jax.random.fold_in(key, t))
        rows = jax.random.randint(key_rows, (MAX_BATCH,), 0, parts.x.shape[0], jnp.int32)
        x = parts.x[rows]
        x = x + noise * jax.random.normal(key_noise, x.shape, dtype)
        grad = jax.grad(loss)(carry.weights, x, parts.y[rows])
        by_sgd, trace = momentum.update(grad, carry.trace)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
            by_adam, second = moments.update(grad, carry.adam)
        now = rate * _schedule(params["schedule"], t, num_steps, dtype)

        def moved(weight: Array, sgd: Array, adam: Array) -> Array:
            return weight - now * (jnp.where(is_adam, adam, sgd) + decay * weight)

        weights = jax.tree.map(moved, carry.weights, by_sgd, by_adam)
        new = _Carry(weights, trace, second)
        return jax.tree.map(lambda a, b: jnp.where(t < num_steps, a, b), new, carry)

    start = _Carry(weights, momentum.init(weights), moments.init(weights))
    return jax.lax.fori_loop(0, MAX_STEPS, step, start).weights


def _schedule(kind: Array, t: Array, num_steps: Array, dtype: Any) -> Array:
    """Share of the learning rate at step `t`: 1, half a cosine, or up a tenth and down again."""
    progress = jnp.asarray(t).astype(dtype) / num_steps.astype(dtype)
    cosine = 0.5 * (1 + jnp.cos(jnp.pi * progress))
    rise = jnp.minimum(10 * progress + 0.1, 1)
    return jnp.stack([jnp.ones((), dtype), cosine, rise * cosine])[kind]
