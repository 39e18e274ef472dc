"""Normal and log-normal dimensions, truncated at four standard deviations."""

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
    Dimension,
    Grid,
    as_float,
    check_shape,
    float_dtype,
    floats_within,
)
from jaxhpo.space.dimensions._exact import (
    LARGEST_INTEGER,
    MOST_NUMBERED,
    exact,
    grid_fault,
    interval_fault,
    is_exact,
    namespace,
    number,
)

# Beyond four standard deviations float32 unit coordinates cannot tell values apart.
_REACH = 4.0
_TAIL = 0.5 * math.erfc(_REACH / math.sqrt(2.0))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Normal(Dimension):
    """A truncated normal, of the value or of its logarithm. Made by `normal` and `log_normal`."""

    mean: Any
    std: Any
    log: bool = dataclasses.field(default=False, metadata={"static": True})
    shape: tuple[int, ...] = dataclasses.field(default=(), metadata={"static": True})

    @property
    def low(self) -> float:
        """Lower bound of the values (host side)."""
        end = float(self.mean) - _REACH * float(self.std)
        return math.exp(end) if self.log else end

    @property
    def high(self) -> float:
        """Upper bound of the values (host side)."""
        end = float(self.mean) + _REACH * float(self.std)
        return math.exp(end) if self.log else end

    def from_unit(self, unit: Any) -> Array:
        """The quantile function of the truncated normal."""
        xp = namespace(unit)
        mean, std = number(self.mean, xp, unit.dtype), number(self.std, xp, unit.dtype)
        value = mean + std * quantile(unit)
        return xp.exp(value) if self.log else value

    def to_unit(self, value: Any) -> Array:
        """The distribution function of the truncated normal."""
        xp, dtype = namespace(value), float_dtype(value)
        mean, std = number(self.mean, xp, dtype), number(self.std, xp, dtype)
        value = xp.asarray(value, dtype)
        return probability(((xp.log(value) if self.log else value) - mean) / std)

    def fault(self, dtype: Any) -> str | None:
        """Why floats of this dtype cannot search the interval; None if they can."""
        if _checks.is_traced(self.mean) or _checks.is_traced(self.std):
            return None
        return interval_fault(self.low, self.high, self.log, dtype)

    def to_python(self, values: np.ndarray) -> list[Any]:
        """Python floats, clipped to the exact bounds."""
        return floats_within(values, self.low, self.high)

    def from_python(self, name: str, item: Any) -> Any:
        """Requires a number within four standard deviations."""
        item = float(_checks.check_number("Space.encode", name, item))
        slack = 1e-5 * (self.high - self.low)
        if not self.low - slack <= item <= self.high + slack:
            expected = f"within four standard deviations, [{self.low:g}, {self.high:g}]"
            raise _checks.fail("Space.encode", name, expected, item)
        return min(max(item, self.low), self.high)

    def describe(self) -> dict[str, Any]:
        """The dimension as JSON."""
        return {
            "kind": "log_normal" if self.log else "normal",
            "mean": float(self.mean),
            "std": float(self.std),
            "shape": list(self.shape),
        }


def quantile(unit: Array) -> Array:
    """Standard scores; the nearer tail is used on either side, where floats are dense."""
    xp = namespace(unit)
    tail = xp.minimum(unit, 1 - unit)
    score = -_special(unit).ndtri(_TAIL + tail * (1 - 2 * _TAIL))
    score = xp.clip(score, 0.0, _REACH)
    return xp.where(unit < 0.5, -score, score)


def probability(score: Array) -> Array:
    """Unit coordinates of standard scores; the inverse of `quantile`."""
    xp = namespace(score)
    tail = (_special(score).ndtr(-xp.abs(score)) - _TAIL) / (1 - 2 * _TAIL)
    tail = xp.clip(tail, 0.0, 0.5)
    return xp.where(score < 0, tail, 1 - tail)


def _special(array: Array) -> Any:
    """The special functions of an array's library."""
    if namespace(array) is jnp:
        return jax.scipy.special
    import scipy.special

    return scipy.special


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SteppedNormal(Grid):
    """A truncated (log-)normal rounded to multiples of a step: `normal(…, step=…)`."""

    base: Normal
    step: Any
    first: Any  # the smallest multiple of step, as an int
    count: Any  # number of levels
    shape: tuple[int, ...] = dataclasses.field(default=(), metadata={"static": True})

    @property
    def low(self) -> float:
        """First grid point (host side)."""
        return self._python_value(0)

    @property
    def high(self) -> float:
        """Last grid point (host side)."""
        return self._python_value(int(self.count) - 1)

    def _index(self, unit: Array) -> Array:
        """Index of the nearest multiple of the step."""
        xp, kind = namespace(unit), self._level_dtype
        start, ratio, std = self._scale(xp, unit.dtype)
        score = std * quantile(unit)
        position = xp.round(start + ratio * (xp.expm1(score) if self.base.log else score))
        last = number(self.count, xp, kind) - 1
        return xp.clip(xp.where(xp.isnan(position), 0, position).astype(kind), 0, last)

    def unit_of_level(self, level: Array, dtype: Any) -> Array:
        """Middle of the cell in probability."""
        left, right = self.cell_of_level(level, dtype)
        return (left + right) / 2

    def cell_of_level(self, level: Array, dtype: Any) -> tuple[Array, Array]:
        """Both ends of the cell in probability."""
        xp = namespace(level)
        start, ratio, std = self._scale(xp, dtype)
        edges = []
        for half in (-0.5, 0.5):
            above = (level.astype(dtype) + half - start) / ratio
            if self.base.log:
                above = xp.log1p(xp.maximum(above, -1))
            edges.append(probability(above / std))
        return edges[0], edges[1]

    def _scale(self, xp: Any, dtype: Any) -> tuple[Any, Any, Any]:
        """Numbers a, r, s: level = a + r · s · score, or a + r · expm1(s · score) of a logarithm.

        The level counts from the median in steps, so that no digits are lost where the interval is
        narrow beside its offset.
        """
        work, kind = (np, np.float64) if is_exact(self.step) else (xp, dtype)
        mean, std = number(self.base.mean, work, kind), number(self.base.std, work, kind)
        ratio = (work.exp(mean) if self.base.log else mean) / number(self.step, work, kind)
        start = ratio - number(self.first, work, kind)
        if not self.base.log:
            ratio = 1 / number(self.step, work, kind)
        return tuple(xp.asarray(part, dtype) for part in (start, ratio, std))

    def value_of_level(self, level: Array, dtype: Any) -> Array:
        """(first + level) · step."""
        xp = namespace(level)
        kind = self._value_dtype
        position = number(self.first, xp, kind) + level.astype(kind)
        return position.astype(dtype) * number(self.step, xp, dtype)

    def level_of_value(self, value: Any) -> Array:
        """Index of the nearest grid point."""
        xp, kind, dtype = namespace(value), self._value_dtype, float_dtype(value)
        position = xp.round(xp.asarray(value, dtype) / number(self.step, xp, dtype)).astype(kind)
        level = (position - number(self.first, xp, kind)).astype(self._level_dtype)
        return xp.clip(level, 0, number(self.count, xp, self._level_dtype) - 1)

    @property
    def _value_dtype(self) -> Any:
        """Integers that hold every multiple and every level."""
        return np.dtype(np.int64 if is_exact(self.step) else np.int32)

    def fault(self, dtype: Any) -> str | None:
        """Why floats of this dtype cannot tell the values apart; None if they can."""
        if any(map(_checks.is_traced, (self.base.mean, self.base.std, self.step))):
            return None
        return grid_fault(self.base.low, self.base.high, float(self.step), dtype)

    def _python_value(self, level: int) -> float:
        return float((int(self.first) + level) * Decimal(str(float(self.step))))

    def to_python(self, values: np.ndarray) -> list[Any]:
        """Exact Python multiples of the step."""
        position = np.round(values.astype(np.float64) / float(self.step)) - int(self.first)
        levels = np.clip(position, 0, int(self.count) - 1)
        return [self._python_value(int(level)) for level in levels]

    def from_python(self, name: str, item: Any) -> Any:
        """Requires a multiple of the step within four standard deviations."""
        item = _checks.check_number("Space.encode", name, item)
        position = item / float(self.step)
        level = round(position) - int(self.first)
        if not 0 <= level < int(self.count) or abs(position - round(position)) > 1e-4:
            expected = f"a multiple of {self.step} in [{self.low}, {self.high}]"
            raise _checks.fail("Space.encode", name, expected, item)
        return self._python_value(level)

    def describe(self) -> dict[str, Any]:
        """The dimension as JSON."""
        return {**self.base.describe(), "step": float(self.step), "shape": list(self.shape)}


# Smaller ones are 0, or lose their digits, in float32.
_LEAST_STD = 1e-37


def _make(
    where: str, mean: Any, std: Any, step: Any, log: bool, shape: int | tuple[int, ...]
) -> Normal | SteppedNormal:
    mean = _checks.check_number(where, "mean", mean)
    std = _checks.check_positive(where, "std", std)
    if not _checks.is_traced(std) and std < _LEAST_STD:
        raise _checks.fail(where, "std", f"at least {_LEAST_STD}", std)
    sizes = check_shape(where, shape)
    base = Normal(as_float(mean), as_float(std), log=log, shape=sizes)
    if not (_checks.is_traced(mean) or _checks.is_traced(std)):
        base = _settled(where, base)
    if step is None:
        return base
    step = float(_checks.check_positive(where, "step", step))
    first, last = math.ceil(base.low / step), math.floor(base.high / step)
    if last < first:
        expected = f"small enough for a multiple of it in [{base.low:g}, {base.high:g}]"
        raise _checks.fail(where, "step", expected, step)
    if max(-first, last) > LARGEST_INTEGER:
        raise _checks.fail(where, "step", "large enough for multiples up to 2**53 of it", step)
    made = SteppedNormal(base, step, first, last - first + 1, shape=sizes)
    if (reason := made.fault(np.dtype(np.float64))) is not None:
        raise _checks.fail(where, "step", f"larger, since {reason}", step)
    if made.count > MOST_NUMBERED:
        made = dataclasses.replace(made, count=exact(made.count))
    if made.fault(jnp.result_type(float)) or max(-first, last) >= 2**31 or is_exact(base.mean):
        # What programs would round is part of the structure.
        base = dataclasses.replace(base, mean=exact(base.mean), std=exact(base.std))
        made = dataclasses.replace(made, base=base, step=exact(step), first=exact(first))
    return made


def _settled(where: str, base: Normal) -> Normal:
    """The interval, its numbers part of the structure where programs would lose them."""
    try:
        ends = base.low, base.high
    except OverflowError:
        ends = 0.0, math.inf
    if not all(map(math.isfinite, ends)) or (base.log and ends[0] <= 0):
        expected = "such that four of them on either side of `mean` stay within float64"
        raise _checks.fail(where, "std", expected, base.std)
    if base.fault(jnp.result_type(float)) is None:
        return base
    return dataclasses.replace(base, mean=exact(base.mean), std=exact(base.std))


@named_arguments
def normal(
    mean: float, std: float, *, step: float | None = None, shape: int | tuple[int, ...] = ()
) -> Normal | SteppedNormal:
    """A real number with a normal prior, truncated at four standard deviations.

    Args:
        mean: centre; finite. May be traced.
        std: standard deviation; above 0. May be traced.
        step: round to multiples of this; None for a continuous value.
        shape: static shape of the value.

    Returns:
        The dimension. Its bounds are mean ± 4 std: 0.006 % of the normal's mass lies outside.

    Raises:
        ValueError: `mean` is not finite, or `std` or `step` is not above 0.

    Example:
        >>> import jaxhpo as hpo
        >>> float(hpo.normal(2.0, 1.0).from_unit(jnp.asarray(0.5)))
        2.0
    """
    return _make("normal", mean, std, step, False, shape)


@named_arguments
def log_normal(
    mean: float, std: float, *, step: float | None = None, shape: int | tuple[int, ...] = ()
) -> Normal | SteppedNormal:
    """A positive real number whose logarithm has a truncated normal prior.

    Args:
        mean: mean of the logarithm; finite. May be traced.
        std: standard deviation of the logarithm; above 0. May be traced.
        step: round to multiples of this; None for a continuous value.
        shape: static shape of the value.

    Returns:
        The dimension, with bounds exp(mean ± 4 std).

    Raises:
        ValueError: `mean` is not finite, or `std` or `step` is not above 0.

    Example:
        >>> import jaxhpo as hpo
        >>> float(hpo.log_normal(0.0, 1.0).from_unit(jnp.asarray(0.5)))
        1.0
    """
    return _make("log_normal", mean, std, step, True, shape)
