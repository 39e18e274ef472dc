"""A Hyperopt `hp.*` graph as a `Space`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from jaxhpo._checks import describe, fail
from jaxhpo.space._layout import choice
from jaxhpo.space._space import Space
from jaxhpo.space.dimensions._fixed import fixed
from jaxhpo.space.dimensions._normal import log_normal, normal
from jaxhpo.space.dimensions._real import log_uniform, uniform
from jaxhpo.space.dimensions._stepped import integer, quantized
from jaxhpo.space.readers._common import class_names, entry, finite, multiples

_WHERE = "from_hyperopt"
_LAWS = (
    "hp.uniform, quniform, loguniform, qloguniform, normal, qnormal, lognormal, qlognormal, "
    "randint, uniformint, choice, pchoice, alone or under scope.int or scope.float"
)
# Beyond these logarithms a float overflows or loses precision.
_MAX_LOG = 700.0
# The branches taken on the way to a node: (id of the choice's parameter, option) pairs.
Conditions = tuple[tuple[int, int], ...]


def from_hyperopt(space: Any) -> Space:
    """Reads a Hyperopt space into one whose `decode` gives what `hyperopt.space_eval` gives.

    The labels of `hp.*` are checked and then dropped: a parameter is named by its place in the
    structure. An option of `hp.choice` arrives as itself, never as its index. Differences: the grid
    of a `q*` law is the multiples of q inside the bounds, all alike on their scale (Hyperopt may
    round out of the bounds, and gives the two ends half the weight); normal laws are cut at 4
    standard deviations.

    Args:
        space: any nesting of dicts, lists, tuples, `hp.*` nodes and constants. Lists and tuples
            become tuples, as in `space_eval`.

    Returns:
        The space; `hp.choice` and `hp.pchoice` become (nested, weighted) choices.

    Raises:
        ValueError: two parameters share a label, one parameter is used twice in the same
            configuration, a node is an expression over parameters, or a bound is unusable.
        TypeError: a bound is not a number.

    Example:
        >>> from hyperopt import hp
        >>> from jaxhpo.space import from_hyperopt
        >>> space = from_hyperopt({"lr": hp.loguniform("lr", -9.0, 0.0),
        ...                        "opt": hp.choice("opt", ["adam", "sgd"])})
        >>> space.names
        ('lr', 'opt')

    References:
        Bergstra, Yamins, Cox, "Making a Science of Model Search", ICML 2013.
    """
    return Space(_Reader().read("space", space, ()))


class _Reader:
    """One walk over a graph; remembers which labels it met, and under which conditions."""

    def __init__(self) -> None:
        self.seen: dict[str, list[tuple[Any, Conditions]]] = {}

    def read(self, argument: str, node: Any, conditions: Conditions) -> Any:
        """Returns the tree of dimensions of one node."""
        node = _unapplied(node)
        if isinstance(node, Mapping):
            return {
                key: self.read(f"{argument}[{key!r}]", item, conditions)
                for key, item in node.items()
            }
        if isinstance(node, tuple):
            return tuple(
                self.read(f"{argument}[{i}]", item, conditions) for i, item in enumerate(node)
            )
        if not _is_node(node):
            return fixed(node)
        with entry(_WHERE, argument):
            if node.name == "switch":
                return self._choice(argument, node, conditions)
            return self._number(argument, node, conditions)

    def _choice(self, argument: str, node: Any, conditions: Conditions) -> Any:
        parameter, *options = node.pos_args
        if not _is_node(parameter) or parameter.name != "hyperopt_param":
            raise _unsupported(argument, parameter)
        self._register(argument, parameter, conditions)
        law = parameter.arg["obj"]
        if law.name not in ("randint", "categorical"):
            raise _unsupported(argument, law)
        weights = _constant(law.arg["p"]) if law.name == "categorical" else None
        read = [
            self.read(f"{argument}[{i}]", option, (*conditions, (id(parameter), i)))
            if _has_parameter(option)
            else _constant(option)
            for i, option in enumerate(options)
        ]
        return choice(read, weights=weights)

    def _number(self, argument: str, node: Any, conditions: Conditions) -> Any:
        is_int = node.name == "int"
        while node.name in ("int", "float") and len(node.pos_args) == 1:
            node = node.pos_args[0]
        if node.name != "hyperopt_param":
            raise _unsupported(argument, node)
        self._register(argument, node, conditions)
        law = node.arg["obj"]
        if law.name not in _NUMBERS or "size" in dict(law.named_args):
            raise _unsupported(argument, law)
        given = {
            name: _bound(f"{argument}.{name}", value)
            for name, value in law.arg.items()
            if _is_node(value)
        }
        return _NUMBERS[law.name](argument, given, is_int)

    def _register(self, argument: str, parameter: Any, conditions: Conditions) -> None:
        """Refuses a label that stands for two parameters, or twice in one configuration."""
        label = _constant(parameter.arg["label"])
        before = self.seen.setdefault(label, [])
        for other, others in before:
            if other is not parameter:
                raise fail(_WHERE, argument, "a space whose labels are unique", label)
            taken = dict(others)
            if not any(taken.get(switch, option) != option for switch, option in conditions):
                raise fail(_WHERE, argument, "a space that uses each parameter once", label)
        before.append((parameter, conditions))


def _is_node(node: Any) -> bool:
    return "Apply" in class_names(node)


def _unapplied(node: Any) -> Any:
    """Undoes Hyperopt's `as_apply` for containers and constants."""
    if isinstance(node, list):
        return tuple(node)
    if not _is_node(node):
        return node
    if node.name == "literal":
        return node.obj
    if node.name == "pos_args":
        return tuple(node.pos_args)
    if node.name == "dict":
        pairs = [_unapplied(pair) for pairs in node.pos_args for pair in _unapplied(pairs)]
        return {**{_constant(key): item for key, item in pairs}, **dict(node.named_args)}
    return node


def _constant(node: Any) -> Any:
    """The Python value of a node without parameters."""
    node = _unapplied(node)
    if isinstance(node, Mapping):
        return {key: _constant(item) for key, item in node.items()}
    if isinstance(node, tuple):
        return tuple(_constant(item) for item in node)
    return node.eval() if _is_node(node) else node


def _has_parameter(node: Any) -> bool:
    node = _unapplied(node)
    if isinstance(node, Mapping):
        return any(map(_has_parameter, node.values()))
    if isinstance(node, tuple):
        return any(map(_has_parameter, node))
    return _is_node(node) and (
        node.name == "hyperopt_param" or any(map(_has_parameter, node.inputs()))
    )


def _bound(argument: str, node: Any) -> float:
    if _has_parameter(node):
        raise fail(_WHERE, argument, "a constant", f"the expression {node.name}")
    return finite(_WHERE, argument, _constant(node))


def _unsupported(argument: str, node: Any) -> ValueError:
    name = getattr(node, "name", None)
    return fail(_WHERE, argument, f"one of {_LAWS}", f"the expression {name or describe(node)}")


def _bounded(argument: str, given: Mapping[str, Any], is_int: bool, *, log: bool) -> Any:
    low, high = given["low"], given["high"]
    if log:
        low, high = _exponential(argument, low), _exponential(argument, high)
    if "q" not in given:
        if is_int:
            raise fail(_WHERE, argument, "a quantized law under scope.int", "a continuous one")
        return (log_uniform if log else uniform)(low, high)
    q = given["q"]
    low, high = multiples(_WHERE, argument, low, high, q)
    if not is_int:
        return quantized(low, high, q, log=log)
    if q != round(q):
        raise fail(_WHERE, argument, "quantized by an integer under scope.int", q)
    return integer(round(low), round(high), step=round(q), log=log)


def _exponential(argument: str, bound: float) -> float:
    """Hyperopt states the bounds of its log laws as logarithms."""
    if abs(bound) > _MAX_LOG:
        raise fail(_WHERE, argument, f"bounded by logarithms within ±{_MAX_LOG}", bound)
    return math.exp(bound)


def _gaussian(argument: str, given: Mapping[str, Any], is_int: bool, *, log: bool) -> Any:
    if is_int:
        raise fail(
            _WHERE, argument, "free of scope.int over a normal law (round in the objective)", given
        )
    law = log_normal if log else normal
    return law(given["mu"], given["sigma"], step=given.get("q"))


def _randint(argument: str, given: Mapping[str, Any], is_int: bool) -> Any:
    low, high = (given["low"], given["high"]) if "high" in given else (0, given["low"])
    return integer(low, high - 1)


_NUMBERS: dict[str, Callable[[str, Mapping[str, Any], bool], Any]] = {
    "uniform": partial(_bounded, log=False),
    "quniform": partial(_bounded, log=False),
    "loguniform": partial(_bounded, log=True),
    "qloguniform": partial(_bounded, log=True),
    "normal": partial(_gaussian, log=False),
    "qnormal": partial(_gaussian, log=False),
    "lognormal": partial(_gaussian, log=True),
    "qlognormal": partial(_gaussian, log=True),
    "randint": _randint,
}
