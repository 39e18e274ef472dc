"""Whole computations inside `jax.shard_map`, whose checker follows what varies over the devices.

The checker wants every loop to begin with values that vary as its results do, so that each constant
that a loop starts from would have to be cast. Here a computation runs unchecked on one device's
values instead, and all that it returns counts as varying wherever an input did: never too little.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax._src import config as _config

_switch: Any = getattr(_config, "_check_vma", None)


def on_each_device(fun: Callable[..., Any]) -> Callable[..., Any]:
    """Lets a function of pytrees of arrays run under `jax.shard_map` with its checks on."""

    @functools.wraps(fun)
    def run(*args: Any) -> Any:
        if _switch is None or not _switch.value:
            return fun(*args)
        axes = _varying_axes(args)
        if not axes:
            try:
                return fun(*args)
            except (TypeError, ValueError) as error:
                # What the function closes over may vary as well (a device's own data).
                axes = tuple(jax.sharding.get_abstract_mesh().manual_axes)
                if not axes or "{V:" not in str(error):
                    raise
        with _switch(False):
            result = fun(*jax.tree.map(_unmarked, args))
        return jax.tree.map(lambda leaf: _marked(leaf, axes), result)

    return run


def _varying_axes(tree: Any) -> tuple[str, ...]:
    """Mesh axes over which some leaf varies, as the checker has it."""
    found: set[str] = set()
    for leaf in jax.tree.leaves(tree):
        if isinstance(leaf, jax.core.Tracer):
            marks = getattr(jax.typeof(leaf), "manual_axis_type", None)
            found |= set(getattr(marks, "varying", ()))
    return tuple(sorted(found))


def _marked(leaf: Any, axes: tuple[str, ...]) -> Any:
    missing = tuple(axis for axis in axes if axis not in _varying_axes(leaf))
    return jax.lax.pcast(leaf, missing, to="varying") if missing else leaf


def plain(tree: Any) -> Any:
    """What a computation closes over, as `on_each_device` gives it its arguments."""
    is_unchecked = _switch is not None and not _switch.value and _varying_axes(tree)
    return jax.tree.map(_unmarked, tree) if is_unchecked else tree


def _unmarked(leaf: Any) -> Any:
    """The same value, made by an operation while the checks are off, so that it bears no mark."""
    if not isinstance(leaf, jax.core.Tracer):
        return leaf
    return jax.lax.squeeze(jax.lax.expand_dims(leaf, (0,)), (0,))
