"""The models that tasks train, and how they are judged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array


def linear(params: Any, x: Array) -> Array:
    """Logits `[n, k]` of a linear model `{"w", "b"}`."""
    return x @ params["w"] + params["b"][None]


def linear_zeros(num_features: int, num_classes: int) -> dict[str, Array]:
    """A linear model that knows nothing."""
    dtype = jnp.result_type(float)
    return {"w": jnp.zeros((num_features, num_classes), dtype), "b": jnp.zeros(num_classes, dtype)}


def cross_entropies(logits: Array, labels: Array) -> Array:
    """Cross entropy of each example `[n]`."""
    log_probabilities = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(log_probabilities, labels[:, None], axis=1)[:, 0]


def accuracy(logits: Array, labels: Array) -> Array:
    """Share of examples whose largest logit is the label's."""
    hits = jnp.argmax(logits, axis=1).astype(jnp.int32) == labels
    return jnp.mean(hits.astype(logits.dtype))


def softmax_error(hparams: Any, params: Any, batch: Any) -> Array:
    """Mean cross entropy of the linear model on examples `{"x", "y"}`, whatever `hparams`."""
    return jnp.mean(cross_entropies(linear(params, batch["x"]), batch["y"]))


def weights(key: Array, widths: tuple[int, ...]) -> list[dict[str, Array]]:
    """Random weights with unit variance of every unit's input, and zero biases."""
    dtype = jnp.result_type(float)
    keys = jax.random.split(key, len(widths) - 1)
    return [
        {"w": jax.random.normal(k, (a, b), dtype) / a**0.5, "b": jnp.zeros(b, dtype)}
        for k, a, b in zip(keys, widths[:-1], widths[1:], strict=True)
    ]


def forward(
    params: list[dict[str, Array]], x: Array, activation: Callable[[Array], Array] = jnp.tanh
) -> Array:
    """Outputs `[n, k]` of the network on `[n, d]`."""
    for layer in params[:-1]:
        x = activation(x @ layer["w"] + layer["b"][None])
    return x @ params[-1]["w"] + params[-1]["b"][None]
