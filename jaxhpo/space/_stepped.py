"""Discrete numeric dimensions: quantized reals and integers, linear or logarithmic."""

from __future__ import annotations

import dataclasses
import math
from decimal import Decimal
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import _checks
from jaxhpo.space._dimension import (
    Array,
    Discrete,
    check_bounds,
    check_shape,
    float_dtype,
)

_INT32 = np.iinfo(np.int32)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Stepped(Discrete):
    """The grid low, low + step, …: made by `quantized` and `integer`.

    Linear: the `count` levels share the unit interval equally. Logarithmic: a level's share is the
    log-length of its cell, half a step to either side (the half-step widening), so that the end
    points are as likely as their neighbours.
    """

    low: Any
    step: Any
    high: Any  # the last grid point
    count: Any  # number of levels
    log: bool = dataclasses.field(default=False, metadata={"static": True})
    is_integer: bool = dataclasses.field(default=False, metadata={"static": True})
    shape: tuple[int, ...] = dataclasses.field(default=(), metadata={"static": True})

    @property
    def num_levels(self) -> int:
        """Number of grid points."""
        return int(self.count)

    def level(self, unit: Array) -> Array:
        """Index of the grid point whose cell holds `unit`."""
        count = jnp.asarray(self.count, unit.dtype)
        if self.log:
            low, step = jnp.asarray(self.low, unit.dtype), jnp.asarray(self.step, unit.dtype)
            start, stop = self._log_edges(unit.dtype)
            position = (jnp.exp(start + (stop - start) * unit) - low) / step
            # The exponential of a logarithm may miss the last grid point by a rounding error.
            position = jnp.where(unit >= 1, count - 1, jnp.round(position))
        else:
            position = jnp.floor(unit * count)
        last = jnp.asarray(self.count, jnp.int32) - 1
        # NaN rows mean "no proposal": they become level 0 here and are masked by the caller.
        position = jnp.where(jnp.isnan(position), 0, jnp.clip(position, 0, count - 1))
        return jnp.clip(position.astype(jnp.int32), 0, last)

    def unit_of_level(self, level: Array, dtype: Any) -> Array:
        """Centre of a level's cell (log scale: where its own logarithm lies)."""
        # Products with a reciprocal, since XLA divides so in some programs and not in others.
        if not self.log:
            return (level.astype(dtype) + 0.5) * (1 / jnp.asarray(self.count, dtype))
        start, stop = self._log_edges(dtype)
        low, step = jnp.asarray(self.low, dtype), jnp.asarray(self.step, dtype)
        value = low + level.astype(dtype) * step
        return jnp.clip((jnp.log(value) - start) * (1 / (stop - start)), 0, 1)

    def cell_of_level(self, level: Array, dtype: Any) -> tuple[Array, Array]:
        """Both ends of a level's cell (log scale: half a step below and above its value)."""
        place = level.astype(dtype)
        if not self.log:
            share = 1 / jnp.asarray(self.count, dtype)
            return place * share, (place + 1) * share
        start, stop = self._log_edges(dtype)
        low, step = jnp.asarray(self.low, dtype), jnp.asarray(self.step, dtype)
        scale = 1 / (stop - start)
        edges = [low + (place - 0.5) * step, low + (place + 0.5) * step]
        lower, upper = (
            jnp.clip((jnp.log(jnp.maximum(edge, low / 2)) - start) * scale, 0, 1) for edge in edges
        )
        return jnp.where(level == 0, 0, lower), upper

    def value_of_level(self, level: Array, dtype: Any) -> Array:
        """The grid point low + level · step, int32 for integers."""
        kind = jnp.int32 if self.is_integer else dtype
        value = jnp.asarray(self.low, kind) + level.astype(kind) * jnp.asarray(self.step, kind)
        # The sum may round to just above the last grid point.
        return jnp.minimum(value, jnp.asarray(self.high, kind))

    def level_of_value(self, value: Any) -> Array:
        """Index of the nearest grid point."""
        value = jnp.asarray(value)
        last = jnp.asarray(self.count, jnp.int32) - 1
        if self.is_integer:
            # Unsigned, since value - low may leave int32 where neither of them does.
            low, step = jnp.asarray(self.low, jnp.int32), jnp.asarray(self.step, jnp.uint32)
            if jnp.issubdtype(value.dtype, jnp.floating):
                value = jnp.round(value)
            above = jnp.maximum(value.astype(jnp.int32), low).astype(jnp.uint32)
            level = ((above - low.astype(jnp.uint32)) // step).astype(jnp.int32)
        else:
            dtype = float_dtype(value)
            low, step = jnp.asarray(self.low, dtype), jnp.asarray(self.step, dtype)
            level = jnp.round((value.astype(dtype) - low) / step).astype(jnp.int32)
        return jnp.clip(level, 0, last)

    def _log_edges(self, dtype: Any) -> tuple[Array, Array]:
        low, step = jnp.asarray(self.low, dtype), jnp.asarray(self.step, dtype)
        high = jnp.asarray(self.high, dtype)
        # A step wider than 2 low would reach below zero: half of low stands in.
        return jnp.log(jnp.maximum(low - step / 2, low / 2)), jnp.log(high + step / 2)

    def _python_value(self, level: int) -> Any:
        if self.is_integer:
            return int(self.low) + level * int(self.step)
        return _grid_point(float(self.low), float(self.step), level)

    def to_python(self, values: np.ndarray) -> list[Any]:
        """Exact Python numbers on the grid."""
        position = (values.astype(np.float64) - float(self.low)) / float(self.step)
        levels = np.clip(np.round(position), 0, self.num_levels - 1)
        return [self._python_value(int(level)) for level in levels]

    def from_python(self, name: str, item: Any) -> Any:
        """Requires a number on the grid."""
        item = _checks.check_number("Space.encode", name, item)
        position = (item - float(self.low)) / float(self.step)
        level = round(position)
        if not 0 <= level < self.num_levels or abs(position - level) > 1e-4:
            grid = f"on the grid {self.low}, {self.low} + {self.step}, …, {self.high}"
            raise _checks.fail("Space.encode", name, grid, item)
        return self._python_value(level)

    def describe(self) -> dict[str, Any]:
        """The dimension as JSON."""
        kind = "integer" if self.is_integer else "quantized"
        number = int if self.is_integer else float
        return {
            "kind": f"log_{kind}" if self.log else kind,
            "low": number(self.low),
            "high": number(self.high),
            "step": number(self.step),
            "shape": list(self.shape),
        }


def quantized(
    low: float,
    high: float,
    step: float,
    *,
    log: bool = False,
    shape: int | tuple[int, ...] = (),
) -> Stepped:
    """A real number on the grid low, low + step, … up to `high`.

    Args:
        low: first grid point; finite.
        high: no grid point lies above it. If `step` does not divide the interval, the last grid
            point is the largest that does not exceed `high`.
        step: distance between grid points; above 0.
        log: static; whether small values get the probability that their logarithms take.
        shape: static shape of the value.

    Returns:
        The dimension.

    Raises:
        ValueError: bounds reversed or not finite, `step` not above 0, `low` not above 0 with `log`,
            or more than 2³¹ grid points.

    Example:
        >>> import jaxhpo as hpo
        >>> grid = hpo.quantized(0.0, 1.0, 0.1)
        >>> grid.num_levels, hpo.Space({"x": grid}).decode({"x": jnp.asarray(0.3)})
        (11, {'x': 0.3})
    """
    low, high = check_bounds("quantized", low, high, log=log)
    low, step = float(low), float(_checks.check_positive("quantized", "step", step))
    count = _count_levels("quantized", low, float(high), step)
    last = _grid_point(low, step, count - 1)
    return Stepped(low, step, last, count, log=log, shape=check_shape("quantized", shape))


def integer(
    low: int,
    high: int,
    *,
    step: int = 1,
    log: bool = False,
    shape: int | tuple[int, ...] = (),
) -> Stepped:
    """An integer from low, low + step, … up to `high`, both ends included.

    Args:
        low: first value; within int32.
        high: no value lies above it; within int32.
        step: distance between values; at least 1.
        log: static; log-uniform (cells half a step to either side). Needs `low` of at least 1.
        shape: static shape of the value.

    Returns:
        The dimension; its array form is int32. In float32 the unit cube tells about 2²² levels
        apart; wider ranges need float64.

    Raises:
        TypeError: a bound or the step is not an integer.
        ValueError: bounds reversed or outside int32, or `low` below 1 with `log`.

    Example:
        >>> import jaxhpo as hpo
        >>> space = hpo.Space({"units": hpo.integer(16, 512, log=True)})
        >>> space.decode(space.from_unit(jnp.asarray([0.0])))
        {'units': 16}
    """
    low = _checks.check_int("integer", "low", low, _INT32.min)
    high = _checks.check_int("integer", "high", high, _INT32.min)
    step = _checks.check_int("integer", "step", step, 1)
    if high > _INT32.max:
        raise _checks.fail("integer", "high", f"at most {_INT32.max} (int32)", high)
    check_bounds("integer", low, high, log=log)
    count = (high - low) // step + 1
    if count > _INT32.max:
        raise _checks.fail("integer", "high", "less than 2**31 steps above `low`", high)
    last = low + (count - 1) * step
    sizes = check_shape("integer", shape)
    return Stepped(low, step, last, count, log=log, is_integer=True, shape=sizes)


def _grid_point(low: float, step: float, level: int) -> float:
    """Decimal arithmetic, so that the third step of 0.1 is 0.3 and not 0.30000000000000004."""
    return float(Decimal(str(low)) + level * Decimal(str(step)))


def _count_levels(where: str, low: float, high: float, step: float) -> int:
    position = (high - low) / step
    # A relative slack forgives 1.0 / 0.1 landing just below 10.
    count = math.floor(position * (1 + 1e-12) + 1e-9) + 1
    if count > _INT32.max:
        raise _checks.fail(where, "step", "large enough for at most 2**31 grid points", step)
    dtype = jnp.result_type(float)
    if count > 1 and step < 4 * float(jnp.finfo(dtype).eps) * max(abs(low), abs(high)):
        expected = f"large enough to tell neighbours between {low} and {high} apart in {dtype}"
        raise _checks.fail(where, "step", expected, step)
    return count
