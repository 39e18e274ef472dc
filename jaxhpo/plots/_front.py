"""The Pareto front of two objectives, before all trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxhpo import _checks
from jaxhpo._direction import DIRECTIONS, to_minimized
from jaxhpo.pareto.internal import front_rows
from jaxhpo.plots._figure import CROWD, GOOD, make_axes
from jaxhpo.plots._study import is_study, metrics_of, values_of


def pareto_front(
    values: Any,
    *,
    directions: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    ax: Any = None,
) -> Any:
    """Draws trials of two objectives and the staircase of those that no other one dominates.

    Args:
        values: a study of two objectives, or `[n, 2]` values in the user's sign; trials that are
            not finite are left out. Leave out infeasible ones (of a study they are).
        directions: what counts as better, for each objective; None takes those of a study, and of
            arrays both are minimised.
        labels: names of the two objectives; None takes those of a study.
        ax: matplotlib axes to draw on; None makes a figure.

    Returns:
        The matplotlib `Figure`. What lies beyond the line is dominated.

    Raises:
        ValueError: values of another shape or none that is finite, or an unknown direction.
        ModuleNotFoundError: matplotlib is not installed.

    Example:
        >>> figure = pareto_front([[1.0, 2.0], [2.0, 1.0], [2.0, 2.0]])
        >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        ['3 trials', 'front of 2']
    """
    others = ("first objective", "second objective")
    labels = labels or (metrics_of(values, others) if is_study(values) else others)
    if is_study(values):
        directions = directions or values.directions
        values = values_of(values)
    directions = directions or ("minimize", "minimize")
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or values.shape[1] != 2:
        raise _checks.fail("pareto_front", "values", "of shape [n, 2]", values.shape)
    if len(directions) != 2 or any(one not in DIRECTIONS for one in directions):
        expected = "two of 'minimize' and 'maximize'"
        raise _checks.fail("pareto_front", "directions", expected, directions)
    values = values[np.isfinite(values).all(axis=1)]
    if not len(values):
        raise _checks.fail("pareto_front", "values", "finite somewhere", "no finite row")
    front = values[front_rows(to_minimized(values, tuple(directions)))]
    ax = make_axes(ax, (5.0, 4.0))
    ax.scatter(*values.T, s=12, color=CROWD, lw=0, label=f"{len(values)} trials")
    # From one point on, the next step along the first objective wins nothing in the second.
    ax.step(*front.T, where="post", color=GOOD, lw=1.5)
    ax.scatter(*front.T, s=22, color=GOOD, lw=0, zorder=3, label=f"front of {len(front)}")
    ax.set_xlabel(labels[0])
    ax.set_ylabel(labels[1])
    ax.legend(frameon=False, fontsize="small")
    ax.spines[["top", "right"]].set_visible(False)
    return ax.figure
