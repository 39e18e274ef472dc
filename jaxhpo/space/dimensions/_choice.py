"""Dimensions over a list of options: choice, ordinal and static."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import _checks
from jaxhpo._checks.suggest import named_arguments
from jaxhpo.space._values import StaticValue
from jaxhpo.space.dimensions._dimension import Array, Discrete, check_shape, float_dtype
from jaxhpo.space.dimensions._exact import namespace
from jaxhpo.space.dimensions._options import Options, make_options


@dataclasses.dataclass(frozen=True)
class _Listed(Discrete):
    """Shared by everything that picks from `options`; subclasses say how likely each is."""

    options: Options = dataclasses.field(metadata={"static": True})
    shape: tuple[int, ...] = dataclasses.field(default=(), metadata={"static": True})

    @property
    def num_levels(self) -> int:
        """Number of options."""
        return len(self.options)

    def level(self, unit: Array) -> Array:
        """Index of the option; equal shares of the unit interval."""
        xp = namespace(unit)
        position = xp.floor(unit * xp.asarray(self.num_levels, unit.dtype))
        position = xp.where(xp.isnan(position), 0, position)
        return xp.clip(position, 0, self.num_levels - 1).astype(np.int32)

    def unit_of_level(self, level: Array, dtype: Any) -> Array:
        """Middle of the option's share."""
        return (level.astype(dtype) + 0.5) * (1 / self.num_levels)

    def cell_of_level(self, level: Array, dtype: Any) -> tuple[Array, Array]:
        """Both ends of the option's share."""
        start = level.astype(dtype) * (1 / self.num_levels)
        return start, (level.astype(dtype) + 1) * (1 / self.num_levels)

    def value_of_level(self, level: Array, dtype: Any) -> Any:
        """The number if all options are numbers, the bool if all are bools, else the index."""
        if self.options.kind() == "index":
            return level
        return self._table(namespace(level), dtype)[level]

    def level_of_value(self, value: Any) -> Array:
        """Index of the option with this array form (numbers: the nearest)."""
        xp, kind = namespace(value), self.options.kind()
        value = xp.asarray(value)
        if kind == "index":
            return xp.clip(value.astype(np.int32), 0, self.num_levels - 1)
        table = self._table(xp, float_dtype(value))
        if kind == "bool":
            return xp.argmax(value[..., None] == _along(table, value), axis=-1).astype(np.int32)
        distance = xp.abs(value[..., None].astype(table.dtype) - _along(table, value))
        return xp.argmin(distance, axis=-1).astype(np.int32)

    def _table(self, xp: Any, dtype: Any) -> Any:
        """The options in array form, where they are not their index."""
        kind = {"bool": bool, "int": np.int32, "float": dtype}[self.options.kind()]
        return xp.asarray(np.asarray(self.options.items), kind)

    def index_fault(self) -> str | None:
        """Why programs see the index of numbers; None where they see the numbers."""
        is_hidden = self.options.is_numeric and self.options.kind() == "index"
        return "int32 or float32 cannot hold its options" if is_hidden else None

    def to_python(self, values: np.ndarray) -> list[Any]:
        """The options themselves."""
        is_index = self.options.kind() == "index"
        levels = values if is_index else np.asarray(self.level_of_value(values))
        return [self.options.items[int(level)] for level in levels]

    def from_python(self, name: str, item: Any) -> Any:
        """Requires one of the options."""
        level = self.options.find(item)
        if level is None:
            raise _checks.fail("Space.encode", name, f"one of {self.options!r}", item)
        return level if self.options.kind() == "index" else self.options.items[level]

    def label(self, item: Any) -> Any:
        """The option as something a database can store."""
        level = self.options.find(item)
        return item if level is None else self.options.labels()[level]

    def from_label(self, label: Any) -> Any:
        """The option of a stored label."""
        level = Options(self.options.labels()).find(label)
        return label if level is None else self.options.items[level]


def _along(table: Array, value: Array) -> Array:
    """The table with as many leading axes as `value` has, as strict rank promotion asks."""
    return table.reshape((1,) * value.ndim + table.shape)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Choice(_Listed):
    """A categorical. Made by `choice`, or by a plain list in a space."""

    is_categorical: ClassVar[bool] = True
    weights: Any = None  # [K] probabilities, or None for equal ones

    def level(self, unit: Array) -> Array:
        """Index of the option; shares of the unit interval follow the weights."""
        if self.weights is None:
            return super().level(unit)
        xp = namespace(unit)
        ends = xp.cumsum(xp.asarray(self.weights, unit.dtype))[:-1]
        return xp.sum(unit[..., None] >= _along(ends, unit), axis=-1, dtype=np.int32)

    def unit_of_level(self, level: Array, dtype: Any) -> Array:
        """Middle of the option's share."""
        if self.weights is None:
            return super().unit_of_level(level, dtype)
        starts, ends = self._shares(namespace(level), dtype)
        return ((starts + ends) / 2)[level]

    def cell_of_level(self, level: Array, dtype: Any) -> tuple[Array, Array]:
        """Both ends of the option's share."""
        if self.weights is None:
            return super().cell_of_level(level, dtype)
        starts, ends = self._shares(namespace(level), dtype)
        return starts[level], ends[level]

    def _shares(self, xp: Any, dtype: Any) -> tuple[Array, Array]:
        inner = xp.cumsum(xp.asarray(self.weights, dtype))[:-1]
        # The last end is 1 by definition; the sum may miss it by a rounding error.
        starts, ends = xp.zeros(1, dtype), xp.ones(1, dtype)
        return xp.concatenate([starts, inner]), xp.concatenate([inner, ends])

    def describe(self) -> dict[str, Any]:
        """The dimension as JSON."""
        weights = None if self.weights is None else [float(w) for w in np.asarray(self.weights)]
        return {
            "kind": "choice",
            "options": list(self.options.labels()),
            "weights": weights,
            "shape": list(self.shape),
        }


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Ordinal(_Listed):
    """Ordered options at uneven distances. Made by `ordinal`."""

    def feature(self, unit: Array) -> Array:
        """Numbers: their place between the first and the last; other objects: their rank."""
        level = self.level(unit)
        if self.num_levels == 1:
            return jnp.full(unit.shape, 0.5, unit.dtype)
        if self.options.is_numeric:
            table = np.asarray(self.options.items, np.float64)
            table = (table - table[0]) / (table[-1] - table[0])
            return jnp.asarray(table, unit.dtype)[level]
        return level.astype(unit.dtype) / (self.num_levels - 1)

    def describe(self) -> dict[str, Any]:
        """The dimension as JSON."""
        return {
            "kind": "ordinal",
            "options": list(self.options.labels()),
            "shape": list(self.shape),
        }


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Static(_Listed):
    """A categorical that changes the shapes of a program. Made by `static`."""

    is_categorical: ClassVar[bool] = True

    def value_of_level(self, level: Array, dtype: Any) -> StaticValue:
        """The index with its options beside it."""
        return StaticValue(level, self.options)

    def level_of_value(self, value: Any) -> Array:
        """The index."""
        index = value.index if isinstance(value, StaticValue) else value
        xp = namespace(index)
        return xp.clip(xp.asarray(index).astype(np.int32), 0, self.num_levels - 1)

    def to_unit(self, value: Any) -> Array:
        """Maps an index to the middle of its share."""
        level = self.level_of_value(value)
        return self.unit_of_level(level, float_dtype(level))

    def index_fault(self) -> str | None:
        """None: a training receives the Python value."""
        return None

    def to_python(self, values: np.ndarray) -> list[Any]:
        """The options themselves."""
        return [self.options.items[int(level)] for level in values]

    def from_python(self, name: str, item: Any) -> Any:
        """Requires one of the options; the array form is its index."""
        level = self.options.find(item)
        if level is None:
            raise _checks.fail("Space.encode", name, f"one of {self.options!r}", item)
        return level

    def describe(self) -> dict[str, Any]:
        """The dimension as JSON."""
        return {"kind": "static", "options": list(self.options.labels()), "shape": []}


def check_weights(where: str, weights: Any, count: int) -> Any:
    """Requires `count` positive finite numbers and scales them to sum to 1 (None passes)."""
    if weights is None:
        return None
    if _checks.is_traced(weights):
        return weights / weights.sum()
    array = _checks.real_numbers(where, "weights", weights)
    if array.shape != (count,):
        raise _checks.fail(where, "weights", f"one number per option ({count})", weights)
    if not np.all(np.isfinite(array)) or np.any(array <= 0):
        raise _checks.fail(where, "weights", "finite and greater than 0", weights)
    return array / array.sum()


def summed_weights(weights: Any, places: np.ndarray) -> Any:
    """Weights of distinct options from those of a list in which some repeat.

    Args:
        weights: `[n]`, or None for equal ones.
        places: `[n]` place of each item among the distinct ones.

    Returns:
        One weight a distinct option, or None where all are equally likely.
    """
    counts = np.bincount(places)
    if weights is None:
        return None if np.all(counts == counts[0]) else counts / counts.sum()
    if len(counts) == len(places):
        return weights
    if isinstance(weights, np.ndarray):
        return np.bincount(places, weights)
    return jnp.zeros(len(counts), weights.dtype).at[places].add(weights)


@named_arguments
def ordinal(values: Any, *, shape: int | tuple[int, ...] = ()) -> Ordinal:
    """Ordered options, at any distance from each other: batch sizes, tree depths, grades.

    Args:
        values: sequence of distinct options in order; numbers must rise or fall throughout.
        shape: static shape of the value.

    Returns:
        The dimension. Each option is equally likely; models see a number's own place between the
        first and the last.

    Raises:
        ValueError: no value, a duplicate, or numbers out of order.

    Example:
        >>> import jaxhpo as hpo
        >>> space = hpo.Space({"batch": hpo.ordinal([8, 32, 128])})
        >>> space.decode(space.from_unit(jnp.asarray([0.5])))
        {'batch': 32}
    """
    options = make_options("ordinal", "values", values)
    if options.is_numeric:
        steps = np.diff(np.asarray(options.items, np.float64))
        if not (np.all(steps > 0) or np.all(steps < 0)):
            raise _checks.fail("ordinal", "values", "in order", list(options.items))
    return Ordinal(options, shape=check_shape("ordinal", shape))


@named_arguments
def static(options: Any) -> Static:
    """Options that change the shapes of a program: a width, a depth, a batch size.

    Trials are grouped by the value and one program is compiled for each; the training receives the
    Python value itself.

    Args:
        options: sequence of distinct objects.

    Returns:
        The dimension.

    Raises:
        ValueError: no option or a duplicate.

    Example:
        >>> import jaxhpo as hpo
        >>> space = hpo.Space({"width": hpo.static([32, 64])})
        >>> space.from_unit(jnp.asarray([0.9]))["width"].options
        [32, 64]
    """
    return Static(make_options("static", "options", options))
