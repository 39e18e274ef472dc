"""Between a space's arrays and the Python objects that a user's objective receives (host side)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import _checks
from jaxhpo.space._layout import BranchNode, ConstantNode, Leaf, LeafNode, TreeNode
from jaxhpo.space._values import Branch, StaticValue

_WHERE = "Space.encode"


def pack(node: Any, leaf_values: list[Any]) -> Any:
    """Puts one array per leaf into the values pytree."""
    if isinstance(node, LeafNode):
        return leaf_values[node.index]
    if isinstance(node, ConstantNode):
        return ()
    if isinstance(node, BranchNode):
        options = tuple(pack(option, leaf_values) for option in node.options)
        return Branch(leaf_values[node.selector], options)
    return node.build([pack(child, leaf_values) for child in node.children])


def unpack(node: Any, values: Any, leaf_values: list[Any]) -> list[Any]:
    """Fills `leaf_values` from the values pytree; the inverse of `pack`."""
    if isinstance(node, LeafNode):
        leaf_values[node.index] = values
    elif isinstance(node, BranchNode):
        leaf_values[node.selector] = values.index
        for option, value in zip(node.options, values.options, strict=True):
            unpack(option, value, leaf_values)
    elif isinstance(node, TreeNode):
        for child, value in zip(node.children, children_of(node, values), strict=True):
            unpack(child, value, leaf_values)
    return leaf_values


def children_of(node: TreeNode, values: Any) -> list[Any]:
    """The parts of a container that looks like `node`."""
    if node.keys is not None:
        return [values[key] for key in node.keys]
    parts: list[Any] = node.treedef.flatten_up_to(values)
    return parts


def batch_shape(leaves: tuple[Leaf, ...], leaf_values: list[Any]) -> tuple[int, ...]:
    """Leading axes of values."""
    value = leaf_values[0]
    shape = np.shape(value.index if isinstance(value, StaticValue) else value)
    return shape[: len(shape) - len(leaves[0].dimension.shape)]


def real_dtype(leaf_values: list[Any]) -> Any:
    """The widest dtype among the real values, else the default one."""
    dtypes = [getattr(value, "dtype", np.dtype(bool)) for value in leaf_values]
    reals = [dtype for dtype in dtypes if jnp.issubdtype(dtype, jnp.floating)]
    return jnp.result_type(*reals) if reals else jnp.result_type(float)


def is_many(root: Any, leaves: tuple[Leaf, ...], params: Any) -> bool:
    """Whether `params` is a list of params, where one params may itself be a vector."""
    if not isinstance(params, list):
        return False
    depth = len(leaves[0].dimension.shape) if isinstance(root, LeafNode) else 0
    item: Any = params
    for _ in range(depth):
        item = item[0] if isinstance(item, list) and item else None
    return isinstance(item, list)


def decode_rows(root: Any, leaves: tuple[Leaf, ...], leaf_values: list[Any], n: int) -> list[Any]:
    """Turns arrays with a leading axis of `n` into `n` Python pytrees, active branch only."""
    columns = [
        _leaf_to_python(leaf, value, n) for leaf, value in zip(leaves, leaf_values, strict=True)
    ]
    selectors = {
        index: np.asarray(leaf_values[index]).reshape(-1)
        for node in _branches(root)
        for index in [node.selector]
    }

    def build(node: Any, row: int) -> Any:
        if isinstance(node, LeafNode):
            return columns[node.index][row]
        if isinstance(node, ConstantNode):
            return node.options[0]
        if isinstance(node, BranchNode):
            option = int(selectors[node.selector][row])
            inner = build(node.options[option], row)
            return inner if node.keys is None else {node.keys[option]: inner}
        return node.build([build(child, row) for child in node.children])

    return [build(root, row) for row in range(n)]


def _branches(node: Any) -> list[BranchNode]:
    if isinstance(node, BranchNode):
        return [node, *(inner for option in node.options for inner in _branches(option))]
    if isinstance(node, TreeNode):
        return [inner for child in node.children for inner in _branches(child)]
    return []


def _leaf_to_python(leaf: Leaf, value: Any, n: int) -> list[Any]:
    array = np.asarray(value.index if isinstance(value, StaticValue) else value)
    shape = leaf.dimension.shape
    items = leaf.dimension.to_python(array.reshape(-1))
    for size in reversed(shape):
        items = [items[at : at + size] for at in range(0, len(items), size)]
    return items if shape or array.ndim else items * n


def encode_row(root: Any, leaves: tuple[Leaf, ...], params: Any) -> dict[int, Any]:
    """Turns one Python pytree into one value per active leaf.

    Raises:
        ValueError: a parameter is missing, unknown or out of range; the message names it.
    """
    found: dict[int, Any] = {}
    _encode(root, leaves, params, found)
    return found


def _encode(node: Any, leaves: tuple[Leaf, ...], params: Any, found: dict[int, Any]) -> None:
    if isinstance(node, LeafNode):
        leaf = leaves[node.index]
        found[node.index] = _leaf_from_python(leaf, leaf.name, leaf.dimension.shape, params)
    elif isinstance(node, ConstantNode):
        if node.options.find(params) is None:
            raise _checks.fail(_WHERE, "params", f"{node.options[0]!r}", params)
    elif isinstance(node, BranchNode):
        _encode_branch(node, leaves, params, found)
    else:
        _encode_tree(node, leaves, params, found)


def _encode_tree(
    node: TreeNode, leaves: tuple[Leaf, ...], params: Any, found: dict[int, Any]
) -> None:
    keys = node.keys
    if keys is not None and (not isinstance(params, dict) or set(params) != set(keys)):
        raise _checks.fail(_WHERE, "params", f"a dict with the keys {list(keys)}", params)
    try:
        children = children_of(node, params)
    except (ValueError, TypeError):
        raise _checks.fail(_WHERE, "params", f"of the structure {node.treedef}", params) from None
    for child, value in zip(node.children, children, strict=True):
        _encode(child, leaves, value, found)


def _encode_branch(
    node: BranchNode, leaves: tuple[Leaf, ...], params: Any, found: dict[int, Any]
) -> None:
    name = leaves[node.selector].name
    if node.keys is not None:
        if not isinstance(params, dict) or len(params) != 1 or next(iter(params)) not in node.keys:
            raise _checks.fail(_WHERE, name, f"a dict with one key of {list(node.keys)}", params)
        option = node.keys.index(next(iter(params)))
        _encode(node.options[option], leaves, next(iter(params.values())), found)
        found[node.selector] = np.int32(option)
        return
    reasons = []
    for option, inner in enumerate(node.options):
        attempt: dict[int, Any] = {}
        try:
            _encode(inner, leaves, params, attempt)
        except (ValueError, TypeError) as error:
            reasons.append(str(error))
            continue
        found.update(attempt)
        found[node.selector] = np.int32(option)
        return
    expected = f"one of its {len(node.options)} options ({' / '.join(reasons)})"
    raise _checks.fail(_WHERE, name, expected, params)


def _leaf_from_python(leaf: Leaf, name: str, shape: tuple[int, ...], item: Any) -> Any:
    if not shape:
        return leaf.dimension.from_python(name, item)
    if not hasattr(item, "__len__") or len(item) != shape[0]:
        raise _checks.fail(_WHERE, name, f"a sequence of length {shape[0]}", item)
    return [
        _leaf_from_python(leaf, f"{name}[{at}]", shape[1:], part) for at, part in enumerate(item)
    ]


def stack_rows(
    root: Any, leaves: tuple[Leaf, ...], rows: list[dict[int, Any]], defaults: list[Any]
) -> Any:
    """Stacks encoded rows into the values pytree; inactive leaves take their default."""
    columns = []
    for index, default in enumerate(defaults):
        plain = default.index if isinstance(default, StaticValue) else default
        items = [row.get(index, plain) for row in rows]
        column = np.asarray(items, dtype=plain.dtype).reshape((len(rows), *plain.shape))
        is_static = isinstance(default, StaticValue)
        columns.append(StaticValue(column, default.options) if is_static else column)
    return pack(root, columns)


def default_values(leaves: tuple[Leaf, ...], dtype: Any) -> list[Any]:
    """The value of each leaf at the centre of its unit interval, as NumPy arrays.

    Real ones have the dtype.
    """

    def settle(array: Any) -> np.ndarray:
        array = np.asarray(array)
        return array.astype(dtype) if array.dtype.kind == "f" else array

    centres = [leaf.dimension.from_unit(np.full(_unit_shape(leaf), 0.5)) for leaf in leaves]
    return [jax.tree.map(settle, centre) for centre in centres]


def _unit_shape(leaf: Leaf) -> tuple[int, ...]:
    return leaf.dimension.shape if leaf.stop > leaf.start else (0,)
