"""Flat names for the arrays of a checkpoint: no structure of a library's own is written to disk."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

Arrays = dict[str, Any]


def numbered(name: str, leaves: Iterable[Any]) -> Arrays:
    """Names leaves `name.0`, `name.1`, and so on."""
    return {f"{name}.{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)}


def listed(name: str, found: Arrays) -> list[Any]:
    """The leaves that `numbered` named."""
    count = sum(key.rpartition(".")[0] == name for key in found)
    return [found[f"{name}.{i}"] for i in range(count)]


def within(name: str, arrays: Arrays) -> Arrays:
    """Puts a name before those of some arrays."""
    return {f"{name}:{key}": array for key, array in arrays.items()}


def inside(name: str, found: Arrays) -> Arrays:
    """The arrays that `within` put the name before."""
    start = f"{name}:"
    return {key.removeprefix(start): a for key, a in found.items() if key.startswith(start)}
