"""Params of a space from the flat dict of an Optuna trial, whose names know no branches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxhpo.space import Space
from jaxhpo.space.internal import BranchNode, ConstantNode, Fixed, Leaf, LeafNode, element_names
from jaxhpo.space.internal import children_of as children_of


class _Found(NamedTuple):
    params: Any
    used: frozenset[str]


def params_of(space: Space, flat: Mapping[str, Any]) -> Any:
    """The params of a trial, or None if they do not lie in the space.

    A parameter goes by its path in the space (`model.svm.C`) or by the last part of it (`C`). A
    nested choice may be named like a parameter of the trial that says which option was taken;
    without one, the option that has just the trial's parameters was.

    Args:
        space: with or without branches.
        flat: a trial's params.
    """
    found = _build(space._root, space.leaves, flat)
    if found is None or found.used != set(flat):
        return None
    try:
        space.encode([found.params])
    except (ValueError, TypeError):
        return None
    return found.params


def _build(node: Any, leaves: tuple[Leaf, ...], flat: Mapping[str, Any]) -> _Found | None:
    if isinstance(node, LeafNode):
        return _leaf(leaves[node.index], flat)
    if isinstance(node, ConstantNode):
        return _Found(node.options[0], frozenset())
    if isinstance(node, BranchNode):
        return _branch(node, leaves, flat)
    parts = [_build(child, leaves, flat) for child in node.children]
    kept = [part for part in parts if part is not None]
    if len(kept) < len(parts):
        return None
    used = frozenset().union(*(part.used for part in kept))
    return _Found(node.build([part.params for part in kept]), used)


def _branch(node: BranchNode, leaves: tuple[Leaf, ...], flat: Mapping[str, Any]) -> _Found | None:
    """The option that the trial names, else the one that takes most of its parameters."""
    selector = leaves[node.selector]
    name = _name_in(selector.name, flat)
    labels = selector.dimension.options.items  # type: ignore[attr-defined]
    best: _Found | None = None
    for option, inner in enumerate(node.options):
        is_named = name is not None and _is_option(node, option, labels[option], flat[name])
        found = _build(inner, leaves, flat)
        if found is None or (name is not None and not is_named and name not in found.used):
            continue
        params = found.params if node.keys is None else {node.keys[option]: found.params}
        used = found.used | ({name} if name is not None else set())
        if best is None or len(used) > len(best.used):
            best = _Found(params, used)
    return best


def _is_option(node: BranchNode, option: int, label: Any, value: Any) -> bool:
    if node.keys is not None:
        return bool(node.keys[option] == value or label == str(value))
    inner = node.options[option]
    if isinstance(inner, ConstantNode):
        return inner.options.find(value) is not None
    return bool(label == value)


def _leaf(leaf: Leaf, flat: Mapping[str, Any]) -> _Found | None:
    found = [_name_in(name, flat) for name in element_names(leaf)]
    names = [name for name in found if name is not None]
    if isinstance(leaf.dimension, Fixed):
        if names and leaf.dimension.options.find(flat[names[0]]) is None:
            return None
        return _Found(leaf.dimension.value, frozenset(names))
    if len(names) < len(found):
        return None
    items: list[Any] = [leaf.dimension.from_label(flat[name]) for name in names]
    for size in reversed(leaf.dimension.shape[1:]):
        items = [items[at : at + size] for at in range(0, len(items), size)]
    return _Found(items if leaf.dimension.shape else items[0], frozenset(names))


def _name_in(path: str, flat: Mapping[str, Any]) -> str | None:
    """The name under which a trial has a leaf."""
    path = path.split(" (")[0]  # branches of one choice may hold leaves of one name
    while path not in flat:
        if "." not in path:
            return None
        path = path.split(".", 1)[1]
    return path
