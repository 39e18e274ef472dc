"""What the report's figures are made of: traces, axes and layouts as Plotly's own JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from jaxhpo.report._facts import Facts

GOOD, CROWD, OTHER = "#1f5fa8", "#9aa5b1", "#c2571a"
_LOG = {"type": "log", "exponentformat": "power", "dtick": 1}


class Figure(NamedTuple):
    """Traces and layout of one figure."""

    data: list[dict[str, Any]]
    layout: dict[str, Any]


def axis_of(facts: Facts, name: str) -> dict[str, Any]:
    distribution = facts.distributions.get(name)
    if hasattr(distribution, "choices"):
        return {"type": "category"}
    return dict(_LOG) if getattr(distribution, "log", False) else {}


def value_axis_of(value: np.ndarray) -> dict[str, Any]:
    """A logarithmic axis where values are positive and span more than two decades."""
    if len(value) and value.min() > 0 and value.max() > 100 * value.min():
        return dict(_LOG)
    return {}


def points_of(x: Any, y: Any, name: str, colour: str) -> dict[str, Any]:
    marker = {"color": colour, "size": 5, "opacity": 0.7}
    return {
        "type": "scatter", "mode": "markers", "x": numbers_of(x), "y": numbers_of(y), "name": name,
        "marker": marker,
    }  # fmt: skip


def line_of(x: Any, y: Any, name: str, colour: str, **style: Any) -> dict[str, Any]:
    keys = ("shape", "dash", "width")
    line = {"color": colour, **{key: style.pop(key) for key in keys if key in style}}
    return {
        "type": "scatter", "mode": "lines", "x": numbers_of(x), "y": numbers_of(y), "name": name,
        "line": line, **style,
    }  # fmt: skip


def numbers_of(values: Sequence[Any] | np.ndarray) -> list[Any]:
    """JSON-ready: plain numbers, None for what is not finite."""
    cells = values.tolist() if isinstance(values, np.ndarray) else list(values)
    return [None if isinstance(c, float) and not np.isfinite(c) else cell_of(c) for c in cells]


def cell_of(value: Any) -> Any:
    """A number as it is, anything else as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return None if value is None else str(value)
    return value.item() if isinstance(value, np.number) else value


def layout_of(x: str, y: str, /, **axes: dict[str, Any]) -> dict[str, Any]:
    return {
        "xaxis": {"title": {"text": x}, "automargin": True, **axes.get("xaxis", {})},
        "yaxis": {"title": {"text": y}, "automargin": True, **axes.get("yaxis", {})},
        "template": "none",
        "height": 420,
        "margin": {"l": 70, "r": 20, "t": 20, "b": 50},
        "font": {"family": "system-ui, sans-serif", "size": 12},
        "legend": {"orientation": "h", "y": 1.12},
    }
