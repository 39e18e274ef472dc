"""Axes to draw on, without pyplot's global state."""

from __future__ import annotations

import pathlib
from typing import Any

# Blue for what is good, grey for the crowd: readable in print and for colour-blind eyes.
GOOD, CROWD, TEXT = "#1f5fa8", "#9aa5b1", "#2b3440"


def make_axes(ax: Any, size: tuple[float, float]) -> Any:
    """Returns the axes that were passed, or those of a new figure of `size` inches.

    Raises:
        ModuleNotFoundError: matplotlib is not installed; the message names the command.
    """
    if ax is not None:
        return ax
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'plots: matplotlib is needed for figures: pip install "jaxhpo[plot]".'
        ) from error
    return Figure(figsize=size, layout="constrained").add_subplot()


def save(figure: Any, path: str | pathlib.Path, *, dpi: int = 150) -> pathlib.Path:
    """Writes a figure to a file; the suffix decides the format (png, svg, pdf).

    Args:
        figure: what a function of this module returned.
        path: file to write; its folder is made.
        dpi: dots an inch, for png.

    Returns:
        The path.

    Raises:
        ValueError: matplotlib cannot write that format.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi)
    return path
