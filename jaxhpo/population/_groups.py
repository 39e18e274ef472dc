"""Static dimensions: trials are grouped by them, one compiled program per group."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from jaxhpo._checks import fail
from jaxhpo.space.internal import StaticValue, is_static_value


@dataclasses.dataclass(frozen=True)
class Group:
    """Trials that share every static value, and so one program.

    Attributes:
        trials: `[g]` int32 numbers of the trials, ascending.
        leaves: traced hyperparameters, one array `[g, ...]` a leaf.
        statics: the Python values, one a static leaf.
        template: what `rebuild` needs.
        width: trials side by side, if it is known from a checkpoint; None: as the sweep says.
    """

    trials: np.ndarray
    leaves: tuple[np.ndarray, ...]
    statics: tuple[Any, ...]
    template: Template
    width: int | None = None

    def rebuild(self, leaves: Any) -> Any:
        """Puts traced leaves and Python values back where the user had them."""
        return self.template.rebuild(leaves, self.statics)


@dataclasses.dataclass(frozen=True)
class Template:
    """The structure of the hyperparameters, and which leaves are static."""

    treedef: Any
    is_static: tuple[bool, ...]

    def rebuild(self, leaves: Any, statics: Any) -> Any:
        """Merges the two kinds of leaves in their order."""
        traced, fixed = iter(leaves), iter(statics)
        merged = [next(fixed) if static else next(traced) for static in self.is_static]
        return jax.tree.unflatten(self.treedef, merged)


def group_trials(where: str, hparams: Any) -> tuple[list[Group], int]:
    """Splits a batch of hyperparameters by its static values.

    Args:
        where: the function to name in errors.
        hparams: values pytree, every leaf `[n, ...]`; `StaticValue` leaves hold indices `[n]`.

    Returns:
        `(groups, n)`; without static leaves, one group of all trials.

    Raises:
        ValueError: no leaf, a leaf without a leading axis, no trials, or lengths that differ.
    """
    paths, treedef = jax.tree_util.tree_flatten_with_path(hparams, is_leaf=is_static_value)
    if not paths:
        raise fail(where, "hparams", "a pytree with at least one leaf", hparams)
    nodes = [node for _, node in paths]
    arrays = [
        _as_numpy(where, path, node.index if isinstance(node, StaticValue) else node)
        for path, node in paths
    ]
    num_trials = _common_length(where, [p for p, _ in paths], arrays)
    template = Template(treedef, tuple(isinstance(n, StaticValue) for n in nodes))

    indices = [a for a, s in zip(arrays, template.is_static, strict=True) if s]
    leaves = [a for a, s in zip(arrays, template.is_static, strict=True) if not s]
    options = [n.options for n in nodes if isinstance(n, StaticValue)]
    groups = []
    for rows in _equal_rows(indices, num_trials):
        statics = tuple(o[int(i[rows[0]])] for o, i in zip(options, indices, strict=True))
        groups.append(Group(rows, tuple(a[rows] for a in leaves), statics, template))
    return groups, num_trials


def _as_numpy(where: str, path: Any, leaf: Any) -> np.ndarray:
    """Brings a leaf to the host in the precision that JAX would give it.

    Raises:
        ValueError: most trials would then train with another's value.
    """
    array = np.asarray(leaf)
    with np.errstate(over="ignore"):
        cast = array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False)
    # A few collisions are rounding; an interval that collapses loses nearly all.
    if cast.dtype != array.dtype and 2 * len(np.unique(cast)) < len(np.unique(array)):
        name = "hparams" + jax.tree_util.keystr(path)
        raise fail(where, name, f"made of values that {cast.dtype} can distinguish", leaf)
    return cast


def _common_length(where: str, paths: list[Any], arrays: list[np.ndarray]) -> int:
    lengths = {}
    for path, array in zip(paths, arrays, strict=True):
        name = "hparams" + jax.tree_util.keystr(path)
        if array.dtype == object or array.dtype.kind in "USOV":
            raise TypeError(f"{where}: `{name}` must be a numeric array, got dtype {array.dtype}.")
        if array.ndim < 1 or array.shape[0] < 1:
            raise fail(where, name, "an array with a leading axis of trials", array.shape)
        lengths[name] = array.shape[0]
    if len(set(lengths.values())) > 1:
        raise fail(where, "hparams", "a pytree of arrays of the same leading length", lengths)
    return arrays[0].shape[0]


def _equal_rows(indices: list[np.ndarray], num_trials: int) -> list[np.ndarray]:
    """Lists, for each distinct row of static indices, the trials that have it."""
    if not indices:
        return [np.arange(num_trials, dtype=np.int32)]
    table = np.stack(indices, axis=1)
    _, inverse = np.unique(table, axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    return [np.flatnonzero(inverse == g).astype(np.int32) for g in range(int(inverse.max()) + 1)]
