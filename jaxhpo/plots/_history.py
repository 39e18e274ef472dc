"""What studies reached, trial by trial: one line, or the mean of many with a band."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxhpo import _checks
from jaxhpo._direction import DIRECTIONS, to_minimized
from jaxhpo.plots._figure import CROWD, make_axes
from jaxhpo.plots._study import is_study, metrics_of, one_direction, values_of

_COLOURS = ("#1f5fa8", "#c2571a", "#2e7d4f", "#7b4ab0", "#9a8210", "#2b3440")
_STYLES = ("-", "--", ":", "-.")


def history(
    values: Any,
    *,
    direction: str | None = None,
    optimum: float | None = None,
    ax: Any = None,
    ylabel: str | None = None,
) -> Any:
    """Draws the best value so far over the number of trials.

    Args:
        values: a study, `[n]` values of one, `[s, n]` of `s` repetitions, or a dict from labels to
            such; NaN where a trial failed. Of one study the trials are drawn as points.
        direction: "minimize" or "maximize"; None takes that of a study, "minimize" of arrays.
        optimum: the best possible value; draws the distance to it, on a logarithmic scale that
            also has a place for a distance of 0.
        ax: matplotlib axes to draw on; None makes a figure.
        ylabel: what the axis measures; None says "best" and what a study's values are called
            ("value" where nobody has said so), or "regret".

    Returns:
        The matplotlib `Figure`. Of several repetitions the line is the median and the band holds
        the middle half.

    Raises:
        ValueError: an unknown direction, or arrays of another shape or without a finite value.
        ModuleNotFoundError: matplotlib is not installed.

    Example:
        >>> figure = history({"random": [3.0, 2.0, 2.5], "tpe": [2.5, float("nan"), 1.0]})
        >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        ['random', 'tpe']
    """
    studies = dict(values) if isinstance(values, Mapping) else {"": values}
    is_alone, metrics = not isinstance(values, Mapping), set[str]()
    for label, given in studies.items():
        if is_study(given):
            direction = direction or one_direction("history", given)
            metrics |= set(metrics_of(given, ("value",)))
            studies[label] = values_of(given)[:, 0]
    direction = direction or "minimize"
    if direction not in DIRECTIONS:
        raise _checks.fail("history", "direction", "'minimize' or 'maximize'", direction)
    ax = make_axes(ax, (5.0, 3.4))
    drawn = []
    for i, (label, given) in enumerate(studies.items()):
        array = np.atleast_2d(np.asarray(given, np.float64))
        if array.ndim != 2 or not np.isfinite(array).any():
            expected = "arrays [n] or [s, n] with a finite value"
            raise _checks.fail("history", "values", expected, np.shape(given))
        drawn += _draw(ax, direction, array, label, i, optimum)
        if is_alone and len(array) == 1 and optimum is None:
            trials = np.arange(1, array.shape[1] + 1)
            ax.plot(trials, array[0], "o", ms=3, color=CROWD, zorder=1)
    if optimum is not None:
        _set_log_scale(ax, np.concatenate(drawn))
    ax.set_xlabel("trial")
    metric = metrics.pop() if len(metrics) == 1 else "value"
    ax.set_ylabel(ylabel or (f"best {metric}" if optimum is None else "regret"))
    if not is_alone:
        ax.legend(frameon=False, fontsize="small")
    ax.spines[["top", "right"]].set_visible(False)
    return ax.figure


def _set_log_scale(ax: Any, regrets: np.ndarray) -> None:
    """A logarithmic scale; linear below the smallest decade where a regret is 0, or below."""
    positive = regrets[regrets > 0]
    if positive.size and (regrets <= 0).any():
        # A logarithm has no place for 0, and a line that ends there looks like one that lost.
        linear = 10.0 ** np.floor(np.log10(positive.min()))
        ax.set_yscale("symlog", linthresh=linear, linscale=0.5)
        ax.axhline(0.0, color=CROWD, lw=0.5, zorder=0)
    elif positive.size:
        ax.set_yscale("log")


def _draw(
    ax: Any, direction: str, array: np.ndarray, label: str, i: int, optimum: float | None
) -> list[np.ndarray]:
    """One label: the median of its studies, and a band where there are several; as drawn."""
    finite = np.where(np.isfinite(array), to_minimized(array, direction), np.inf)
    best = np.minimum.accumulate(finite, axis=1)
    shown = to_minimized(best, direction)
    if optimum is not None:
        shown = best - to_minimized(optimum, direction)
    shown = np.where(np.isfinite(best), shown, np.nan)
    trials = np.arange(1, array.shape[1] + 1)
    known = np.isfinite(shown).any(axis=0)
    low, middle, high = np.nanquantile(shown[:, known], [0.25, 0.5, 0.75], axis=0)
    colour, style = _COLOURS[i % len(_COLOURS)], _STYLES[i // len(_COLOURS) % len(_STYLES)]
    ax.step(trials[known], middle, style, where="post", color=colour, lw=1.6, label=label or None)
    if len(array) > 1:
        ax.fill_between(trials[known], low, high, step="post", color=colour, alpha=0.2, lw=0)
    return [low, middle, high]
