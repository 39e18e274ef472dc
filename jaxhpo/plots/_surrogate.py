"""Figures of a fitted model: its predictions, its cuts, and what matters to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxhpo import _checks
from jaxhpo.plots._figure import CROWD, GOOD, TEXT, make_axes

if TYPE_CHECKING:
    from jaxhpo.inspection import LeaveOneOut, Slice


def leave_one_out(result: LeaveOneOut, *, ax: Any = None, label: str = "value") -> Any:
    """Draws predicted against observed values, each trial predicted from all others.

    Args:
        result: of `Surrogate.leave_one_out`.
        ax: matplotlib axes to draw on; None makes a figure.
        label: what the values are.

    Returns:
        The matplotlib `Figure`. Bars are central 90 % intervals; on the line, both agree.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        TypeError: anything else than such a result.
    """
    _check_made_by("leave_one_out", "result", result, "predicted", "Surrogate.leave_one_out")
    ax = make_axes(ax, (4.5, 4.5))
    predicted = result.predicted
    below, above = predicted.median - predicted.lower, predicted.upper - predicted.median
    ax.errorbar(
        result.observed, predicted.median, yerr=[below, above], fmt="o", ms=3, color=GOOD,
        ecolor=CROWD, elinewidth=1, label="trials",
    )  # fmt: skip
    ends = [np.min(result.observed), np.max(result.observed)]
    ax.plot(ends, ends, color=TEXT, lw=1)
    ax.set_xlabel(f"observed {label}")
    ax.set_ylabel(f"predicted {label}")
    ax.set_title(
        f"leave one out: R² {result.r2:.2f}, {result.coverage:.0%} within 90 %", fontsize="medium"
    )
    ax.spines[["top", "right"]].set_visible(False)
    return ax.figure


def model_slice(cut: Slice, *, what: str = "median", ax: Any = None, label: str = "value") -> Any:
    """Draws a cut through a model: a line with its band, or a map.

    Args:
        cut: of `inspection.slice_of`.
        what: what a map shows: "median", "deviation" or "acquisition". A line shows the median and
            the band, or with "acquisition" that.
        ax: matplotlib axes to draw on; None makes a figure.
        label: what the values are.

    Returns:
        The matplotlib `Figure`.

    Raises:
        TypeError: anything else than a cut.
        ValueError: an unknown `what`.
        ModuleNotFoundError: matplotlib is not installed.

    Example:
        >>> import numpy as np, jaxhpo as hpo
        >>> space = hpo.Space({"lr": hpo.log_uniform(1e-4, 1.0)})
        >>> unit = np.linspace(0.1, 0.9, 8)[:, None]
        >>> surrogate = hpo.inspection.fit_surrogate(space, unit, (unit[:, 0] - 0.4) ** 2)
        >>> figure = model_slice(hpo.inspection.slice_of(surrogate, "lr", num_points=9))
        >>> figure.axes[0].get_xlabel()
        'lr'
    """
    _check_made_by("model_slice", "cut", cut, "prediction", "inspection.slice_of")
    shown = {
        "median": (cut.prediction.median, label),
        "deviation": (cut.prediction.deviation, "deviation (model's scale)"),
        "acquisition": (cut.acquisition, "log expected improvement"),
    }
    if what not in shown:
        raise _checks.fail("model_slice", "what", f"one of {', '.join(shown)}", what)
    ax = make_axes(ax, (5.0, 3.5) if len(cut.names) == 1 else (5.0, 4.2))
    values, name = shown[what]
    x = _scale(ax.xaxis, ax.set_xscale, cut.ticks[0])
    ax.set_xlabel(cut.names[0])
    if len(cut.names) == 1:
        if what == "median":
            prediction = cut.prediction
            ax.fill_between(x, prediction.lower, prediction.upper, color=CROWD, alpha=0.4, lw=0)
        ax.plot(x, values, color=GOOD, lw=2)
        ax.set_ylabel(name)
        ax.spines[["top", "right"]].set_visible(False)
        return ax.figure
    y = _scale(ax.yaxis, ax.set_yscale, cut.ticks[1])
    ax.set_ylabel(cut.names[1])
    mesh = ax.pcolormesh(x, y, values.T, cmap="viridis_r", shading="nearest")
    ax.figure.colorbar(mesh, ax=ax, label=name)
    return ax.figure


def sensitivity(shares: Mapping[str, float], *, ax: Any = None) -> Any:
    """Draws how much each parameter explains, as `inspection.sensitivity` gives it.

    Args:
        shares: total-effect index by name.
        ax: matplotlib axes to draw on; None makes a figure.

    Returns:
        The matplotlib `Figure`, largest at the top.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        TypeError: no mapping.
        ValueError: there are none.

    Example:
        >>> figure = sensitivity({"lr": 0.9, "width": 0.2})
        >>> figure.axes[0].get_xlabel()
        'share of the variance (total effect)'
    """
    _check_made_by("sensitivity", "shares", shares, "items", "inspection.sensitivity")
    if not shares:
        raise _checks.fail("sensitivity", "shares", "those of one parameter at least", shares)
    ax = make_axes(ax, (5.0, 0.6 + 0.35 * len(shares)))
    ax.barh(list(shares)[::-1], list(shares.values())[::-1], color=GOOD)
    ax.set_xlabel("share of the variance (total effect)")
    ax.spines[["top", "right"]].set_visible(False)
    return ax.figure


def _check_made_by(where: str, argument: str, value: Any, part: str, maker: str) -> None:
    """Requires what has the parts of another function's result."""
    if not hasattr(value, part):
        got = _checks.describe(value)
        raise TypeError(f"{where}: `{argument}` must be what `{maker}` returns, got {got}.")


def _scale(axis: Any, set_scale: Any, ticks: list[Any]) -> np.ndarray:
    """Places of an axis: numbers as they are, on a log scale where they grow by a factor."""
    is_number = all(isinstance(t, int | float) and not isinstance(t, bool) for t in ticks)
    if not is_number:
        axis.set_ticks(range(len(ticks)), [str(tick) for tick in ticks])
        return np.arange(len(ticks))
    places = np.asarray(ticks, float)
    if places.min() > 0 and len(places) > 2:
        ratio, step = places[1:] / places[:-1], np.diff(places)
        if np.ptp(ratio) * step.max() < np.ptp(step) * ratio.max():
            set_scale("log")
    return places
