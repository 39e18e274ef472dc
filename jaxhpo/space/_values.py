"""The two containers that the array form of a space needs beside plain arrays."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np

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
