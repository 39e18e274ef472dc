"""A GPyOpt `domain` list as a `Space`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxhpo._checks import check_int, describe, fail
from jaxhpo.space._layout import choice
from jaxhpo.space._space import Space
from jaxhpo.space.dimensions._choice import ordinal
from jaxhpo.space.dimensions._real import uniform
from jaxhpo.space.readers._common import entry, finite, plain

_WHERE = "from_gpyopt"
_KEYS = frozenset({"name", "type", "domain", "dimensionality"})


def from_gpyopt(domain: Sequence[Mapping[str, Any]]) -> Space:
    """Reads a GPyOpt `domain` into a space over a dict from variable names to values.

    `continuous` becomes `uniform`, `discrete` an `ordinal` of its sorted numbers, `categorical` a
    `choice` that arrives as the category itself (GPyOpt hands its objective the category's
    position), and `bandit` a `choice` of its arms as tuples. `dimensionality` k > 1 gives a vector
    of shape (k,). GPyOpt has no log scale: write `log_uniform` where you mean one.

    Args:
        domain: dicts with `name` (default `var_0`, `var_1`, …), `type` (default `continuous`),
            `domain` and `dimensionality` (default 1).

    Returns:
        The space.

    Raises:
        TypeError: `domain` is no list of dicts.
        ValueError: a name occurs twice, a type or key is unknown, or a domain is unusable.

    Example:
        >>> from jaxhpo.space import from_gpyopt
        >>> space = from_gpyopt([
        ...     {"name": "x", "type": "continuous", "domain": (-1, 1), "dimensionality": 2},
        ...     {"name": "units", "type": "discrete", "domain": (16, 32, 64)}])
        >>> space.num_dims
        3

    References:
        The GPyOpt authors, "GPyOpt: A Bayesian Optimization framework in Python", 2016,
        https://github.com/SheffieldML/GPyOpt.
    """
    if isinstance(domain, str | Mapping) or not isinstance(domain, Sequence):
        raise TypeError(f"{_WHERE}: `domain` must be a list of dicts, got {describe(domain)}.")
    if not domain:
        raise fail(_WHERE, "domain", "a list of at least one variable", domain)
    tree: dict[str, Any] = {}
    for i, variable in enumerate(domain):
        argument = f"domain[{i}]"
        _check_variable(argument, variable)
        name = variable.get("name", f"var_{i}")
        if not isinstance(name, str):
            raise TypeError(f"{_WHERE}: `{argument}['name']` must be a string, got {name!r}.")
        if name in tree:
            raise fail(_WHERE, f"{argument}['name']", "unique", name)
        with entry(_WHERE, argument):
            tree[name] = _dimension(argument, variable)
    return Space(tree)


def _check_variable(argument: str, variable: Any) -> None:
    if not isinstance(variable, Mapping):
        raise TypeError(f"{_WHERE}: `{argument}` must be a dict, got {describe(variable)}.")
    if not set(variable) <= _KEYS:
        raise fail(_WHERE, argument, f"a dict with keys among {sorted(_KEYS)}", variable)
    if "domain" not in variable:
        raise fail(_WHERE, argument, "a dict with a 'domain'", variable)


def _dimension(argument: str, variable: Mapping[str, Any]) -> Any:
    kind, values = variable.get("type", "continuous"), variable["domain"]
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise fail(_WHERE, f"{argument}['domain']", "a non-empty list or tuple", values)
    if kind == "bandit":
        return _bandit(argument, values, variable.get("dimensionality"))
    size = check_int(_WHERE, f"{argument}['dimensionality']", variable.get("dimensionality", 1), 1)
    shape = (size,) if size > 1 else ()
    if kind == "continuous":
        if len(values) != 2:
            raise fail(_WHERE, f"{argument}['domain']", "a pair (low, high)", values)
        low, high = (finite(_WHERE, f"{argument}['domain']", bound) for bound in values)
        return uniform(low, high, shape=shape)
    if kind == "discrete":
        numbers = [finite(_WHERE, f"{argument}['domain']", value) for value in values]
        return ordinal(sorted(set(numbers)), shape=shape)
    if kind == "categorical":
        return choice([plain(value) for value in values], shape=shape)
    raise fail(_WHERE, f"{argument}['type']", "continuous, discrete, categorical or bandit", kind)


def _bandit(argument: str, values: Sequence[Any], size: Any) -> Any:
    try:
        arms = [tuple(plain(number) for number in arm) for arm in values]
    except TypeError:
        raise fail(_WHERE, f"{argument}['domain']", "a list of arms (tuples)", values) from None
    if len({len(arm) for arm in arms}) > 1 or size not in (None, len(arms[0])):
        expected = f"arms that all have {size or len(arms[0])} numbers"
        raise fail(_WHERE, f"{argument}['domain']", expected, values)
    return choice(arms)
