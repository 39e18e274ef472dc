"""A population under early stopping: where its trials were stopped, and who went on."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxhpo import _checks
from jaxhpo.plots._figure import CROWD, GOOD, TEXT, make_axes
from jaxhpo.plots._study import curves_of, is_study


def rungs(curves: Any, steps: Any = None, *, ax: Any = None, ylabel: str = "loss") -> Any:
    """Draws every trial's learning curve up to where it was stopped, and the rungs.

    Args:
        curves: a study or a `Sweep` whose trials have curves, or `[n, r]` losses of `n` trials at
            `r` steps; NaN where a trial was not trained any more.
        steps: `[r]` step numbers; None of a study or a sweep.
        ax: matplotlib axes to draw on; None makes a figure.
        ylabel: what the curves measure.

    Returns:
        The matplotlib `Figure`. Grey curves were stopped, coloured ones were trained to the end; a
        dotted line is a step at which trials ended, with the number of those that reached it.

    Raises:
        ValueError: shapes that do not fit, or no finite value at all.
        ModuleNotFoundError: matplotlib is not installed.

    Example:
        >>> figure = rungs([[1.0, float("nan")], [0.9, 0.5]], [10, 20])
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['2', '1']
    """
    if is_study(curves):
        curves, steps = curves_of(curves)
    elif hasattr(curves, "curve_steps"):
        curves, steps = curves.curves, curves.curve_steps
    curves, steps = np.asarray(curves, np.float64), np.asarray(steps)
    if curves.ndim != 2 or curves.shape[1:] != steps.shape:
        expected = f"of shape [n, {steps.size}], one column per step"
        raise _checks.fail("rungs", "curves", expected, curves.shape)
    is_finite = np.isfinite(curves)
    begun = is_finite.any(axis=1)
    if not begun.any():
        raise _checks.fail("rungs", "curves", "finite somewhere", "only NaN")
    curves, is_finite = curves[begun], is_finite[begun]
    last = steps.size - 1 - np.argmax(is_finite[:, ::-1], axis=1)
    order = np.argsort(last, kind="stable")  # survivors on top
    ax = make_axes(ax, (6.0, 4.0))
    for row in order:
        at, goes_on = is_finite[row], last[row] == last.max()
        style = {"color": GOOD, "lw": 1.2} if goes_on else {"color": CROWD, "lw": 0.6}
        ax.plot(steps[at], curves[row, at], alpha=0.8, **style)
    ends = np.unique(last)
    for column in ends:
        ax.axvline(steps[column], color=TEXT, lw=0.6, ls=":")
        place = {"xy": (steps[column], 1.0), "xycoords": ("data", "axes fraction")}
        count = str(int(np.sum(last >= column)))
        ax.annotate(count, **place, xytext=(0, 2), textcoords="offset points", ha="center")
    ax.set_xlabel("step")
    ax.set_ylabel(ylabel)
    if np.nanmin(np.where(is_finite, curves, np.nan)) > 0:
        ax.set_yscale("log")
    ax.spines[["top", "right"]].set_visible(False)
    return ax.figure
