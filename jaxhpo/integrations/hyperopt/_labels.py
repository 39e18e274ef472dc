"""A Hyperopt graph as a `Space` whose params are known by their labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jaxhpo.space import Space, choice
from jaxhpo.space.internal import entry
from jaxhpo.space.readers.hyperopt import (
    _WHERE,
    Conditions,
    _constant,
    _has_parameter,
    _is_node,
    _Reader,
    _unapplied,
    _unsupported,
)

# Beside the labels of a branch: which branch it is.
_OPTION = " option"


class LabelSpace:
    """The space of a graph, and the way between its params and Hyperopt's values by label."""

    def __init__(self, graph: Any) -> None:
        """Reads a graph.

        Args:
            graph: a Hyperopt space, or a domain's `expr`.

        Raises:
            ValueError: something that no dimension expresses.
        """
        self._reader = _LabelReader()
        self.space = Space(self._reader.read("space", graph, ()))

    def values_of(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Hyperopt's values of decoded params: indices of choices, active labels only."""
        found: dict[str, Any] = {}
        for label, value in params.items():
            if label == _OPTION:
                continue
            if label not in self._reader.choices:
                found[label] = value if label in self._reader.whole else float(value)
            elif isinstance(value, Mapping):
                found[label] = value[_OPTION]
                found |= self.values_of(value)
            else:
                found[label] = int(value)
        return found

    def params_of(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Params of Hyperopt's values, the inverse of `values_of`.

        Raises:
            KeyError: an active label has no value.
        """
        return self._params(self._reader.top, values)

    def _params(self, labels: tuple[str, ...], values: Mapping[str, Any]) -> dict[str, Any]:
        params: dict[str, Any] = {}
        for label in labels:
            value = values[label]
            options = self._reader.choices.get(label)
            if options is None:
                whole = label in self._reader.whole or label in self._reader.rounded
                params[label] = int(value) if whole else float(value)
            elif options[int(value)]:
                inner = self._params(options[int(value)], values)
                params[label] = {_OPTION: int(value), **inner}
            else:
                params[label] = int(value)
        return params


class _LabelReader(_Reader):
    """Reads a graph into dicts from labels to dimensions; remembers what each label is.

    Attributes:
        choices: label of a choice to the labels inside each of its options.
        whole: labels whose values are integers in Hyperopt too.
        rounded: labels under `scope.int`: integers here, floats there.
        top: labels outside all choices.
    """

    def __init__(self) -> None:
        super().__init__()
        self.choices: dict[str, list[tuple[str, ...]]] = {}
        self.whole: set[str] = set()
        self.rounded: set[str] = set()
        self.top: tuple[str, ...] = ()

    def read(self, argument: str, node: Any, conditions: Conditions) -> Any:
        """Returns the dimensions of one node by label."""
        node = _unapplied(node)
        found: dict[str, Any] = {}
        if isinstance(node, Mapping):
            for key, item in node.items():
                found |= self.read(f"{argument}[{key!r}]", item, conditions)
        elif isinstance(node, tuple):
            for i, item in enumerate(node):
                found |= self.read(f"{argument}[{i}]", item, conditions)
        elif _is_node(node) and _has_parameter(node):
            with entry(_WHERE, argument):
                label, dimension = self._labelled(argument, node, conditions)
            found[label] = dimension
        if not conditions:
            self.top = tuple(found)
        return found

    def _labelled(self, argument: str, node: Any, conditions: Conditions) -> tuple[str, Any]:
        if node.name == "switch":
            return self._label_choice(argument, node, conditions)
        dimension = self._number(argument, node, conditions)
        is_int = False
        while node.name in ("int", "float"):
            is_int, node = is_int or node.name == "int", node.pos_args[0]
        label = str(_constant(node.arg["label"]))
        # uniformint is a law of its own in old versions and scope.int(quniform) in newer ones.
        if node.arg["obj"].name == "randint":
            self.whole.add(label)
        elif is_int:
            self.rounded.add(label)
        return label, dimension

    def _label_choice(self, argument: str, node: Any, conditions: Conditions) -> tuple[str, Any]:
        parameter, *options = node.pos_args
        if not _is_node(parameter) or parameter.name != "hyperopt_param":
            raise _unsupported(argument, parameter)
        self._register(argument, parameter, conditions)
        label, law = str(_constant(parameter.arg["label"])), parameter.arg["obj"]
        if law.name not in ("randint", "categorical"):
            raise _unsupported(argument, law)
        weights = _constant(law.arg["p"]) if law.name == "categorical" else None
        inner = [
            self.read(f"{argument}[{i}]", option, (*conditions, (id(parameter), i)))
            for i, option in enumerate(options)
        ]
        self.choices[label] = [tuple(found) for found in inner]
        named = [{_OPTION: i, **found} if found else i for i, found in enumerate(inner)]
        return label, choice(named, weights=weights)
