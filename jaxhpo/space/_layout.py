"""From the tree that a user writes to a flat table of leaves, and back.

A space is a tree of nodes over a table of leaves. Leaves own consecutive columns of the unit cube;
nodes know how values are put together. Both are plain frozen records, so that a space's structure
can be compared and hashed.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import Any

import jax

from jaxhpo import _checks
from jaxhpo._checks.suggest import named_arguments
from jaxhpo.space.dimensions._choice import Choice, Static, check_weights, summed_weights
from jaxhpo.space.dimensions._dimension import Dimension, check_shape
from jaxhpo.space.dimensions._fixed import fixed
from jaxhpo.space.dimensions._options import Options, merged_options

_TAGS = (str, bool, int, float, type(None))
_HINT = (
    "a dimension such as hpo.uniform(low, high), a list of options, "
    "or hpo.fixed(value) for a constant"
)


@dataclasses.dataclass(frozen=True)
class Leaf:
    """One row of the table.

    Attributes:
        name: dotted path in the user's tree.
        dimension: what the leaf can be.
        start: first column of the unit cube.
        stop: column after the last.
        conditions: pairs (leaf index of a selector, option) that must all hold for the leaf to be
            active; empty for a leaf that always is.
    """

    name: str
    dimension: Dimension
    start: int
    stop: int
    conditions: tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True)
class LeafNode:
    """A leaf of the table."""

    index: int


@dataclasses.dataclass(frozen=True)
class ConstantNode:
    """An option of a nested choice that is a plain object."""

    options: Options


@dataclasses.dataclass(frozen=True)
class TreeNode:
    """A container: a dict (`keys` in the user's order) or any other pytree (`treedef`)."""

    children: tuple[Any, ...]
    keys: tuple[Any, ...] | None = None
    treedef: Any = None

    def build(self, children: list[Any]) -> Any:
        """Puts children into a container of this kind."""
        if self.keys is not None:
            return dict(zip(self.keys, children, strict=True))
        return jax.tree_util.tree_unflatten(self.treedef, children)


@dataclasses.dataclass(frozen=True)
class BranchNode:
    """A nested choice: the table row of its selector, and one node per option."""

    selector: int
    options: tuple[Any, ...]
    keys: tuple[Any, ...] | None  # the options' names, where they came in a dict


class NestedChoice:
    """What `choice` returns when an option is itself a space; only `Space` reads it."""

    def __init__(self, trees: tuple[Any, ...], keys: tuple[Any, ...] | None, weights: Any) -> None:
        self.trees = trees
        self.keys = keys
        self.weights = weights

    def labels(self) -> tuple[str, ...]:
        """One unique text per option."""
        if self.keys is not None:
            return tuple(str(key) for key in self.keys)
        texts = [
            f"option {index}" if holds_dimension(tree) else str(Options((tree,)).labels()[0])
            for index, tree in enumerate(self.trees)
        ]
        return tuple(str(label) for label in Options(tuple(texts)).labels())


@named_arguments
def choice(
    options: Any, *, weights: Any = None, shape: int | tuple[int, ...] = ()
) -> Choice | NestedChoice:
    """One of several options, which may be spaces themselves.

    A plain list in a space means `choice(list)`.

    Args:
        options: a sequence of objects of any kind: strings, None, bools, numbers, NaN, functions.
            One that repeats is one option with the weight of all its places. An option that
            contains a dimension is a sub-space: its parameters are active only where it is chosen,
            and bare values in it are constants. A dict names the options:
            `choice({"svm": {...}, "none": None})` decodes to `{"svm": {...}}`. Name options that
            overlap, such as two intervals: params without a name count for the first that fits.
        weights: one positive number per option, proportional to its probability. May be traced.
        shape: static shape of the value; plain options only.

    Returns:
        The dimension. In traced code a choice among finite numbers is the number, among bools the
        bool, and any other is its int32 index.

    Raises:
        TypeError: `options` is not a sequence or dict.
        ValueError: no option, or weights that do not fit.

    Example:
        >>> import jax, jaxhpo as hpo
        >>> space = hpo.Space({"model": hpo.choice(
        ...     [{"kind": "svm", "C": hpo.log_uniform(1e-3, 1e3)}, {"kind": "mean"}])})
        >>> space.decode(space.from_unit(jax.numpy.asarray([0.9, 0.1])))
        {'model': {'kind': 'mean'}}
    """
    keyed = isinstance(options, dict)
    trees = tuple(options.values()) if keyed else options
    if not keyed and (
        not isinstance(trees, list | tuple) or not any(holds_dimension(tree) for tree in trees)
    ):
        listed, places = merged_options("choice", "options", trees)
        weights = check_weights("choice", weights, len(places))
        return Choice(listed, check_shape("choice", shape), summed_weights(weights, places))
    if not trees:
        raise _checks.fail("choice", "options", "a dict of at least one option", options)
    if check_shape("choice", shape) != ():
        raise _checks.fail("choice", "shape", "() where options are spaces", shape)
    weights = check_weights("choice", weights, len(trees))
    return NestedChoice(tuple(trees), tuple(options) if keyed else None, weights)


def holds_dimension(tree: Any) -> bool:
    """Tells whether a dimension stands anywhere in a tree (lists included)."""
    leaves = jax.tree_util.tree_leaves(tree, is_leaf=lambda node: _is_spec(node, lists=False))
    return any(_is_spec(leaf, lists=False) for leaf in leaves)


def _is_spec(node: Any, lists: bool = True) -> bool:
    return isinstance(node, Dimension | NestedChoice) or (lists and isinstance(node, list))


class _Builder:
    """Walks the user's tree once and fills the table."""

    def __init__(self) -> None:
        self.leaves: list[Leaf] = []
        self.columns = 0

    def add_leaf(
        self, name: str, dimension: Dimension, conditions: tuple[tuple[int, int], ...]
    ) -> int:
        start = self.columns
        self.columns += dimension.size
        self.leaves.append(Leaf(name or "value", dimension, start, self.columns, conditions))
        return len(self.leaves) - 1

    def node(
        self, tree: Any, name: str, conditions: tuple[tuple[int, int], ...], nested: bool
    ) -> Any:
        if isinstance(tree, list):
            tree = _list_to_choice(tree, name)
        if isinstance(tree, NestedChoice):
            return self.branch(tree, name, conditions)
        if isinstance(tree, Dimension):
            return LeafNode(self.add_leaf(name, tree, conditions))
        if isinstance(tree, dict):
            items = (self.node(tree[key], _join(name, key), conditions, nested) for key in tree)
            return TreeNode(tuple(items), keys=tuple(tree))
        if isinstance(tree, Iterator):  # which JAX would take for a leaf, with a warning
            raise TypeError(
                f"Space: `{name or 'tree'}` must be {_HINT}, got {_checks.describe(tree)}."
            )
        children, treedef = jax.tree_util.tree_flatten(tree, is_leaf=lambda node: node is not tree)
        if jax.tree_util.treedef_is_leaf(treedef) or tree is None:
            if nested and isinstance(tree, _TAGS):
                return LeafNode(self.add_leaf(name, fixed(tree), conditions))
            raise TypeError(
                f"Space: `{name or 'tree'}` must be {_HINT}, got {_checks.describe(tree)}."
            )
        names = child_names(tree)
        nodes = tuple(
            self.node(child, _join(name, part), conditions, nested)
            for child, part in zip(children, names, strict=True)
        )
        return TreeNode(nodes, treedef=treedef)

    def branch(
        self, tree: NestedChoice, name: str, conditions: tuple[tuple[int, int], ...]
    ) -> BranchNode:
        labels = tree.labels()
        selector = self.add_leaf(name, Choice(Options(labels), (), tree.weights), conditions)
        options: list[Any] = []
        for option, subtree in enumerate(tree.trees):
            if not holds_dimension(subtree) and not (tree.keys and isinstance(subtree, dict)):
                options.append(ConstantNode(Options((subtree,))))
                continue
            inner = (*conditions, (selector, option))
            # A keyed branch puts its name into the path; others share the parent's.
            path = _join(name, labels[option]) if tree.keys is not None else name
            is_bare = isinstance(subtree, Dimension | NestedChoice | list)
            path = path if not is_bare or tree.keys is not None else _join(name, labels[option])
            options.append(self.node(subtree, path, inner, nested=True))
        return BranchNode(selector, tuple(options), tree.keys)


def build_layout(tree: Any) -> tuple[Any, tuple[Leaf, ...]]:
    """Parses a user's tree.

    Returns:
        The root node and the table of leaves.

    Raises:
        TypeError: a leaf is neither a dimension nor a list.
        ValueError: no dimension at all, or two leaves of one name.
    """
    builder = _Builder()
    root = builder.node(tree, "", (), nested=False)
    if not builder.leaves:
        raise _checks.fail("Space", "tree", "a pytree with at least one dimension", tree)
    return root, tuple(_unique_names(builder.leaves))


def _unique_names(leaves: list[Leaf]) -> list[Leaf]:
    """Refuses duplicate names, except between branches of one choice, which get a suffix."""
    seen: dict[str, list[Leaf]] = {}
    unique = []
    for leaf in leaves:
        twins = seen.setdefault(leaf.name, [])
        if any(not _exclusive(leaf, twin) for twin in twins):
            raise ValueError(
                f"Space: names must be unique, got two dimensions named `{leaf.name}`."
            )
        options = ".".join(str(option) for _, option in leaf.conditions)
        name = f"{leaf.name} ({options})" if twins else leaf.name
        twins.append(leaf)
        unique.append(dataclasses.replace(leaf, name=name))
    flat = [name for leaf in unique for name in element_names(leaf)]
    if repeated := sorted({name for name in flat if flat.count(name) > 1}):
        raise ValueError(f"Space: names must be unique, got `{repeated[0]}` twice.")
    return unique


def element_names(leaf: Leaf) -> list[str]:
    """The leaf's name, or one name per element: `lr[0]`, `lr[1]`, …."""
    places = itertools.product(*(range(size) for size in leaf.dimension.shape))
    return [leaf.name + "".join(f"[{at}]" for at in place) for place in places]


def _exclusive(left: Leaf, right: Leaf) -> bool:
    chosen = dict(left.conditions)
    return any(chosen.get(leaf, option) != option for leaf, option in right.conditions)


def _list_to_choice(tree: list[Any], name: str) -> Any:
    try:
        return choice(tree)
    except ValueError as error:
        raise ValueError(f"Space: `{name or 'tree'}`: {error}") from None


def _join(prefix: str, part: Any) -> str:
    return f"{prefix}.{part}" if prefix else str(part)


def child_names(tree: Any) -> list[str]:
    """What the paths of a container call its children, in their order."""
    paths, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda node: node is not tree)
    return [jax.tree_util.keystr(path[:1], simple=True) for path, _ in paths]


def has_static(leaves: tuple[Leaf, ...]) -> bool:
    """Tells whether any leaf changes the shapes of a program."""
    return any(isinstance(leaf.dimension, Static) for leaf in leaves)


def count_configurations(root: Any, leaves: tuple[Leaf, ...]) -> int | None:
    """Number of distinct configurations, inactive parameters not counted; None if infinite."""
    if isinstance(root, LeafNode):
        dimension = leaves[root.index].dimension
        if dimension.size == 0:
            return 1
        return dimension.num_levels**dimension.size if dimension.num_levels else None
    if isinstance(root, ConstantNode):
        return 1
    parts = root.options if isinstance(root, BranchNode) else root.children
    counts = [count_configurations(part, leaves) for part in parts]
    if any(count is None for count in counts):
        return None
    numbers = [count for count in counts if count is not None]
    return sum(numbers) if isinstance(root, BranchNode) else math.prod(numbers)
