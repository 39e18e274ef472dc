"""A text for the structure of a pytree that is the same in every process."""

from __future__ import annotations

import dataclasses
import enum
import sys
from typing import Any

import jax
import numpy as np

from jaxhpo._tracing import owned
from jaxhpo.space.internal import Options

_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_SEQUENCES = (tuple, list)
# Whose source the version of a package tells.
_KNOWN_PACKAGES = ("builtins", "collections", "jax", "jaxhpo", "numpy")


class NoStableTextError(TypeError):
    """Something has no text that means the same in another process."""


def structure_text(structure: Any) -> str:
    """The text of a pytree's structure, with what its nodes know.

    Args:
        structure: what `jax.tree.structure` gives.

    Returns:
        A text that two structures share only if programs traced with them are the same.

    Raises:
        NoStableTextError: it holds a function or an object that is not the package's own.
    """
    data = structure.node_data()
    if data is None:
        return "*" if structure == _LEAF else "-"
    kind, known = data
    children = ",".join(structure_text(child) for child in structure.children())
    return f"{_name(kind)}<{_text(known)}>({children})"


_LEAF = jax.tree.structure(0)


def _text(part: Any) -> str:
    kind = type(part)
    if kind in _PLAIN:
        return repr(part)
    if kind in _SEQUENCES:
        return f"{kind.__name__}({','.join(map(_text, part))})"
    if kind is dict:
        return f"dict({','.join(f'{_text(k)}:{_text(v)}' for k, v in part.items())})"
    if kind is Options:
        return f"options({_text(part.items)})"
    if isinstance(part, owned.Handle):
        return _text(part.get())
    if isinstance(part, jax.tree_util.PyTreeDef):
        return structure_text(part)
    if isinstance(part, np.dtype):
        return f"dtype({part.name})"
    if isinstance(part, enum.Enum):
        return f"{_name(kind)}.{part.name}"
    if isinstance(part, tuple) and hasattr(part, "_fields"):
        return f"{_name(kind)}({','.join(map(_text, part))})"
    if dataclasses.is_dataclass(kind):
        fields = (getattr(part, field.name) for field in dataclasses.fields(part))
        return f"{_name(kind)}({','.join(map(_text, fields))})"
    return _name(part)


def _name(thing: Any) -> str:
    """The name under which every process finds a function or a class."""
    if thing is type(None):
        return "None"
    module, path = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    if module and path and module.partition(".")[0] in _KNOWN_PACKAGES:
        found: Any = sys.modules.get(module)
        for part in path.split("."):
            found = getattr(found, part, None)
        if found is thing:
            return f"{module}.{path}"
    raise NoStableTextError(f"{thing!r} has no name of its own")
