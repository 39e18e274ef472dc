"""A space as JSON, and back: what a file needs to hold so that the space can be rebuilt from it.

`Space.describe` says what each leaf is. The tree says how leaves are put together, and what the
options are where a label alone does not tell. Functions, classes and other objects are not stored
(reading a file must run nothing that it names): their label stands in, and is listed as missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxhpo.space._layout import BranchNode, ConstantNode, LeafNode, NestedChoice, child_names
from jaxhpo.space._space import Space
from jaxhpo.space.dimensions._choice import Choice, ordinal, static
from jaxhpo.space.dimensions._dimension import Dimension
from jaxhpo.space.dimensions._fixed import fixed
from jaxhpo.space.dimensions._normal import log_normal, normal
from jaxhpo.space.dimensions._options import Options, make_options
from jaxhpo.space.dimensions._real import log_uniform, uniform
from jaxhpo.space.dimensions._stepped import integer, quantized

_PLAIN = (bool, int, float, str, type(None))
_FACTORIES: dict[str, Callable[..., Any]] = {
    "uniform": uniform,
    "log_uniform": log_uniform,
    "quantized": quantized,
    "integer": integer,
    "normal": normal,
    "log_normal": log_normal,
    "log_quantized": lambda low, high, **rest: quantized(low, high, log=True, **rest),
    "log_integer": lambda low, high, **rest: integer(low, high, log=True, **rest),
}


def tree_of(space: Space) -> Any:
    """How the leaves of a space are put together, as JSON.

    Args:
        space: any space.

    Returns:
        What `rebuild` takes beside `space.describe()`.
    """
    return json.loads(json.dumps(_write_node(space, space._root)))


def rebuild(records: list[dict[str, Any]], tree: Any) -> tuple[Space, list[str]]:
    """The space of stored records.

    Args:
        records: what `Space.describe` gave.
        tree: what `tree_of` gave; None in files that do not hold it, where the names tell.

    Returns:
        The space without its constraints, and what is missing or may differ from the one that was
        described, in words; empty where nothing does.

    Raises:
        ValueError: the records do not make a space.

    Example:
        >>> import jaxhpo as hpo
        >>> space = hpo.Space({"lr": hpo.log_uniform(1e-4, 1.0), "opt": ["adam", "sgd"]})
        >>> again, missing = rebuild(space.describe(), tree_of(space))
        >>> again.describe() == space.describe(), missing
        (True, [])
    """
    reader = _Reader(records)
    try:
        spec = _tree_from_names(records) if tree is None else tree
        space = Space(reader.node(spec))
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"Space: the stored records make no space ({error!r}).") from error
    if json.dumps(space.describe()) != json.dumps(records):  # as texts, where NaN equals NaN
        raise ValueError("Space: the stored records make another space than the one described.")
    if tree is None:
        reader.missing.insert(0, "the containers of the parameters (dicts stand in)")
    return space, reader.missing


def _write_node(space: Space, node: Any) -> Any:
    if isinstance(node, LeafNode):
        options = getattr(space.leaves[node.index].dimension, "options", None)
        return {"leaf": node.index, **_write_options(options)}
    if isinstance(node, ConstantNode):
        return {"constant": _write(node.options.items[0], node.options.labels()[0])}
    if isinstance(node, BranchNode):
        options = [_write_node(space, option) for option in node.options]
        keys = None if node.keys is None else [_write(key, str(key)) for key in node.keys]
        return {"choice": node.selector, "keys": keys, "options": options}
    children = [_write_node(space, child) for child in node.children]
    if node.keys is not None:
        return {"dict": [_write(key, str(key)) for key in node.keys], "children": children}
    container = node.build([*range(len(children))])
    if type(container) is tuple:
        return {"tuple": children}
    names = child_names(container)
    return {"object": type(container).__qualname__, "names": names, "children": children}


def _write_options(options: Options | None) -> dict[str, Any]:
    """The options where their labels alone do not tell what they are."""
    if options is None:
        return {}
    pairs = list(zip(options, options.labels(), strict=True))
    if all(type(item) in _PLAIN and item is label for item, label in pairs):
        return {}
    return {"options": [_write(item, label) for item, label in pairs]}


def _write(item: Any, label: Any) -> Any:
    """An object as JSON: a plain one as it is, any other under a word that says what it is."""
    return _write_plain(item) if _is_plain(item) else {"object": label}


def _write_plain(item: Any) -> Any:
    if type(item) in _PLAIN:
        return item
    if isinstance(item, np.generic):
        return {"numpy": item.dtype.str, "value": item.item()}
    if isinstance(item, dict):
        return {"dict": [[_write_plain(part) for part in pair] for pair in item.items()]}
    return {type(item).__name__: [_write_plain(part) for part in item]}


def _is_plain(item: Any) -> bool:
    """Whether JSON can hold an object so that it comes back as it was."""
    if type(item) in (tuple, list):
        return all(_is_plain(part) for part in item)
    if type(item) is dict:
        return all(_is_plain(part) for pair in item.items() for part in pair)
    is_number = isinstance(item, np.generic) and item.dtype.kind in "biuf"
    return type(item) in _PLAIN or is_number


class _Reader:
    """Builds the tree that a user would have written; keeps a list of what it cannot."""

    def __init__(self, records: list[dict[str, Any]]) -> None:
        self._records = records
        self.missing: list[str] = []

    def node(self, spec: Any) -> Any:
        if "leaf" in spec:
            return self._leaf(self._records[spec["leaf"]], spec.get("options"))
        if "constant" in spec:
            return self._read(spec["constant"], "an option")
        if "choice" in spec:
            record = self._records[spec["choice"]]
            trees = tuple(self.node(option) for option in spec["options"])
            keys = spec["keys"] and tuple(self._read(key, record["name"]) for key in spec["keys"])
            return NestedChoice(trees, keys, _weights(record))
        children = [self.node(child) for child in spec.get("children", spec.get("tuple"))]
        if "tuple" in spec:
            return tuple(children)
        if "dict" in spec:
            keys = [self._read(key, "a name") for key in spec["dict"]]
            return dict(zip(keys, children, strict=True))
        self.missing.append(f"the class {spec['object']} (a dict stands in)")
        return dict(zip(spec["names"], children, strict=True))

    def _leaf(self, record: dict[str, Any], stored: Any) -> Dimension:
        name, kind = record["name"], record["kind"]
        shape = tuple(record["shape"])
        if kind in _FACTORIES:
            rest = ("name", "kind", "conditions", "shape")
            settings = {key: value for key, value in record.items() if key not in rest}
            made: Dimension = _FACTORIES[kind](**settings, shape=shape)
            return made
        if kind not in ("fixed", "ordinal", "static", "choice"):
            raise ValueError(f"Space: `{name}` is stored as of the unknown kind {kind!r}.")
        labels = [record["value"]] if kind == "fixed" else record["options"]
        items = labels if stored is None else [self._read(item, name) for item in stored]
        if kind == "fixed":
            return fixed(items[0])
        if kind == "ordinal":
            return ordinal(items, shape=shape)
        if kind == "static":
            return static(items)
        return Choice(make_options("choice", "options", items), shape, _weights(record))

    def _read(self, item: Any, name: str) -> Any:
        """The inverse of `_write`; a label stands in for an object."""
        if not isinstance(item, dict):
            return item
        if "tuple" in item:
            return tuple(self._read(part, name) for part in item["tuple"])
        if "list" in item:
            return [self._read(part, name) for part in item["list"]]
        if "dict" in item:
            return {self._read(key, name): self._read(value, name) for key, value in item["dict"]}
        if "numpy" in item:
            return np.dtype(item["numpy"]).type(item["value"])
        self.missing.append(f"the object {item['object']} of `{name}` (its name stands in)")
        return item["object"]


def _weights(record: dict[str, Any]) -> np.ndarray | None:
    """The stored probabilities as they are; scaled to a sum of 1 again they might round."""
    return None if record["weights"] is None else np.asarray(record["weights"], np.float64)


def _tree_from_names(records: list[dict[str, Any]]) -> Any:
    """The tree that dotted names and conditions tell of, in files without one."""
    selectors = {parent for record in records for parent, _ in record["conditions"]}
    at = {record["name"]: index for index, record in enumerate(records)}

    def group(indices: list[int], prefix: str, depth: int) -> Any:
        keys: list[str] = []
        parts: dict[str, list[int]] = {}
        for index in indices:
            key = _below(records[index]["name"], prefix).split(".")[0]
            parts.setdefault(key, []).append(index)
            keys = list(parts)
        children = [child(parts[key], f"{prefix}.{key}".strip("."), depth) for key in keys]
        return {"dict": keys, "children": children}

    def child(indices: list[int], name: str, depth: int) -> Any:
        if name in selectors and at[name] in indices:
            return branch(indices, name, depth)
        if at.get(name) in indices:
            return {"leaf": at[name]}
        return group(indices, name, depth)

    def branch(indices: list[int], name: str, depth: int) -> Any:
        record = records[at[name]]
        options = []
        is_keyed = _is_keyed(records, name)
        for label in record["options"]:
            inner = [
                index
                for index in indices
                if len(records[index]["conditions"]) > depth
                and records[index]["conditions"][depth] == [name, label]
            ]
            path = f"{name}.{label}" if is_keyed else name
            if not inner:
                options.append({"constant": label})
            elif [records[index]["name"] for index in inner] == [f"{name}.{label}"]:
                options.append({"leaf": inner[0]})
            else:
                options.append(group(inner, path, depth + 1))
        return {"choice": at[name], "keys": record["options"] if is_keyed else None,
                "options": options}  # fmt: skip

    if [record["name"] for record in records] == ["value"]:
        return {"leaf": 0}
    return group(list(range(len(records))), "", 0)


def _is_keyed(records: list[dict[str, Any]], name: str) -> bool:
    """Whether the options of a nested choice came in a dict: their names are in the paths."""
    inner = [
        (record["name"], label)
        for record in records
        for parent, label in record["conditions"]
        if parent == name
    ]
    return all(
        path == f"{name}.{label}" or path.startswith(f"{name}.{label}.") for path, label in inner
    )


def _below(name: str, prefix: str) -> str:
    return name[len(prefix) + 1 :] if prefix else name
