"""Normal and log-normal dimensions, truncated at four standard deviations."""

from __future__ import annotations

import dataclasses
import math
from decimal import Decimal
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri

from jaxhpo import _checks
from jaxhpo.space._dimension import (
    Array,
    Dimension,
    Discrete,
    as_float,
    check_shape,
    float_dtype,
    floats_within,
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

    def ends(self, dtype: Any) -> tuple[Array, Array]:
        """The bounds as arrays; mean and std may be traced."""
        mean, reach = jnp.asarray(self.mean, dtype), _REACH * jnp.asarray(self.std, dtype)
        low, high = mean - reach, mean + reach
        return (jnp.exp(low), jnp.exp(high)) if self.log else (low, high)

    def from_unit(self, unit: Array) -> Array:
        """The quantile function of the truncated normal."""
        mean, std = jnp.asarray(self.mean, unit.dtype), jnp.asarray(self.std, unit.dtype)
        value = mean + std * _quantile(unit)
        return jnp.exp(value) if self.log else value

    def to_unit(self, value: Any) -> Array:
        """The distribution function of the truncated normal."""
        dtype = float_dtype(value)
        mean, std = jnp.asarray(self.mean, dtype), jnp.asarray(self.std, dtype)
        value = jnp.asarray(value, dtype)
        return _probability(((jnp.log(value) if self.log else value) - mean) / std)

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


def _quantile(unit: Array) -> Array:
    """Standard scores; the nearer tail is used on either side, where floats are dense."""
    tail = jnp.minimum(unit, 1 - unit)
    score = -ndtri(_TAIL + tail * (1 - 2 * _TAIL))
    score = jnp.clip(score, 0.0, _REACH)
    return jnp.where(unit < 0.5, -score, score)


def _probability(score: Array) -> Array:
    tail = (ndtr(-jnp.abs(score)) - _TAIL) / (1 - 2 * _TAIL)
    tail = jnp.clip(tail, 0.0, 0.5)
    return jnp.where(score < 0, tail, 1 - tail)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SteppedNormal(Discrete):
    """A truncated (log-)normal rounded to multiples of a step: `normal(…, step=…)`."""

    base: Normal
    step: Any
    first: Any  # the smallest multiple of step, as an int
    count: Any  # number of levels
    shape: tuple[int, ...] = dataclasses.field(default=(), metadata={"static": True})

    @property
    def num_levels(self) -> int:
        """Number of grid points."""
        return int(self.count)

    @property
    def low(self) -> float:
        """First grid point (host side)."""
        return self._python_value(0)

    @property
    def high(self) -> float:
        """Last grid point (host side)."""
        return self._python_value(self.num_levels - 1)

    def level(self, unit: Array) -> Array:
        """Index of the nearest multiple of the step."""
        position = self.base.from_unit(unit) / jnp.asarray(self.step, unit.dtype)
        level = jnp.where(jnp.isnan(position), 0, jnp.round(position)).astype(jnp.int32)
        level = level - jnp.asarray(self.first, jnp.int32)
        return jnp.clip(level, 0, jnp.asarray(self.count, jnp.int32) - 1)

    def unit_of_level(self, level: Array, dtype: Any) -> Array:
        """Middle of the cell in probability."""
        left, right = self.cell_of_level(level, dtype)
        return (left + right) / 2

    def cell_of_level(self, level: Array, dtype: Any) -> tuple[Array, Array]:
        """Both ends of the cell in probability."""
        value, half = self.value_of_level(level, dtype), jnp.asarray(self.step, dtype) / 2
        low, high = self.base.ends(dtype)
        left = self.base.to_unit(jnp.clip(value - half, low, high))
        return left, self.base.to_unit(jnp.clip(value + half, low, high))

    def value_of_level(self, level: Array, dtype: Any) -> Array:
        """(first + level) · step."""
        position = jnp.asarray(self.first, jnp.int32) + level
        return position.astype(dtype) * jnp.asarray(self.step, dtype)

    def level_of_value(self, value: Any) -> Array:
        """Index of the nearest grid point."""
        value = jnp.asarray(value, float_dtype(value))
        position = jnp.round(value / jnp.asarray(self.step, value.dtype)).astype(jnp.int32)
        level = position - jnp.asarray(self.first, jnp.int32)
        return jnp.clip(level, 0, jnp.asarray(self.count, jnp.int32) - 1)

    def _python_value(self, level: int) -> float:
        return float((int(self.first) + level) * Decimal(str(float(self.step))))

    def to_python(self, values: np.ndarray) -> list[Any]:
        """Exact Python multiples of the step."""
        position = np.round(values.astype(np.float64) / float(self.step)) - int(self.first)
        levels = np.clip(position, 0, self.num_levels - 1)
        return [self._python_value(int(level)) for level in levels]

    def from_python(self, name: str, item: Any) -> Any:
        """Requires a multiple of the step within four standard deviations."""
        item = _checks.check_number("Space.encode", name, item)
        position = item / float(self.step)
        level = round(position) - int(self.first)
        if not 0 <= level < self.num_levels or abs(position - round(position)) > 1e-4:
            expected = f"a multiple of {self.step} in [{self.low}, {self.high}]"
            raise _checks.fail("Space.encode", name, expected, item)
        return self._python_value(level)

    def describe(self) -> dict[str, Any]:
        """The dimension as JSON."""
        return {**self.base.describe(), "step": float(self.step), "shape": list(self.shape)}


def _make(
    where: str, mean: Any, std: Any, step: Any, log: bool, shape: int | tuple[int, ...]
) -> Normal | SteppedNormal:
    mean = _checks.check_number(where, "mean", mean)
    std = _checks.check_positive(where, "std", std)
    sizes = check_shape(where, shape)
    base = Normal(as_float(mean), as_float(std), log=log, shape=sizes)
    if step is None:
        return base
    step = _checks.check_positive(where, "step", step)
    first, last = math.ceil(base.low / step), math.floor(base.high / step)
    if last < first:
        expected = f"small enough for a multiple of it in [{base.low:g}, {base.high:g}]"
        raise _checks.fail(where, "step", expected, step)
    if last - first >= 2**31 - 1 or max(-first, last) >= 2**31:
        raise _checks.fail(where, "step", "large enough for at most 2**31 grid points", step)
    return SteppedNormal(base, float(step), first, last - first + 1, shape=sizes)


def normal(
    mean: float,
    std: float,
    *,
    step: float | None = None,
    shape: int | tuple[int, ...] = (),
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


def log_normal(
    mean: float,
    std: float,
    *,
    step: float | None = None,
    shape: int | tuple[int, ...] = (),
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
