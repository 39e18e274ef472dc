"""What has to be paid for what: error against time, loss against memory."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxhpo.benchmarking._draw import COLOURS, figure_of

_FLOOR = 1e-17
"""An error of 0 is drawn here."""


class Cloud(NamedTuple):
    """Points of one picture, and which of them no other beats in both."""

    title: str
    x_name: str
    y_name: str
    names: tuple[str, ...]
    tasks: tuple[str, ...]
    x: np.ndarray
    y: np.ndarray
    is_front: np.ndarray


def clouds(cells: Sequence[dict[str, Any]]) -> list[Cloud]:
    """The two pictures: a point for every estimator and task that both numbers are known of."""
    left = {id(cell): _left(cell, cells) for cell in cells}
    return [
        _cloud(
            cells, "error against time", "time of an outer step, plain runs",
            "error, relative to the exact gradient",
            lambda cell: cell["time_ratio"],
            lambda cell: None if cell["error"] is None else max(cell["error"], _FLOOR),
        ),
        _cloud(
            cells, "loss against memory", "temporary memory, plain runs",
            "share of the best gain in loss that is missing",
            _memory_ratio, lambda cell: left[id(cell)],
        ),
    ]  # fmt: skip


def _memory_ratio(cell: dict[str, Any]) -> float | None:
    """Memory over the plain run's, where there is any."""
    if cell["memory_mb"] is None or not cell["plain_memory_mb"]:
        return None
    return float(cell["memory_mb"] / cell["plain_memory_mb"])


def _left(cell: dict[str, Any], cells: Sequence[dict[str, Any]]) -> float | None:
    """0 for the best estimator of the task, 1 where nothing was gained, more if worse."""
    same = [c["loss"] for c in cells if c["task"] == cell["task"] and c["loss"] is not None]
    if cell["loss"] is None or not same:
        return None
    gain = float(cell["loss_before"]) - min(same)
    return float(cell["loss"] - min(same)) / gain if gain > 0 else None


def _cloud(
    cells: Sequence[dict[str, Any]], title: str, x_name: str, y_name: str, x_of: Any, y_of: Any
) -> Cloud:
    known = [c for c in cells if x_of(c) is not None and y_of(c) is not None]
    x = np.array([x_of(c) for c in known], np.float64)
    y = np.array([y_of(c) for c in known], np.float64)
    tasks = np.array([c["task"] for c in known])
    same = tasks[:, None] == tasks[None, :]
    # j beats i: on the same task no worse in both, and better in one.
    beats = (x[None, :] <= x[:, None]) & (y[None, :] <= y[:, None])
    beats &= (x[None, :] < x[:, None]) | (y[None, :] < y[:, None])
    return Cloud(
        title, x_name, y_name, tuple(c["estimator"] for c in known), tuple(tasks), x, y,
        ~np.any(beats & same, axis=1),
    )  # fmt: skip


def draw_pareto(cells: Sequence[dict[str, Any]], path: pathlib.Path) -> pathlib.Path:
    """Draws both pictures into one file; filled points are those that none beats on their task.

    Args:
        cells: of a `Leaderboard`.
        path: file to write.

    Returns:
        The path.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    figure = figure_of((11.0, 4.6))
    found = clouds(cells)
    names = list(dict.fromkeys(cell["estimator"] for cell in cells))
    for axes, cloud in zip(figure.subplots(1, 2), found, strict=True):
        for number, name in enumerate(names):
            colour = COLOURS[number % len(COLOURS)]
            for is_front in (False, True):
                at = (np.array(cloud.names) == name) & (cloud.is_front == is_front)
                face = colour if is_front else "none"
                label = name if is_front else None
                axes.scatter(cloud.x[at], cloud.y[at], s=24, ec=colour, fc=face, label=label)
        axes.set_xscale(_scale(cloud.x))
        axes.set_yscale(_scale(cloud.y))
        axes.set_xlabel(cloud.x_name, fontsize="small")
        axes.set_ylabel(cloud.y_name, fontsize="small")
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False)
    figure.savefig(path, dpi=130)
    return path


def _scale(values: np.ndarray) -> str:
    """Logarithmic, where there is something that has a logarithm."""
    return "log" if values.size and values.min() > 0 else "linear"
