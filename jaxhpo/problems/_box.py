"""A box of real numbers as a search space, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo import space as hps
from jaxhpo.space import Space


def box_space(low: Sequence[float], high: Sequence[float]) -> Space:
    """One vector `x`, or `x0`, `x1`, … where bounds differ."""
    if len(set(low)) == len(set(high)) == 1:
        return Space({"x": hps.uniform(low[0], high[0], shape=(len(low),))})
    bounds = zip(low, high, strict=True)
    return Space({f"x{i}": hps.uniform(*pair) for i, pair in enumerate(bounds)})


def box_point(params: Any) -> jax.Array:
    """The point `[d]` of params of a `box_space`."""
    if "x" in params:
        point: jax.Array = params["x"]
        return point
    return jnp.stack([params[f"x{i}"] for i in range(len(params))])
