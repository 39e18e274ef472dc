"""Continuous dimensions with bounds: uniform and log-uniform."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import _checks
from jaxhpo._checks.suggest import named_arguments
from jaxhpo.space.dimensions._dimension import (
    Array,
    Dimension,
    as_float,
    check_bounds,
    check_shape,
    float_dtype,
    floats_within,
)
from jaxhpo.space.dimensions._exact import exact, interval_fault, namespace, number


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Real(Dimension):
    """An interval [low, high], linear or logarithmic. Made by `uniform` and `log_uniform`."""

    low: Any
    high: Any
    log: bool = dataclasses.field(default=False, metadata={"static": True})
    shape: tuple[int, ...] = dataclasses.field(default=(), metadata={"static": True})

    def from_unit(self, unit: Any) -> Array:
        """Maps [0, 1] to [low, high]; both ends are exact."""
        xp = namespace(unit)
        low, high = number(self.low, xp, unit.dtype), number(self.high, xp, unit.dtype)
        if self._is_short:
            inner = low + low * xp.expm1(xp.log1p((high - low) / low) * unit)
        else:
            start, stop = (xp.log(low), xp.log(high)) if self.log else (low, high)
            # In halves, which cannot overflow where stop - start does, and rising in each
            # rounding.
            half = (stop / 2 - start / 2) * unit
            inner = (start + half) + half
            inner = xp.exp(inner) if self.log else inner
        value = xp.clip(inner, low, high)
        return xp.where(unit <= 0, low, xp.where(unit >= 1, high, value))

    def to_unit(self, value: Any) -> Array:
        """Maps [low, high] to [0, 1]; a single-valued interval maps to the middle."""
        xp, dtype = namespace(value), float_dtype(value)
        low, high = number(self.low, xp, dtype), number(self.high, xp, dtype)
        value = xp.clip(xp.asarray(value, dtype), low, high)
        if self._is_short:
            span, part = xp.log1p((high - low) / low), xp.log1p((value - low) / low)
        elif self.log:
            # The logarithm of a ratio is precise beside `low`; of roots, so that none overflows.
            span = xp.log(xp.sqrt(high) / xp.sqrt(low))
            part = xp.log(xp.sqrt(value) / xp.sqrt(low))
        else:
            # Halves, so that the widest float interval does not overflow.
            span, part = high / 2 - low / 2, value / 2 - low / 2
        return xp.where(span > 0, xp.clip(part / xp.where(span > 0, span, 1), 0, 1), 0.5)

    @property
    def _is_short(self) -> bool:
        """Whether the logarithm of the bounds has fewer digits of the interval than they have."""
        is_traced = _checks.is_traced(self.low) or _checks.is_traced(self.high)
        return self.log and not is_traced and bool(self.high < 2 * self.low)

    def fault(self, dtype: Any) -> str | None:
        """Why floats of this dtype cannot search the interval; None if they can."""
        if _checks.is_traced(self.low) or _checks.is_traced(self.high):
            return None
        return interval_fault(float(self.low), float(self.high), self.log, dtype)

    def to_python(self, values: np.ndarray) -> list[Any]:
        """Python floats, clipped to the exact bounds."""
        return floats_within(values, float(self.low), float(self.high))

    def from_python(self, name: str, item: Any) -> Any:
        """Requires a number within the bounds (to float precision)."""
        item = _checks.check_number("Space.encode", name, item)
        low, high = float(self.low), float(self.high)
        # Rounding of what a device has computed, unless float32 cannot have computed it.
        slack = 1e-15 if interval_fault(low, high, self.log, np.float32) else 1e-6
        slack *= max(abs(low), abs(high)) if not self.log else item
        if not low - slack <= item <= high + slack:
            raise _checks.fail("Space.encode", name, f"in [{low}, {high}]", item)
        return min(max(float(item), low), high)

    def describe(self) -> dict[str, Any]:
        """The dimension as JSON."""
        kind = "log_uniform" if self.log else "uniform"
        return {
            "kind": kind,
            "low": float(self.low),
            "high": float(self.high),
            "shape": list(self.shape),
        }


def _make(where: str, low: Any, high: Any, log: bool, shape: int | tuple[int, ...]) -> Real:
    low, high = check_bounds(where, low, high, log=log)
    made = Real(as_float(low), as_float(high), log=log, shape=check_shape(where, shape))
    if made.fault(jnp.result_type(float)) is not None:
        return dataclasses.replace(made, low=exact(made.low), high=exact(made.high))
    return made


@named_arguments
def uniform(low: float, high: float, *, shape: int | tuple[int, ...] = ()) -> Real:
    """A real number, uniform on [low, high].

    Args:
        low: lower bound, included; finite. May be traced.
        high: upper bound, included; at least `low`. May be traced.
        shape: static shape of the value; each element is its own coordinate.

    Returns:
        The dimension.

    Raises:
        ValueError: a bound is NaN or infinite, or the bounds are reversed.
        TypeError: a bound is not a number.

    Example:
        >>> import jaxhpo as hpo
        >>> float(hpo.uniform(-1.0, 3.0).from_unit(jnp.asarray(0.5)))
        1.0
    """
    return _make("uniform", low, high, False, shape)


@named_arguments
def log_uniform(low: float, high: float, *, shape: int | tuple[int, ...] = ()) -> Real:
    """A positive real number whose logarithm is uniform on [log low, log high].

    Use it where only the order of magnitude is known: learning rates, regularisation.

    Args:
        low: lower bound, included; above 0. May be traced.
        high: upper bound, included. May be traced.
        shape: static shape of the value.

    Returns:
        The dimension.

    Raises:
        ValueError: a bound is not finite, `low` is not above 0, or the bounds are reversed.
        TypeError: a bound is not a number.

    Example:
        >>> import jaxhpo as hpo
        >>> round(float(hpo.log_uniform(1e-4, 1.0).from_unit(jnp.asarray(0.5))), 6)
        0.01
    """
    return _make("log_uniform", low, high, True, shape)
