"""A box of real numbers as a search space, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo import space as hps
from jaxhpo._base import Outcome
from jaxhpo.space import Space


class BoxFunction:
    """What all functions of a point in a box share."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def num_dims(self) -> int:
        """`d`."""
        return len(self.low)

    @property
    def space(self) -> Space:
        """The box as a space: one vector `x`, or `x0`, `x1`, … where bounds differ."""
        return box_space(self.low, self.high)


class ConstrainedBoxFunction(BoxFunction):
    """A function in a box whose outcome may carry violations."""

    evaluate: Callable[[jax.Array], jax.Array]
    violation: Callable[[jax.Array], jax.Array] | None

    def objective(self, key: jax.Array, params: Any) -> Outcome:
        """The function as an objective over `space`; nothing in it is random."""
        del key
        x = box_point(params)
        violation = None if self.violation is None else self.violation(x)
        return Outcome(self.evaluate(x), violation=violation)


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
