"""The two containers that a space's array form needs beside plain arrays, and points as arrays."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import _checks
from jaxhpo.space.dimensions._options import Options


class Branch(NamedTuple):
    """A nested choice in array form: every branch is kept, and which one counts stands beside them.

    Attributes:
        index: `[...]` int32, the chosen option.
        options: one values pytree an option; `()` for an option that is a plain object.
    """

    index: Any
    options: tuple[Any, ...]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class StaticValue:
    """A `static` leaf in array form: an index, and the Python values that it points into.

    The index is the only child of this pytree node, so slicing a batch of values with
    `jax.tree.map` keeps it whole. The host side (`population.sweep`, `Study`) groups trials by the
    index and hands the training the Python value.

    Attributes:
        index: `[...]` int32.
        options: the Python values, an `Options` sequence; structure of the program.
    """

    index: Any
    options: Options = dataclasses.field(metadata={"static": True})


def is_static_value(node: Any) -> bool:
    """Tells whether a pytree node is a `StaticValue`; made for `is_leaf=`."""
    return isinstance(node, StaticValue)


def to_numpy(value: Any) -> Any:
    """A pytree of arrays in NumPy's."""
    return jax.tree.map(np.asarray, value)


def real_points(where: str, unit: Any, num_dims: int | None = None) -> jax.Array:
    """Points as an array of real numbers."""
    if not isinstance(unit, jax.Array | np.ndarray) or unit.dtype.kind in "biu":
        if _checks.is_traced(unit):
            return unit.astype(jnp.result_type(float))
        unit = _checks.real_numbers(where, "unit", unit)
    if not jnp.issubdtype(unit.dtype, jnp.floating):
        raise TypeError(f"{where}: `unit` must be real numbers, got an array of {unit.dtype}.")
    if num_dims is not None and (unit.ndim == 0 or unit.shape[-1] != num_dims):
        raise _checks.fail(where, "unit", f"of shape [..., {num_dims}]", unit.shape)
    return jnp.asarray(unit)
