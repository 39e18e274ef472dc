"""The learning curves of a whole population: quantile bands, and the best one on top."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxhpo import _checks
from jaxhpo.plots._figure import CROWD, GOOD, TEXT, make_axes
from jaxhpo.plots._study import curves_of, is_study

_BANDS = ((0.05, 0.95, 0.15), (0.25, 0.75, 0.3))  # lower quantile, upper quantile, opacity


def learning_curves(curves: Any, steps: Any = None, *, ax: Any = None, ylabel: str = "loss") -> Any:
    """Draws the fan of learning curves of a sweep.

    Args:
        curves: a study whose trials have curves, or `[n, r]` losses of `n` trials at `r` steps; NaN
            where a trial had failed.
        steps: `[r]` step numbers; None of a study.
        ax: matplotlib axes to draw on; None makes a figure.
        ylabel: what the curves measure.

    Returns:
        The matplotlib `Figure`. Bands hold 90 % and 50 % of the trials alive at each step; lines
        are the median and the trial with the lowest last loss.

    Raises:
        ValueError: shapes that do not fit, or no finite value at all.
        ModuleNotFoundError: matplotlib is not installed.

    Example:
        >>> figure = learning_curves([[1.0, 0.5], [1.0, float("nan")]], [10, 20])
        >>> figure.axes[0].get_xlabel()
        'step'
    """
    if is_study(curves):
        curves, steps = curves_of(curves)
    curves, steps = np.asarray(curves, np.float64), np.asarray(steps)
    if curves.ndim != 2 or curves.shape[1:] != steps.shape:
        expected = f"of shape [n, {steps.size}], one column per step"
        raise _checks.fail("learning_curves", "curves", expected, curves.shape)
    finite = np.where(np.isfinite(curves), curves, np.nan)
    alive = np.isfinite(finite).any(axis=0)
    if not alive.any():
        raise _checks.fail("learning_curves", "curves", "finite somewhere", "only NaN")
    ax = make_axes(ax, (6.0, 4.0))
    at = steps[alive]
    for low, high, opacity in _BANDS:
        lower, upper = np.nanquantile(finite[:, alive], [low, high], axis=0)
        share = f"{round(100 * (high - low))} % of trials"
        ax.fill_between(at, lower, upper, color=CROWD, alpha=opacity, lw=0, label=share)
    ax.plot(at, np.nanmedian(finite[:, alive], axis=0), color=TEXT, lw=1, label="median")
    if np.isfinite(finite[:, -1]).any():
        best = int(np.nanargmin(finite[:, -1]))
        ax.plot(steps, finite[best], color=GOOD, lw=2, label=f"best (trial {best})")
    ax.set_xlabel("step")
    ax.set_ylabel(ylabel)
    if np.nanmin(finite) > 0:
        ax.set_yscale("log")
    ax.legend(frameon=False, fontsize="small")
    ax.spines[["top", "right"]].set_visible(False)
    return ax.figure
