"""A space in words and in JSON."""

from __future__ import annotations

import json
from typing import Any

from jaxhpo.space._constraints import Constraint, Forbid
from jaxhpo.space._layout import Leaf


def describe_leaves(leaves: tuple[Leaf, ...]) -> list[dict[str, Any]]:
    """One JSON-ready record a leaf."""
    records = []
    for leaf in leaves:
        conditions = [
            [leaves[at].name, leaves[at].dimension.options[option]]  # type: ignore[attr-defined]
            for at, option in leaf.conditions
        ]
        record = {"name": leaf.name, **leaf.dimension.describe()}
        records.append(json.loads(json.dumps({**record, "conditions": conditions})))
    return records


def describe_constraints(constraints: tuple[Constraint, ...]) -> list[str]:
    """One text per constraint: a forbidden combination as it is, a function by its name."""
    return [
        repr(item) if isinstance(item, Forbid) else getattr(item, "__qualname__", repr(item))
        for item in constraints
    ]


def text_of(leaves: tuple[Leaf, ...], constraints: tuple[Constraint, ...]) -> str:
    """One line per leaf and constraint."""
    lines = []
    for record in describe_leaves(leaves):
        name, kind = record.pop("name"), record.pop("kind")
        conditions = record.pop("conditions")
        settings = ", ".join(
            f"{key}={value}" for key, value in record.items() if value not in (None, [])
        )
        suffix = "".join(f" if {parent} is {option}" for parent, option in conditions)
        lines.append(f"  {name}: {kind}({settings}){suffix}")
    lines += [f"  constraint: {item}" for item in describe_constraints(constraints)]
    return "Space(\n" + "\n".join(lines) + "\n)"
