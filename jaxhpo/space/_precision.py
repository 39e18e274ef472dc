"""Which spaces programs can hold, and what to do where they cannot."""

from __future__ import annotations

import contextlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo.space._layout import Leaf


def fault_of(leaves: tuple[Leaf, ...], dtype: Any) -> tuple[str, str] | None:
    """Name of the first leaf that programs with these floats cannot hold, and why."""
    for leaf in leaves:
        if (reason := leaf.dimension.fault(np.dtype(dtype))) is not None:
            return leaf.name, reason
    return None


def index_fault_of(leaves: tuple[Leaf, ...]) -> tuple[str, str] | None:
    """Name of the first leaf whose numbers programs see as indices, and why."""
    for leaf in leaves:
        if (reason := leaf.dimension.index_fault()) is not None:
            return leaf.name, reason
    return None


def check_fault(where: str, found: tuple[str, str] | None) -> None:
    """Raises where a fault was found.

    Raises:
        ValueError: it names the leaf, the reason and the ways out.
    """
    if found is None:
        return
    name, reason = found
    raise ValueError(
        f"{where}: `{name}` must be a dimension that compiled code can hold, but {reason}. Search "
        "the difference from a fixed number, switch float64 on with jax.config.update("
        "'jax_enable_x64', True), or run a Python objective with Study, which receives float64."
    )


def dtype_for(leaves: tuple[Leaf, ...], dtype: Any) -> Any:
    """Floats that hold the values: these, or float64 where they do not."""
    return dtype if fault_of(leaves, dtype) is None else np.dtype(np.float64)


def sufficient(leaves: tuple[Leaf, ...]) -> Any:
    """A context in which programs hold the values: float64 where the default is too short."""
    if fault_of(leaves, jnp.result_type(float)) is None:
        return contextlib.nullcontext()
    return jax.enable_x64(True)
