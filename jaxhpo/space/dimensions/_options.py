"""A tuple of arbitrary Python objects that can be part of a program's structure."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxhpo import _checks

_INT32 = np.iinfo(np.int32)
_STORABLE = (bool, int, float, str, type(None))


class Options:
    """The options of a categorical: hashable whatever they are, told apart by type and value.

    JAX compares static data by `==` and `hash`. Here 1, 1.0 and True differ, and an object that
    cannot be hashed is compared by identity.
    """

    def __init__(self, items: tuple[Any, ...]) -> None:
        self.items = items
        self._key = tuple(_identity(item) for item in items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Options) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)

    def __repr__(self) -> str:
        return repr(list(self.items))

    def find(self, item: Any) -> int | None:
        """Index of an object, or None. 1 finds 1.0 where nothing matches exactly."""
        exact = self._places.get(_identity(item))
        if exact is not None:
            return exact
        for index, option in enumerate(self.items):
            if isinstance(option, bool) == isinstance(item, bool) and _equal(option, item):
                return index
        return None

    def kind(self) -> str:
        """How the options look in array form: "bool", "int", "float" or "index".

        Numbers that int32 or float32 cannot hold or tell apart are their index in either precision.
        """
        return self._kind

    def labels(self) -> tuple[Any, ...]:
        """Unique names that a database can store: the objects themselves, or their repr."""
        return self._labels

    # What follows from the items is worked out once: a study decodes and stores trial by trial.

    @functools.cached_property
    def _places(self) -> dict[tuple[str, Any], int]:
        """Place of each option."""
        return {identity: index for index, identity in reversed(list(enumerate(self._key)))}

    @functools.cached_property
    def _kind(self) -> str:
        if all(isinstance(item, bool | np.bool_) for item in self.items):
            return "bool"
        numbers = [item for item in self.items if _is_number(item)]
        if len(numbers) < len(self.items) or not all(map(_is_finite, numbers)):
            return "index"
        if all(isinstance(item, int | np.integer) for item in numbers):
            in_range = all(_INT32.min <= item <= _INT32.max for item in numbers)
            return "int" if in_range else "index"
        if max(abs(item) for item in numbers) > np.finfo(np.float32).max:
            return "index"
        # Two options that float32 cannot tell apart must stay apart: their index does.
        rounded = {float(np.float32(item)) for item in numbers}
        return "float" if len(rounded) == len(numbers) else "index"

    @property
    def is_numeric(self) -> bool:
        """Whether all are numbers."""
        return all(_is_number(item) for item in self.items)

    @functools.cached_property
    def _labels(self) -> tuple[Any, ...]:
        labels: list[Any] = []
        seen: set[tuple[str, Any]] = set()
        for index, item in enumerate(self.items):
            plain = item.item() if isinstance(item, np.generic) else item
            # NaN and infinity are no JSON.
            is_storable = isinstance(plain, _STORABLE) and _is_finite(plain)
            label = plain if is_storable else describe_object(plain)
            if (type(label).__name__, label) in seen:
                label = f"{label} #{index}"
            seen.add((type(label).__name__, label))
            labels.append(label)
        return tuple(labels)


def describe_object(item: Any) -> str:
    """A stable name for an object: its own name if it has one, else its repr without addresses."""
    name = getattr(item, "__qualname__", None)
    if isinstance(name, str):
        return name
    text = repr(item)
    return type(item).__qualname__ if " at 0x" in text else text


def make_options(where: str, argument: str, items: Any) -> Options:
    """Requires a non-empty sequence of distinct finite objects."""
    options = Options(_listed(where, argument, items))
    for index, item in enumerate(options.items):
        if not _is_finite(item):
            raise _checks.fail(where, argument, "free of NaN and infinity", list(options.items))
        if _identity(item) in options._key[:index]:
            raise _checks.fail(where, argument, f"free of duplicates ({item!r} repeats)", items)
    return options


def merged_options(where: str, argument: str, items: Any) -> tuple[Options, np.ndarray]:
    """Requires a non-empty sequence of objects, some of which may repeat.

    Returns:
        The distinct ones in order, and the place `[n]` of each item among them.
    """
    distinct: list[Any] = []
    places = []
    known: dict[tuple[str, Any], int] = {}
    for item in _listed(where, argument, items):
        identity = _identity(item)
        place = known.get(identity)
        if place is None and identity[0] == "id":  # equal lists are one option, too
            place = next((i for i, other in enumerate(distinct) if _is_same(other, item)), None)
        if place is None:
            place = known[identity] = len(distinct)
            distinct.append(item)
        places.append(place)
    return Options(tuple(distinct)), np.asarray(places)


def _listed(where: str, argument: str, items: Any) -> tuple[Any, ...]:
    is_scalar = isinstance(items, np.ndarray) and items.ndim == 0
    if isinstance(items, str) or not hasattr(items, "__iter__") or is_scalar:
        raise TypeError(
            f"{where}: `{argument}` must be a sequence of options, got {_checks.describe(items)}."
        )
    listed = tuple(items.tolist() if isinstance(items, np.ndarray) else items)
    if not listed:
        raise _checks.fail(where, argument, "a sequence of at least one option", list(items))
    return listed


def _identity(item: Any) -> tuple[str, Any]:
    try:
        hash(item)
    except TypeError:
        return ("id", id(item))
    if isinstance(item, float) and item != item:
        return ("nan", None)  # NaN equals nothing, itself included
    return (type(item).__qualname__, item)


def _is_finite(item: Any) -> bool:
    return not isinstance(item, float) or bool(np.isfinite(item))


def _is_number(item: Any) -> bool:
    return isinstance(item, int | float | np.integer | np.floating) and not isinstance(item, bool)


def _is_same(left: Any, right: Any) -> bool:
    return type(left) is type(right) and _equal(left, right)


def _equal(left: Any, right: Any) -> bool:
    try:
        return bool(left == right)
    except (TypeError, ValueError):
        return False
