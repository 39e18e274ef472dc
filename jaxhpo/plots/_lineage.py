"""A hyperparameter of a population over time, and the schedule that its best trial has followed."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxhpo import _checks
from jaxhpo.plots._figure import CROWD, GOOD, make_axes


def lineage(
    lineage: Any, values: Any, trial: int, *, ax: Any = None, ylabel: str = "hyperparameter"
) -> Any:
    """Draws what the trials of a population were trained with, and the ancestors of one of them.

    Args:
        lineage: `Sweep.lineage` of a sweep under population-based training.
        values: `[n, s]` one of its hyperparameters, such as `lineage.hparams["lr"]`.
        trial: number of the trial whose schedule is drawn on top, such as `Sweep.best_index`.
        ax: matplotlib axes to draw on; None makes a figure.
        ylabel: what the values are.

    Returns:
        The matplotlib `Figure`. Each thin line is a trial, dots are copies of another's state, and
        the thick line is what led to the state of `trial`.

    Raises:
        ValueError: values of another shape, or no trial of that number.
        ModuleNotFoundError: matplotlib is not installed.

    Example:
        >>> import numpy as np, jaxhpo as hpo
        >>> parent, rates = np.array([[0, 1], [1, 1]]), np.array([[0.1, 0.08], [0.2, 0.2]])
        >>> found = hpo.population.Lineage(np.array([5, 10]), parent, {"lr": rates})
        >>> figure = lineage(found, rates, 0, ylabel="lr")
        >>> figure.axes[0].get_ylabel()
        'lr'
    """
    parent, values = np.asarray(lineage.parent), np.asarray(values, np.float64)
    if values.shape != parent.shape:
        raise _checks.fail("lineage", "values", f"of shape {parent.shape}", values.shape)
    who = lineage.ancestors(trial)
    edges = np.concatenate([[0], lineage.steps])
    values = np.where(parent >= 0, values, np.nan)
    ax = make_axes(ax, (6.0, 4.0))
    for row in values:
        ax.stairs(row, edges, baseline=None, color=CROWD, lw=0.7, alpha=0.7)
    copies = (parent >= 0) & (parent != np.arange(len(parent))[:, None])
    at = np.broadcast_to(edges[:-1], parent.shape)[copies]
    ax.plot(at, values[copies], ".", ms=3, color=CROWD, label="copies")
    pieces = np.flatnonzero(who >= 0)
    ends = edges[: len(pieces) + 1]
    best = values[who[pieces], pieces]
    ax.stairs(best, ends, baseline=None, color=GOOD, lw=2, label=f"what led to trial {trial}")
    ax.set_xlabel("step")
    ax.set_ylabel(ylabel)
    if np.nanmin(values, initial=1.0) > 0 and np.nanmax(values) > 10 * np.nanmin(values):
        ax.set_yscale("log")
    ax.legend(frameon=False, fontsize="small")
    ax.spines[["top", "right"]].set_visible(False)
    return ax.figure
