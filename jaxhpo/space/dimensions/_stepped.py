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
from jaxhpo._checks.suggest import named_arguments
from jaxhpo.space.dimensions._dimension import (
    Array,
    Grid,
    check_bounds,
    check_shape,
    float_dtype,
)
from jaxhpo.space.dimensions._exact import (
    LARGEST_INTEGER,
    MOST_NUMBERED,
    exact,
    grid_fault,
    integer_fault,
    is_exact,
    namespace,
    number,
)

_INT32 = np.iinfo(np.int32)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Stepped(Grid):
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

    def _index(self, unit: Array) -> Array:
        """Index of the grid point whose cell holds `unit`."""
        xp = namespace(unit)
        count = number(self.count, xp, unit.dtype)
        if self.log:
            start, ratio, span = self._log_scale(xp, unit.dtype)
            # The exponential of a logarithm may miss the last grid point by a rounding error.
            position = xp.round(start + ratio * xp.expm1(span * unit))
            position = xp.where(unit >= 1, count - 1, position)
        else:
            position = xp.floor(unit * count)
        # NaN rows mean "no proposal": they become level 0 here and are masked by the caller.
        position = xp.where(xp.isnan(position), 0, xp.clip(position, 0, count - 1))
        last = number(self.count, xp, self._level_dtype) - 1
        return xp.clip(position.astype(self._level_dtype), 0, last)

    def unit_of_level(self, level: Array, dtype: Any) -> Array:
        """Centre of a level's cell (log scale: where its own logarithm lies)."""
        # Products with a reciprocal, since XLA divides so in some programs and not in others.
        xp = namespace(level)
        if not self.log:
            return (level.astype(dtype) + 0.5) * (1 / number(self.count, xp, dtype))
        return self._log_place(level.astype(dtype), xp, dtype)

    def cell_of_level(self, level: Array, dtype: Any) -> tuple[Array, Array]:
        """Both ends of a level's cell (log scale: half a step below and above its value)."""
        xp, place = namespace(level), level.astype(dtype)
        if not self.log:
            share = 1 / number(self.count, xp, dtype)
            return place * share, (place + 1) * share
        lower, upper = (self._log_place(place + half, xp, dtype) for half in (-0.5, 0.5))
        return xp.where(level == 0, 0, lower), upper

    def value_of_level(self, level: Array, dtype: Any) -> Array:
        """The grid point low + level · step; int32 for integers, int64 where that is too short."""
        xp = namespace(level)
        kind = self._value_dtype if self.is_integer else dtype
        value = number(self.low, xp, kind) + level.astype(kind) * number(self.step, xp, kind)
        # The sum may round to just above the last grid point.
        return xp.minimum(value, number(self.high, xp, kind))

    def level_of_value(self, value: Any) -> Array:
        """Index of the nearest grid point."""
        xp, kind = namespace(value), self._value_dtype
        value = xp.asarray(value)
        last = number(self.count, xp, self._level_dtype) - 1
        if self.is_integer:
            # Unsigned, since value - low may leave the integers where neither of them does.
            unsigned = np.dtype(f"u{kind}")
            low, step = number(self.low, xp, kind), number(self.step, xp, unsigned)
            if xp.issubdtype(value.dtype, np.floating):
                value = xp.round(value)
            above = xp.maximum(value.astype(kind), low).astype(unsigned)
            level = (above - low.astype(unsigned)) // step
        else:
            dtype = float_dtype(value)
            low, step = number(self.low, xp, dtype), number(self.step, xp, dtype)
            level = xp.round((value.astype(dtype) - low) / step)
        return xp.clip(level.astype(self._level_dtype), 0, last)

    @property
    def _value_dtype(self) -> Any:
        """Integers that hold every value and every level."""
        return np.dtype(np.int64 if is_exact(self.low) else np.int32)

    def _log_scale(self, xp: Any, dtype: Any) -> tuple[Any, Any, Any]:
        """Numbers a, r, s of the scale: level = a + r · expm1(s · unit).

        The exponential counts from the first cell's edge in steps, so that no digits are lost
        where the grid is narrow beside its offset.
        """
        work, kind = (np, np.float64) if is_exact(self.low) else (xp, dtype)
        low, step, high = (number(part, work, kind) for part in (self.low, self.step, self.high))
        # A step wider than 2 low would reach below zero: half of low stands in.
        edge = work.maximum(low - step / 2, low / 2)
        ratio, start = edge * (1 / step), (edge - low) * (1 / step)
        span = work.log1p((high + step / 2 - edge) * (1 / edge))
        return tuple(xp.asarray(part, dtype) for part in (start, ratio, span))

    def log_scale(self) -> tuple[float, ...]:
        """Numbers a, r, s of the logarithmic scale: level = a + r · expm1(s · unit). Host side."""
        return tuple(float(part) for part in self._log_scale(np, np.float64))

    def _log_place(self, place: Array, xp: Any, dtype: Any) -> Array:
        """Unit coordinate of a place between the levels, on the log scale."""
        start, ratio, span = self._log_scale(xp, dtype)
        above = xp.maximum((place - start) * (1 / ratio), 0)
        return xp.clip(xp.log1p(above) * (1 / span), 0, 1)

    def fault(self, dtype: Any) -> str | None:
        """Why a device with these floats cannot hold the values; None if it can."""
        if any(map(_checks.is_traced, (self.low, self.step, self.high))):
            return None
        if self.is_integer:
            return integer_fault(int(self.low), int(self.high), dtype)
        return grid_fault(float(self.low), float(self.high), float(self.step), dtype)

    def _python_value(self, level: int) -> Any:
        if self.is_integer:
            return int(self.low) + level * int(self.step)
        return _grid_point(float(self.low), float(self.step), level)

    def to_python(self, values: np.ndarray) -> list[Any]:
        """Exact Python numbers on the grid."""
        if self.is_integer:
            # Python's integers, which no difference overflows.
            whole = np.round(values).astype(np.int64).tolist()
            levels = [(value - int(self.low)) // int(self.step) for value in whole]
        else:
            position = (values.astype(np.float64) - float(self.low)) / float(self.step)
            levels = np.round(position).astype(np.int64).tolist()
        last = int(self.count) - 1
        return [self._python_value(min(max(level, 0), last)) for level in levels]

    def from_python(self, name: str, item: Any) -> Any:
        """Requires a number on the grid."""
        item = _checks.check_number("Space.encode", name, item)
        low, step = (int(self.low), int(self.step)) if self.is_integer else (self.low, self.step)
        position = (item - low) / step
        level = round(position)
        if self.is_integer and float(item).is_integer():  # in Python's integers, all digits count
            level, rest = divmod(int(item) - low, step)
            position = level + rest / step
        if not 0 <= level < int(self.count) or abs(position - level) > 1e-4:
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


@named_arguments
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
            neighbours that float64 cannot tell apart, or more than 2⁵³ grid points.

    Example:
        >>> import jaxhpo as hpo
        >>> grid = hpo.quantized(0.0, 1.0, 0.1)
        >>> grid.num_levels, hpo.Space({"x": grid}).decode({"x": jnp.asarray(0.3)})
        (11, {'x': 0.3})
    """
    log = _checks.check_bool("quantized", "log", log)
    low, high = check_bounds("quantized", low, high, log=log)
    low, step = float(low), float(_checks.check_positive("quantized", "step", step))
    count = _count_levels("quantized", low, float(high), step)
    last = _grid_point(low, step, count - 1)
    sizes = check_shape("quantized", shape)
    return _settled(Stepped(low, step, last, count, log=log, shape=sizes))


@named_arguments
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
        low: first value; within ±2⁵³.
        high: no value lies above it; within ±2⁵³.
        step: distance between values; at least 1.
        log: static; log-uniform (cells half a step to either side). Needs `low` of at least 1.
        shape: static shape of the value.

    Returns:
        The dimension; its array form is int32, and beyond its reach int64, which a Python
        objective receives and compiled code only under `jax.enable_x64`. With more than 2²²
        values samplers search it as a real number; in float32 they reach 2²⁴ of them, evenly
        spread.

    Raises:
        TypeError: a bound or the step is not an integer.
        ValueError: bounds reversed or outside ±2⁵³, or `low` below 1 with `log`.

    Example:
        >>> import jaxhpo as hpo
        >>> space = hpo.Space({"units": hpo.integer(16, 512, log=True)})
        >>> space.decode(space.from_unit(jnp.asarray([0.0])))
        {'units': 16}
    """
    log = _checks.check_bool("integer", "log", log)
    low = _checks.check_int("integer", "low", low, -LARGEST_INTEGER)
    high = _checks.check_int("integer", "high", high, -LARGEST_INTEGER)
    step = _checks.check_int("integer", "step", step, 1)
    for name, bound in (("low", low), ("high", high)):
        if bound > LARGEST_INTEGER:
            raise _checks.fail("integer", name, "at most 2**53", bound)
    check_bounds("integer", low, high, log=log)
    count = (high - low) // step + 1
    last = low + (count - 1) * step
    sizes = check_shape("integer", shape)
    return _settled(Stepped(low, step, last, count, log=log, is_integer=True, shape=sizes))


def _settled(made: Stepped) -> Stepped:
    """The grid, its numbers part of the structure where programs would lose them."""
    count = made.count
    if count > MOST_NUMBERED:
        made = dataclasses.replace(made, count=exact(count))
    # Levels are int32 where they are numbered; a wide step may not fit where both bounds do.
    dtype = np.dtype(np.float32) if made.is_integer else jnp.result_type(float)
    is_wide = made.fault(dtype) or count > _INT32.max
    if is_wide or (made.is_integer and made.step > _INT32.max):
        bounds = {name: exact(getattr(made, name)) for name in ("low", "step", "high")}
        made = dataclasses.replace(made, **bounds)
    return made


def _grid_point(low: float, step: float, level: int) -> float:
    """Decimal arithmetic, so that the third step of 0.1 is 0.3 and not 0.30000000000000004."""
    return float(Decimal(str(low)) + level * Decimal(str(step)))


def _count_levels(where: str, low: float, high: float, step: float) -> int:
    position = (high - low) / step
    if not position < LARGEST_INTEGER:  # also infinite
        raise _checks.fail(where, "step", "large enough for at most 2**53 grid points", step)
    # A relative slack forgives 1.0 / 0.1 landing just below 10.
    count = math.floor(position * (1 + 1e-12) + 1e-9) + 1
    if (reason := grid_fault(low, high, step, np.dtype(np.float64))) is not None:
        raise _checks.fail(where, "step", f"larger, since {reason}", step)
    return count
