"""Dropout whose rate may be a hyperparameter."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo._checks import check_key, check_number, describe, fail, is_traced


def dropout(key: jax.Array, inputs: jax.Array, rate: Any) -> jax.Array:
    """Drops each input with probability `rate` and scales the others by `1 / (1 - rate)`.

    The dropout layers of flax compare their rate with 0 in Python, so it cannot be traced. Use this
    where the rate is tuned: with `self.make_rng("dropout")` in a linen module, `rngs.dropout()` in
    an nnx module, or the key of a loss that needs one.

    Args:
        key: `[]`, consumed.
        inputs: any shape, floating.
        rate: `[]` in [0, 1]; traced. At 1 everything is dropped.

    Returns:
        An array like `inputs`.

    Raises:
        TypeError: `inputs` are no real numbers, or `rate` is none.
        ValueError: a known `rate` outside of [0, 1].

    Example:
        >>> import jax, jax.numpy as jnp, jaxhpo as hpo
        >>> kept = hpo.training.dropout(jax.random.key(0), jnp.ones(1000), 0.75)
        >>> bool(jnp.all((kept == 0) | (kept == 4))), 0.9 < float(kept.mean()) < 1.1
        (True, True)
    """
    key = check_key("dropout", key)
    if not hasattr(inputs, "dtype") or not jnp.issubdtype(inputs.dtype, jnp.floating):
        raise TypeError(
            f"dropout: `inputs` must be an array of real numbers, got {describe(inputs)}."
        )
    rate = check_number("dropout", "rate", rate)
    if not is_traced(rate) and not 0 <= rate <= 1:
        raise fail("dropout", "rate", "in [0, 1]", rate)
    rate = jnp.asarray(rate, inputs.dtype)
    keep = jax.random.uniform(key, inputs.shape, inputs.dtype) >= rate
    # The inner `where` keeps the scale, and its gradient, finite at a rate of 1.
    scale = 1 / jnp.where(rate < 1, 1 - rate, 1)
    return jnp.where(keep, inputs * scale, jnp.zeros_like(inputs))
