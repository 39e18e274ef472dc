"""Kernel ridge regression: which kernel, its settings, a length per feature, and the penalty."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import jax.scipy.linalg as linalg

from jaxhpo import space as hps
from jaxhpo.problems.tabular._base import Array, Data, losses, split
from jaxhpo.space import Space

NUM_FEATURES = 10


def space() -> Space:
    """`scale` multiplies each feature; `centre` takes the mean of the targets out first."""
    return Space(
        {
            "kernel": hps.choice(
                {
                    "gauss": {},
                    "laplace": {},
                    "rational": {"power": hps.log_uniform(0.1, 10.0)},
                    "cubic": {"offset": hps.log_uniform(1e-2, 1e2)},
                }
            ),
            "scale": hps.log_uniform(0.01, 3.0, shape=(NUM_FEATURES,)),
            "penalty": hps.log_uniform(1e-3, 1e2),
            "centre": [True, False],
        }
    )


def evaluate(data: Data, key: Array, instance: Array, params: Any) -> Array:
    """Validation loss of one configuration, in closed form."""
    del key  # nothing but the split is random
    parts = split(data, instance)
    dtype = parts.x.dtype
    scale = params["scale"].astype(dtype)[None]
    x, x_validation = parts.x * scale, parts.x_validation * scale
    mean = jnp.where(params["centre"], jnp.mean(parts.y), 0)
    diagonal = jnp.arange(x.shape[0], dtype=jnp.int32)
    gram = _kernel(params["kernel"], x, x)
    gram = gram.at[diagonal, diagonal].add(params["penalty"].astype(dtype))
    weights = linalg.cho_solve(linalg.cho_factor(gram), parts.y - mean)
    outputs = _kernel(params["kernel"], x_validation, x) @ weights + mean
    return jnp.mean(losses(outputs[:, None], parts.y_validation))


def _kernel(kind: Any, a: Array, b: Array) -> Array:
    """The kernel between rows `[n, d]` and `[m, d]`."""
    product = a @ b.T
    square = jnp.sum(a**2, axis=1)[:, None] + jnp.sum(b**2, axis=1)[None] - 2 * product
    square = jnp.maximum(square, 0)
    _, _, rational, cubic = kind.options
    power = rational["power"].astype(a.dtype)
    offset = cubic["offset"].astype(a.dtype)
    pieces = (
        jnp.exp(-0.5 * square),
        jnp.exp(-jnp.sqrt(square)),
        (1 + square / (2 * power)) ** -power,
        ((product + offset) / (1 + offset)) ** 3,
    )
    return jnp.stack(pieces)[kind.index]
