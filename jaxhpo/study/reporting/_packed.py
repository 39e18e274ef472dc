"""A checkpoint as arrays and a description of how they were nested: no pickle, no code."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from jaxhpo._checks import describe

_EXPECTED = (
    "`objective` must yield a checkpoint that is a path, or nested dicts (with strings as keys), "
    "lists and tuples of arrays and numbers, got {got}. Of any other tree take its leaves: "
    "`jax.tree.leaves(state)`, and later `jax.tree.unflatten(jax.tree.structure(fresh), leaves)`."
)


class Packed(NamedTuple):
    """A checkpoint.

    Attributes:
        structure: how the leaves were nested, as JSON.
        leaves: arrays.
    """

    structure: Any
    leaves: list[np.ndarray]


def pack(tree: Any) -> Packed:
    """Takes a tree of arrays apart.

    Args:
        tree: dicts, lists and tuples of arrays, numbers, booleans and None.

    Returns:
        What `unpack` puts together again; arrays on the host.

    Raises:
        TypeError: anything else is in it.
    """
    leaves: list[np.ndarray] = []
    return Packed(_describe(tree, leaves), leaves)


def unpack(packed: Packed) -> Any:
    """Puts a tree together again.

    Args:
        packed: what `pack` made.

    Returns:
        The tree, with NumPy arrays.

    Raises:
        ValueError: the description is not one of `pack`, or the leaves do not fit it.
    """
    leaves = iter(packed.leaves)
    try:
        tree = _build(packed.structure, leaves)
    except (StopIteration, TypeError, KeyError, IndexError) as error:
        raise ValueError("its leaves do not fit the structure that was saved") from error
    if next(leaves, None) is not None:
        raise ValueError("it has more leaves than the structure that was saved")
    return tree


def _describe(tree: Any, leaves: list[np.ndarray]) -> Any:
    if tree is None:
        return None
    if type(tree) is dict and all(isinstance(key, str) for key in tree):
        return {"dict": [[key, _describe(value, leaves)] for key, value in tree.items()]}
    if type(tree) in (list, tuple):
        return {type(tree).__name__: [_describe(one, leaves) for one in tree]}
    if type(tree) in (bool, int, float):
        number = tree.hex() if isinstance(tree, float) else tree
        return {"number": number, "is": type(tree).__name__}
    leaves.append(_array(tree))
    return {"array": [leaves[-1].dtype.name, list(leaves[-1].shape)]}


def _array(leaf: Any) -> np.ndarray:
    """A leaf as an array of numbers on the host."""
    if hasattr(leaf, "dtype") and hasattr(leaf, "shape"):
        try:
            array = np.array(leaf)  # a copy: the objective goes on with its own
        except TypeError:  # a typed key
            array = np.asarray(None)
        # bfloat16 and its like are numbers, and of a kind that NumPy calls void.
        if array.dtype.kind in "biufc" or (array.dtype.kind == "V" and array.dtype.names is None):
            return array
    hint = " (of a key take `jax.random.key_data`)" if "key<" in str(leaf) else ""
    raise TypeError(_EXPECTED.format(got=f"{describe(leaf)}{hint}"))


def _build(structure: Any, leaves: Any) -> Any:
    if structure is None:
        return None
    if "dict" in structure:
        return {key: _build(value, leaves) for key, value in structure["dict"]}
    if "list" in structure:
        return [_build(one, leaves) for one in structure["list"]]
    if "tuple" in structure:
        return tuple(_build(one, leaves) for one in structure["tuple"])
    if "number" in structure:
        number, kind = structure["number"], structure["is"]
        return float.fromhex(number) if kind == "float" else number
    name, shape = structure["array"]
    leaf = next(leaves)
    if leaf.dtype.name != name or list(leaf.shape) != shape:
        raise ValueError(f"a leaf is {leaf.dtype.name}{list(leaf.shape)}, saved as {name}{shape}")
    return leaf
