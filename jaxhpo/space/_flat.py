"""Parameters as a flat dict of storable values, as databases and tables hold them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxhpo import _checks
from jaxhpo.space._codec import children_of, encode_row
from jaxhpo.space._layout import BranchNode, ConstantNode, Leaf, LeafNode, element_names


def flatten(space: Any, params: Any) -> dict[str, Any]:
    """One entry for each active element of params as `decode` gives them; choices as labels."""
    root, leaves = space._root, space.leaves
    flat: dict[str, Any] = {}

    def walk(node: Any, value: Any) -> None:
        if isinstance(node, LeafNode):
            _put(flat, leaves[node.index], value)
        elif isinstance(node, BranchNode):
            option = _chosen(node, leaves, value)
            selector = leaves[node.selector]
            flat[selector.name] = selector.dimension.options[option]
            walk(node.options[option], value if node.keys is None else next(iter(value.values())))
        elif not isinstance(node, ConstantNode):
            for child, part in zip(node.children, children_of(node, value), strict=True):
                walk(child, part)

    walk(root, params)
    return flat


def _chosen(node: BranchNode, leaves: tuple[Leaf, ...], value: Any) -> int:
    return int(encode_row(node, leaves, value)[node.selector])


def _put(flat: dict[str, Any], leaf: Leaf, value: Any) -> None:
    if not leaf.dimension.shape:
        flat[leaf.name] = leaf.dimension.label(value)
        return
    places = itertools.product(*(range(size) for size in leaf.dimension.shape))
    for name, place in zip(element_names(leaf), places, strict=True):
        item = value
        for at in place:
            item = item[at]
        flat[name] = leaf.dimension.label(item)


def unflatten(root: Any, leaves: tuple[Leaf, ...], flat: Any, others: Any) -> Any:
    """The inverse of `flatten`; `others` has what `flat` may leave out.

    Raises:
        ValueError: an active parameter is missing, or a name of `flat` is unknown or inactive.
    """
    for name, found in (("flat", flat), ("others", others)):
        if not isinstance(found, Mapping):
            expected = "a mapping from names to stored values"
            raise TypeError(
                f"Space.unflatten_params: `{name}` must be {expected}, got "
                f"{_checks.describe(found)}."
            )
    used: set[str] = set()

    def take(name: str) -> Any:
        if name not in flat and name in others:
            return others[name]
        if name not in flat:
            raise ValueError(f"Space.unflatten_params: `{name}` is missing from {sorted(flat)}.")
        used.add(name)
        return flat[name]

    def build(node: Any) -> Any:
        if isinstance(node, LeafNode):
            return _get(leaves[node.index], take)
        if isinstance(node, ConstantNode):
            return node.options[0]
        if isinstance(node, BranchNode):
            selector = leaves[node.selector]
            label = take(selector.name)
            option = selector.dimension.options.find(label)  # type: ignore[attr-defined]
            if option is None:
                options = selector.dimension.options  # type: ignore[attr-defined]
                raise _checks.fail(
                    "Space.unflatten_params", selector.name, f"one of {options}", label
                )
            inner = build(node.options[option])
            return inner if node.keys is None else {node.keys[option]: inner}
        return node.build([build(child) for child in node.children])

    params = build(root)
    if unknown := sorted(set(flat) - used):
        raise ValueError(f"Space.unflatten_params: unknown or inactive parameters {unknown}.")
    return params


def _get(leaf: Leaf, take: Any) -> Any:
    items = [leaf.dimension.from_label(take(name)) for name in element_names(leaf)]
    for size in reversed(leaf.dimension.shape[1:]):
        items = [items[at : at + size] for at in range(0, len(items), size)]
    return items if leaf.dimension.shape else items[0]


def level_counts(leaves: tuple[Leaf, ...]) -> np.ndarray:
    """Number of levels of each unit column, int64 `[d]`; 0 where continuous."""
    counts = [[leaf.dimension.num_levels] * (leaf.stop - leaf.start) for leaf in leaves]
    return np.asarray([count for row in counts for count in row], dtype=np.int64)
