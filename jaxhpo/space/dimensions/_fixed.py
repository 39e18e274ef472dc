"""A constant that travels with the parameters."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from jaxhpo import _checks
from jaxhpo._checks.suggest import named_arguments
from jaxhpo.space.dimensions._dimension import Array, Dimension
from jaxhpo.space.dimensions._exact import integer_fault, interval_fault, namespace
from jaxhpo.space.dimensions._options import Options


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Fixed(Dimension):
    """A constant without unit coordinates. Made by `fixed`."""

    options: Options = dataclasses.field(metadata={"static": True})

    @property
    def size(self) -> int:
        """Number of unit coordinates: none."""
        return 0

    @property
    def value(self) -> Any:
        """The constant itself."""
        return self.options.items[0]

    def constant(self, dtype: Any) -> Any:
        """Array form: the number or bool itself, 0 (an index) for any other object."""
        if isinstance(self.value, bool | np.bool_):
            return np.asarray(self.value)
        if not self.options.is_numeric:
            return np.zeros((), np.int32)
        if not isinstance(self.value, int | np.integer):
            return np.asarray(self.value, dtype)
        is_short = integer_fault(int(self.value), int(self.value), np.float32) is None
        return np.asarray(self.value, np.int32 if is_short else np.int64)

    def from_unit(self, unit: Any) -> Array:
        """The constant, with the batch shape of `unit` `[..., 0]`."""
        constant = self.constant(unit.dtype)
        return namespace(unit).full(unit.shape[:-1], constant, constant.dtype)

    def fault(self, dtype: Any) -> str | None:
        """Why programs of this float dtype cannot hold the constant; None if they can."""
        if not self.options.is_numeric:
            return None
        if isinstance(self.value, int | np.integer):
            return integer_fault(int(self.value), int(self.value), dtype)
        return interval_fault(float(self.value), float(self.value), False, dtype)

    def to_python(self, values: np.ndarray) -> list[Any]:
        """The constant, once per row."""
        return [self.value] * len(values)

    def from_python(self, name: str, item: Any) -> Any:
        """Requires the constant."""
        if self.options.find(item) is None:
            raise _checks.fail("Space.encode", name, f"the fixed value {self.value!r}", item)
        return self.constant(np.dtype(np.float64))

    def label(self, item: Any) -> Any:
        """The constant as something a database can store."""
        return self.options.labels()[0]

    def from_label(self, label: Any) -> Any:
        """The constant."""
        return self.value

    def describe(self) -> dict[str, Any]:
        """The dimension as JSON."""
        return {"kind": "fixed", "value": self.options.labels()[0], "shape": []}


@named_arguments
def fixed(value: Any) -> Fixed:
    """A constant that is handed to the objective with the searched parameters.

    Args:
        value: any object. In traced code a number or bool arrives as itself, any other as 0.

    Returns:
        The dimension; it has no unit coordinate.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxhpo as hpo
        >>> space = hpo.Space({"x": hpo.uniform(0.0, 1.0), "data": hpo.fixed("digits")})
        >>> space.num_dims, space.decode(space.from_unit(jnp.asarray([1.0])))
        (1, {'x': 1.0, 'data': 'digits'})
    """
    return Fixed(Options((value,)))
