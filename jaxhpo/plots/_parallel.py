"""Parallel coordinates: one vertical axis per parameter, one line per trial."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxhpo import _checks
from jaxhpo._direction import to_minimized
from jaxhpo.plots._figure import TEXT, make_axes
from jaxhpo.plots._study import is_study, metrics_of, one_direction, values_of
from jaxhpo.space import Leaf, Space

_MAX_LINES = 1000


def parallel_coordinates(
    space: Any, params: Any = None, values: Any = None, *, ax: Any = None, label: str | None = None
) -> Any:
    """Draws where good trials lie in the space.

    Args:
        space: the search space, in whose order and scale the axes stand; or a study, which has all
            that follows.
        params: `n` Python params, as `Space.decode` gives them; None of a study.
        values: `[n]` what is minimised; trials that are not finite are left out. None of a study.
        ax: matplotlib axes to draw on; None makes a figure.
        label: what the colour means; None says "loss", or what a study's values are called.

    Returns:
        The matplotlib `Figure`. Colour is the rank of the value, dark is best, and the best are
        drawn last. Of more than 1,000 trials the best 1,000 are drawn.

    Raises:
        ValueError: lengths differ, or no value is finite.
        ModuleNotFoundError: matplotlib is not installed.

    Example:
        >>> import jax, jaxhpo as hpo
        >>> space = hpo.Space({"lr": hpo.log_uniform(1e-4, 1.0), "opt": ["adam", "sgd"]})
        >>> rows = space.decode(space.sample(jax.random.key(0), 8))
        >>> figure = parallel_coordinates(space, rows, range(8))
        >>> [text.get_text() for text in figure.axes[0].get_xticklabels()]
        ['lr', 'opt']
    """
    direction = "minimize"
    if is_study(space):
        direction = one_direction("parallel_coordinates", space)
        label = label or metrics_of(space, ("value",))[0]
        params = [trial.params for trial in space.trials]
        space, values = space.space, to_minimized(values_of(space)[:, 0], direction)
    values = np.asarray(values, np.float64)
    if params is None or not isinstance(space, Space):
        expected = "a study, or a Space with `params` and `values` beside it"
        raise TypeError(
            f"parallel_coordinates: `space` must be {expected}, got {_checks.describe(space)}."
        )
    if values.shape != (len(params),):
        raise _checks.fail(
            "parallel_coordinates", "values", f"of shape [{len(params)}]", values.shape
        )
    finite = np.flatnonzero(np.isfinite(values))
    if finite.size == 0:
        raise _checks.fail("parallel_coordinates", "values", "finite somewhere", "no finite value")
    best_first = finite[np.argsort(values[finite], kind="stable")][:_MAX_LINES]
    columns, leaves = _columns(space)
    encoded = space.encode([params[int(row)] for row in best_first], np.float64)
    unit = np.asarray(space.to_unit(encoded), np.float64)[:, columns]
    active = np.asarray(space.active_columns(space.to_unit(encoded)))[:, columns]
    ax = make_axes(ax, (max(6.0, 1.5 * len(columns)), 4.0))
    _draw_lines(
        ax,
        np.where(active, _spread(leaves, unit), np.nan),
        to_minimized(values[best_first], direction),
        label or "loss",
    )
    for place, leaf in enumerate(leaves):
        _draw_axis(ax, place, leaf)
    ax.set_xticks(range(len(leaves)), [leaf.name for leaf in leaves])
    ax.set_yticks([])
    ax.set_xlim(-0.1, len(leaves) - 0.5)
    ax.spines[:].set_visible(False)
    return ax.figure


def _columns(space: Space) -> tuple[list[int], list[Leaf]]:
    """The first unit column of each searched leaf: a vector shows its first element."""
    pairs = [(leaf.start, leaf) for leaf in space.leaves if leaf.stop > leaf.start]
    return [start for start, _ in pairs], [leaf for _, leaf in pairs]


def _spread(leaves: list[Leaf], unit: np.ndarray) -> np.ndarray:
    """Moves trials of one option a little apart, always in the same way, so that none is hidden."""
    spread = unit.copy()
    rows = np.arange(len(unit))
    for place, leaf in enumerate(leaves):
        if leaf.dimension.num_levels:
            width = 0.3 / leaf.dimension.num_levels
            offset = (rows * (place + 1) * 0.6180339887) % 1.0 - 0.5
            spread[:, place] += width * offset
    return spread


def _draw_lines(ax: Any, heights: np.ndarray, values: np.ndarray, label: str) -> None:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import LineCollection
    from matplotlib.colors import Normalize

    count = len(values)
    shade = np.linspace(1.0, 0.0, count) if count > 1 else np.ones(1)  # best first
    colormap = colormaps["Blues"]
    places = np.broadcast_to(np.arange(heights.shape[1], dtype=float), heights.shape)
    lines = np.stack([places, heights], axis=-1)[::-1]
    colors = colormap(0.15 + 0.85 * shade)[::-1]
    colors[:, 3] = (0.15 + 0.85 * shade**4)[::-1]
    ax.add_collection(
        LineCollection(list(lines), colors=colors, linewidths=0.5 + 1.5 * shade[::-1] ** 8)
    )
    ax.set_ylim(-0.02, 1.02)
    bar = ax.figure.colorbar(
        ScalarMappable(Normalize(0, 1), colormap), ax=ax, ticks=[0.0, 1.0], pad=0.02, fraction=0.03
    )
    bar.ax.set_yticklabels([f"{values[-1]:.3g}", f"{values[0]:.3g}"])
    bar.set_label(f"{label}, by rank")


def _draw_axis(ax: Any, place: int, leaf: Leaf) -> None:
    ax.plot([place, place], [0, 1], color=TEXT, lw=0.8, zorder=0)
    for height, text in _ticks(leaf):
        ax.text(
            place + 0.03, height, text, fontsize="x-small", va="center", color=TEXT, zorder=5,
            bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1},
        )  # fmt: skip


def _ticks(leaf: Leaf) -> list[tuple[float, str]]:
    dimension = leaf.dimension
    if 0 < dimension.num_levels <= 12:
        levels = np.arange(dimension.num_levels)
    elif dimension.num_levels:
        levels = np.linspace(0, dimension.num_levels - 1, 5).astype(int)
    else:
        heights = np.linspace(0.0, 1.0, 5)
        numbers = dimension.to_python(dimension.from_unit(heights))
        texts: list[str] = []
        for digits in range(3, 18):  # as many as tell the ticks apart
            texts = [f"{number:.{digits}g}" for number in numbers]
            if len(set(texts)) == len(texts):
                break
        return list(zip(heights.tolist(), texts, strict=True))
    unit = dimension.unit_of_level(levels, np.dtype(np.float64))  # type: ignore[attr-defined]
    values = dimension.from_unit(unit)
    items = dimension.to_python(getattr(values, "index", values))
    return [(float(at), str(dimension.label(item))) for at, item in zip(unit, items, strict=True)]
