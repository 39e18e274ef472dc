"""Which of Optuna's parameters exist only where another one has a certain value.

A define-by-run study does not say so. It follows from its trials: a parameter that is always there
once "model" is "svm", and never else, belongs to that branch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jaxhpo.space._layout import choice
from jaxhpo.space.readers._common import class_names

# An integer with more values than this decides no branches.
_MAX_BRANCHES = 32

Make = Callable[[str], Any]
Params = dict[str, Any]


def branch_tree(names: Sequence[str], trials: Sequence[Params], values: Params, make: Make) -> Any:
    """A dict of dimensions in which branches are named choices.

    Args:
        names: parameters, in the order in which trials asked for them.
        trials: params of trials that ended as they should.
        values: name of a parameter that may decide branches to all its values.
        make: the dimension of a name.

    Returns:
        The tree. A parameter whose presence no other one decides counts as always there.
    """
    common = [name for name in names if all(name in params for params in trials)]
    candidates = [name for name in common if name in values]
    groups: dict[str, list[str]] = {}
    for name in names:
        if name in common:
            continue
        selector = _selector(name, candidates, trials)
        if selector is None:
            common.append(name)
        else:
            groups.setdefault(selector, []).append(name)
    tree = {}
    for name in names:
        if name in groups:
            tree[name] = _choice(name, groups[name], trials, values, make)
        elif name in common:
            tree[name] = make(name)
    return tree


def _choice(
    selector: str, names: Sequence[str], trials: Sequence[Params], values: Params, make: Make
) -> Any:
    options = {}
    for value in values[selector]:
        there = [params for params in trials if params[selector] == value]
        inner = [name for name in names if any(name in params for params in there)]
        options[value] = branch_tree(inner, there, values, make)
    return choice(options)


def _selector(name: str, candidates: Sequence[str], trials: Sequence[Params]) -> str | None:
    """What decides whether a parameter is there; what decides it fully goes first."""
    partial = None
    for candidate in candidates:
        having = {params[candidate] for params in trials if name in params}
        lacking = {params[candidate] for params in trials if name not in params}
        if not having & lacking:
            return candidate
        # Under some values it is never there; a deeper choice decides about the others.
        if partial is None and lacking - having:
            partial = candidate
    return partial


def deciding_values(distribution: Any) -> list[Any] | None:
    """The values of a distribution that may decide branches, or None."""
    kinds = class_names(distribution)
    if "CategoricalDistribution" in kinds:
        values = list(distribution.choices)
    elif "IntDistribution" in kinds and distribution.high - distribution.low < _MAX_BRANCHES:
        values = list(range(distribution.low, distribution.high + 1, distribution.step))
    else:
        return None
    is_distinct = len(set(map(str, values))) == len(set(values)) == len(values)
    return values if is_distinct else None
