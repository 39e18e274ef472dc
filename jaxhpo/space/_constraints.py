"""Constraints between parameters: predicates over values, and forbidden combinations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo import _checks
from jaxhpo._checks.suggest import named_arguments
from jaxhpo.space._layout import Leaf
from jaxhpo.space.dimensions._dimension import Array, Discrete
from jaxhpo.space.dimensions._exact import namespace
from jaxhpo.space.dimensions._options import Options


class Forbid:
    """A forbidden combination: made by `forbid`."""

    def __init__(self, combination: dict[str, Any]) -> None:
        self.combination = combination
        self._key = (tuple(combination), Options(tuple(combination.values())))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Forbid) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"forbid({self.combination!r})"


@named_arguments
def forbid(combination: dict[str, Any]) -> Forbid:
    """Forbids the configurations in which all the named parameters have the given values.

    Args:
        combination: `{name: value}`, where `name` is the dotted path of a parameter and `value` one
            of its Python values. For a nested choice the value is the option's name or number.

    Returns:
        A constraint for `Space(tree, constraints=[…])`. A combination that names a parameter of an
        inactive branch does not apply.

    Raises:
        TypeError: `combination` is not a dict of names.
        ValueError: it is empty.

    Example:
        >>> import jaxhpo as hpo
        >>> space = hpo.Space({"loss": ["hinge", "log"], "dual": [True, False]},
        ...                   constraints=[hpo.forbid({"loss": "hinge", "dual": False})])
        >>> space.cardinality
        3
    """
    if not isinstance(combination, dict) or not all(isinstance(name, str) for name in combination):
        raise TypeError(
            "forbid: `combination` must be a dict of parameter names to values, "
            f"got {_checks.describe(combination)}."
        )
    if not combination:
        raise _checks.fail("forbid", "combination", "a dict of at least one parameter", combination)
    return Forbid(dict(combination))


Constraint = Callable[[Any], Any] | Forbid


def check_constraints(constraints: Any, leaves: tuple[Leaf, ...]) -> tuple[Constraint, ...]:
    """Requires callables or `forbid(…)` over known names and values."""
    items = tuple(constraints) if isinstance(constraints, list | tuple) else (constraints,)
    for item in items:
        if isinstance(item, Forbid):
            for name, value in item.combination.items():
                leaf = leaves[find_leaf(leaves, name, "forbid")]
                forbidden_level(leaf, value)
        elif not callable(item):
            raise TypeError(
                "Space: `constraints` must hold callables (values -> bool) or hpo.forbid(...), "
                f"got {_checks.describe(item)}."
            )
    return items


def find_leaf(leaves: tuple[Leaf, ...], name: str, where: str) -> int:
    """Index of the leaf of this name.

    Raises:
        ValueError: there is none; the message lists the names.
    """
    for index, leaf in enumerate(leaves):
        if leaf.name == name:
            return index
    names = [leaf.name for leaf in leaves]
    raise ValueError(f"{where}: `{name}` is not a parameter of the space; it has {names}.")


def forbidden_level(leaf: Leaf, value: Any) -> Any:
    """What a forbidden Python value is in array form: an option's index, or the number itself."""
    options = getattr(leaf.dimension, "options", None)
    if not isinstance(options, Options):
        return leaf.dimension.from_python(leaf.name, value)
    level = options.find(value)
    if level is None:
        raise _checks.fail("forbid", leaf.name, f"one of {options}", value)
    return level


def matches(
    item: Forbid, leaves: tuple[Leaf, ...], leaf_values: list[Any], active: list[Array]
) -> Array:
    """Whether each configuration is the forbidden one, `[...]` bool."""
    hit: Array | None = None
    for name, value in item.combination.items():
        index = find_leaf(leaves, name, "forbid")
        same = _equals(leaves[index], leaf_values[index], value) & active[index]
        hit = same if hit is None else hit & same
    assert hit is not None  # a combination is never empty
    return hit


def _equals(leaf: Leaf, array: Any, value: Any) -> Array:
    dimension = leaf.dimension
    if isinstance(dimension, Discrete):
        # Numbers were checked when the space was made; here its bounds may be traced.
        if hasattr(dimension, "options"):
            level = forbidden_level(leaf, value)
        else:
            level = dimension.level_of_value(namespace(array).asarray(value, array.dtype))
        same = dimension.level_of_value(array) == level
    else:
        array = jnp.asarray(array)
        # A few roundings of the value itself, so that no neighbour is forbidden with it.
        slack = 4 * jnp.finfo(array.dtype).eps if jnp.issubdtype(array.dtype, jnp.floating) else 0
        same = jnp.abs(array - jnp.asarray(value, array.dtype)) <= slack * abs(value)
    axes = tuple(range(same.ndim - len(dimension.shape), same.ndim))
    return jnp.all(same, axis=axes) if axes else same


def all_hold(
    constraints: tuple[Constraint, ...],
    leaves: tuple[Leaf, ...],
    values: Any,
    leaf_values: list[Any],
    active: list[Array],
    batch: tuple[int, ...],
) -> Array:
    """Whether each configuration of a batch meets all constraints, `[...]` bool."""
    allowed = jnp.ones(batch, bool)
    for item in constraints:
        if isinstance(item, Forbid):
            allowed &= ~matches(item, leaves, leaf_values, active)
        else:
            allowed &= holds(item, values, len(batch))
    return allowed


def holds(constraint: Callable[[Any], Any], values: Any, batch_ndim: int) -> Array:
    """Evaluates a predicate on a batch of values by vmap, `[...]` bool."""

    def predicate(one: Any) -> Array:
        try:
            answer = jnp.asarray(constraint(one))
        except (KeyError, AttributeError, IndexError) as error:
            raise ValueError(
                "Space: `constraints` must read the space's own values; one of them asked for "
                f"{error} of a values pytree {jax.tree.structure(one)}."
            ) from error
        if answer.shape != ():
            raise ValueError(
                "Space: a constraint must return one bool, got an array of shape "
                f"{answer.shape}; reduce it with jnp.all."
            )
        return answer.astype(bool)

    mapped: Callable[[Any], Array] = predicate
    for _ in range(batch_ndim):
        mapped = jax.vmap(mapped)
    return mapped(jax.tree.map(jnp.asarray, values))
