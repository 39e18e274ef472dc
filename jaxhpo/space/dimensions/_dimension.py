"""What every dimension of a search space can do.

A dimension maps its own unit coordinates `u` in [0, 1] to values and back, elementwise: `u` has
shape `[..., *shape]` and so has the value. Bounds are pytree leaves, so that spaces of equal
structure share compiled code; shapes, scales and options are static. NumPy arrays are mapped by
NumPy, so a float64 one gives float64 values whatever the precision of the device.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import _checks
from jaxhpo.space.dimensions._exact import is_exact, namespace

Array = jax.Array


class Dimension:
    """One continuous leaf of a search space.

    Attributes:
        shape: shape of the leaf's value without a batch axis; each element is a unit coordinate.
        is_categorical: whether the order of values means nothing.
    """

    shape: tuple[int, ...] = ()
    is_categorical: ClassVar[bool] = False

    @property
    def size(self) -> int:
        """Number of unit coordinates."""
        return math.prod(self.shape)

    @property
    def is_discrete(self) -> bool:
        """Whether values are numbered; a grid too fine for the unit cube's floats is not."""
        return False

    @property
    def num_levels(self) -> int:
        """Number of distinct values of one element; 0 means continuous. Needs concrete bounds."""
        return 0

    def fault(self, dtype: Any) -> str | None:
        """Why values cannot be made on a device with these floats; None if they can."""
        return None

    def index_fault(self) -> str | None:
        """Why programs see an index in place of a number; None if they do not."""
        return None

    def from_unit(self, unit: Any) -> Any:
        """Maps unit coordinates `[..., *shape]` to values of the same shape."""
        raise NotImplementedError  # abstract

    def to_unit(self, value: Any) -> Array:
        """Maps values `[..., *shape]` to unit coordinates of the same shape."""
        raise NotImplementedError  # abstract

    def snap(self, unit: Array) -> Array:
        """Moves unit coordinates to the centre of their discrete cell (continuous: only clips)."""
        return jnp.clip(unit, 0.0, 1.0)

    def level(self, unit: Array) -> Array:
        """Index of the discrete level, integer `[..., *shape]`; 0 where continuous."""
        return jnp.zeros(unit.shape, jnp.int32)

    def feature(self, unit: Array) -> Array:
        """The coordinate as a model should see it, in [0, 1]."""
        return self.snap(unit)

    def to_python(self, values: np.ndarray) -> list[Any]:
        """Maps a flat array of values to exact Python objects."""
        raise NotImplementedError  # abstract

    def from_python(self, name: str, item: Any) -> Any:
        """Maps one Python object to a NumPy scalar; raises ValueError naming the leaf."""
        raise NotImplementedError  # abstract

    def label(self, item: Any) -> Any:
        """A Python object as something a database can store."""
        return item

    def from_label(self, label: Any) -> Any:
        """The Python object of a stored label."""
        return label

    def describe(self) -> dict[str, Any]:
        """The dimension as JSON: kind, bounds, shape."""
        raise NotImplementedError  # abstract


class Discrete(Dimension):
    """A leaf whose elements take finitely many values, numbered from 0.

    Subclasses give `level`, `unit_of_level`, `cell_of_level`, `value_of_level` and
    `level_of_value`.
    """

    @property
    def is_discrete(self) -> bool:
        """Whether values are numbered."""
        return True

    def unit_of_level(self, level: Array, dtype: Any) -> Array:
        """Centre of a level's cell in the unit interval."""
        raise NotImplementedError  # abstract

    def cell_of_level(self, level: Array, dtype: Any) -> tuple[Array, Array]:
        """Both ends of a level's cell in the unit interval."""
        raise NotImplementedError  # abstract

    def value_of_level(self, level: Array, dtype: Any) -> Any:
        """The value of a level; `dtype` is that of real values."""
        raise NotImplementedError  # abstract

    def level_of_value(self, value: Any) -> Array:
        """The level of a value, integer."""
        raise NotImplementedError  # abstract

    def from_unit(self, unit: Any) -> Any:
        """Maps unit coordinates to values."""
        return self.value_of_level(self.level(unit), unit.dtype)

    def to_unit(self, value: Any) -> Array:
        """Maps values to the centres of their cells."""
        return self.unit_of_level(self.level_of_value(value), float_dtype(value))

    def snap(self, unit: Array) -> Array:
        """Moves unit coordinates to the centre of their cell."""
        if not self.is_discrete:
            return super().snap(unit)
        return self.unit_of_level(self.level(unit), unit.dtype)


class Grid(Discrete):
    """A leaf whose elements lie on a grid of `count` points, be they too many to be numbered.

    Subclasses give `_index` and `_value_dtype` besides what `Discrete` asks for.
    """

    count: Any

    @property
    def is_discrete(self) -> bool:
        """Whether the grid is coarse enough for samplers to number its points."""
        return not is_exact(self.count)

    @property
    def num_levels(self) -> int:
        """Number of grid points; 0 where there are too many to be numbered."""
        return int(self.count) if self.is_discrete else 0

    def level(self, unit: Array) -> Array:
        """Index of the grid point of `unit`."""
        return self._index(unit) if self.is_discrete else super(Discrete, self).level(unit)

    def from_unit(self, unit: Any) -> Any:
        """Maps unit coordinates to values."""
        return self.value_of_level(self._index(unit), unit.dtype)

    @property
    def _level_dtype(self) -> Any:
        """Integers that hold every level."""
        return np.dtype(np.int32) if self.is_discrete else self._value_dtype

    @property
    def _value_dtype(self) -> Any:
        """Integers that hold every value and every level."""
        raise NotImplementedError  # abstract

    def _index(self, unit: Array) -> Array:
        """Index of a grid point, of `_level_dtype`."""
        raise NotImplementedError  # abstract


def float_dtype(value: Any) -> Any:
    """The dtype of unit coordinates that belong to `value`: its own if real, else the default.

    On the host it is float64.
    """
    if namespace(value) is np:
        return np.dtype(np.float64)
    dtype = getattr(value, "dtype", None)
    if dtype is not None and jnp.issubdtype(dtype, jnp.floating):
        return dtype
    return jnp.result_type(float)


_MOST_ELEMENTS = 100_000


def check_shape(where: str, shape: Any) -> tuple[int, ...]:
    """Requires a tuple of sizes of at least 1 (an int stands for a vector)."""
    sizes = (shape,) if isinstance(shape, int) else shape
    if not isinstance(sizes, tuple | list):
        raise TypeError(f"{where}: `shape` must be a tuple of integers, got {shape!r}.")
    checked = tuple(_checks.check_int(where, "shape", size, 1) for size in sizes)
    if math.prod(checked) > _MOST_ELEMENTS:
        raise _checks.fail(where, "shape", f"of at most {_MOST_ELEMENTS:,} elements", shape)
    return checked


def check_bounds(where: str, low: Any, high: Any, *, log: bool) -> tuple[Any, Any]:
    """Requires finite, ordered bounds, above 0 where the scale is logarithmic."""
    low = _checks.check_number(where, "low", low)
    high = _checks.check_number(where, "high", high)
    if log and not _checks.is_traced(low) and low <= 0:
        raise ValueError(
            f"{where}: `low` must be greater than 0 on a log scale, got low={low!r}; "
            "use a small positive bound such as 1e-8, or a linear scale."
        )
    if not (_checks.is_traced(low) or _checks.is_traced(high)) and low > high:
        raise ValueError(f"{where}: `low` must not exceed `high`, got low={low!r}, high={high!r}.")
    return low, high


def floats_within(values: np.ndarray, low: float, high: float) -> list[float]:
    """Python floats in [low, high], with the shortest digits that round to the array elements.

    An element at a bound, as far as its dtype can tell, becomes that bound exactly.
    """
    dtype = values.dtype.type
    ends = {dtype(low): low, dtype(high): high}
    short = (float(value) if dtype is np.float64 else float(str(value)) for value in values)
    return [
        ends.get(value, min(max(number, low), high))
        for value, number in zip(values, short, strict=True)
    ]


def as_float(value: Any) -> Any:
    """A Python float, so that integer bounds do not make another program; tracers pass."""
    return value if _checks.is_traced(value) else float(value)
